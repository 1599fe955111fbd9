from __future__ import annotations

import getpass
import importlib.metadata
import json
import os
import re
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from cartpole_dqn.errors import RunError, RunFolderError
from cartpole_dqn.runs.folder import RunFolder, RunStatus, describe_environment, run_state, write_text_atomic
from children import in_child, kill, ready, start

NOON = 1_763_726_400.0


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def create(path: Path | None = None, *, env_id: str = "CartPole-v1", obs: str = "pixels") -> RunFolder:
    return RunFolder.create(path, env_id=env_id, obs=obs, clock=lambda: NOON)


def run_folder(path: Path) -> Path:
    """A folder as a run leaves it."""
    folder = create(path)
    folder.write_config("seed = 0\n")
    return path


# Making ---------------------------------------------------------------------------------------------------------------


def test_a_folder_is_named_after_what_runs_and_when(here: Path) -> None:
    assert create().path == Path("runs/CartPole-v1-pixels-20251121-120000")
    assert create().path == Path("runs/CartPole-v1-pixels-20251121-120000-2")
    assert create().path == Path("runs/CartPole-v1-pixels-20251121-120000-3")
    assert all(path.is_dir() for path in (here / "runs").iterdir())


@pytest.mark.parametrize(
    ("env_id", "name"),
    [
        ("ALE/Pong-v5", "ALE-Pong-v5"),
        ("my_module:My/Env-v0", "my_module-My-Env-v0"),
        ("../../etc", "etc"),
        ("..", "env"),
        ("/", "env"),
        ("ключ", "env"),
        ("a b\n*?", "a-b"),
        ("x" * 300, "x" * 80),
    ],
)
def test_any_environment_makes_one_safe_name(here: Path, env_id: str, name: str) -> None:
    assert create(env_id=env_id, obs="a/b").path == Path(f"runs/{name}-a-b-20251121-120000")
    assert [path.name for path in here.iterdir()] == ["runs"]


def test_an_out_that_is_there_is_refused_and_kept(here: Path) -> None:
    run_folder(here / "run")
    (here / "thesis").mkdir()
    (here / "thesis" / "chapter.tex").write_text("precious")
    (here / "file").write_text("precious")
    (here / "dangling").symlink_to("nowhere")
    for name, words in {
        "run": "holds a run already. Continue it with `cartpole-dqn resume",
        "thesis": "is not empty",
        "file": "exists and is not a folder",
        "file/below": "no folder can be made at .*: Not a directory",
        "dangling": "exists and is not a folder",
    }.items():
        with pytest.raises(RunFolderError, match=words) as caught:
            create(here / name)
        assert caught.value.exit_code == 2
    assert (here / "file").read_text() == (here / "thesis" / "chapter.tex").read_text() == "precious"


def test_a_run_that_is_killed_before_its_configuration_stands_leaves_the_folder_free(here: Path) -> None:
    def die() -> None:
        os.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)
        with create(here / "run").lock() as folder:
            folder.write_config("half")

    assert in_child(die) == signal.SIGKILL
    assert len(list((here / "run").iterdir())) == 2
    with create(here / "run").lock() as folder:
        folder.write_config("whole")
    assert folder.config.read_text() == "whole"
    with pytest.raises(RunFolderError, match="holds a run already"):
        create(here / "run")


def test_a_place_that_cannot_be_written_to_is_named(here: Path) -> None:
    with pytest.raises(RunFolderError, match="no folder can be made at /proc/runs/x"):
        create(Path("/proc/runs/x"))
    with pytest.raises(RunFolderError, match="File name too long"):
        create(here / ("x" * 300))
    for plant in (lambda: Path("runs").symlink_to("nowhere"), lambda: Path("runs").write_text("a file")):
        plant()
        with pytest.raises(RunFolderError, match="no folder can be made at runs"):
            create()
        Path("runs").unlink()


def test_a_folder_is_discarded_only_if_it_was_made_and_nothing_came(here: Path) -> None:
    folder = create()
    with folder.lock():
        folder.discard_if_empty()
    assert not folder.path.exists()
    (here / "mine").mkdir()
    folder = create(here / "mine")
    with folder.lock():
        folder.discard_if_empty()
    assert folder.path.exists()
    folder = create()
    folder.write_config("")
    folder.discard_if_empty()
    assert folder.config.exists()


# Sharing --------------------------------------------------------------------------------------------------------------


def test_two_runs_never_share_a_folder(here: Path) -> None:
    first, second = create(here / "run"), RunFolder(run_folder(here / "old"))
    (here / "empty").mkdir()
    twins = create(here / "empty"), create(here / "empty")
    with first.lock():
        with second.lock(), pytest.raises(RunFolderError, match="another run"), RunFolder(here / "old").lock():
            pass
        with twins[0].lock():
            with pytest.raises(RunFolderError, match="another run"), twins[1].lock():
                pass
            twins[0].write_config("")
    with pytest.raises(RunFolderError, match="holds a run already"), twins[1].lock():
        pass
    with twins[0].lock(), first.lock():
        pass


def test_a_crashed_run_is_told_from_one_that_runs(here: Path) -> None:
    path = run_folder(here / "run")
    assert run_state(path) == RunStatus("unknown")

    def run() -> None:
        folder = RunFolder(path)
        with folder.lock():
            folder.write_status("running", 41)
            folder.write_status("running", 42)
            ready()
            time.sleep(60)

    child = start(run)
    try:
        assert run_state(path) == RunStatus("running", 42)
    finally:
        kill(child)
    assert run_state(path) == RunStatus("killed", 42)
    with RunFolder(path).lock():
        assert run_state(path) == RunStatus("running", 42)


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "nonsense", "[" * 9000, '{"state": "done"}']
    + [f'{{"state": {state}, "step": 1}}' for state in ('"x"', "[]")]
    + [f'{{"state": "done", "step": {step}}}' for step in ("-1", "1.5", "true", '"1"', "null", "9" * 5000)],
)
def test_an_end_is_recorded_and_a_malformed_status_is_unknown(here: Path, text: str) -> None:
    folder = create()
    folder.status.write_text(text)
    assert run_state(folder.path) == RunStatus("unknown")
    for state in ("done", "interrupted", "failed"):
        folder.write_status(state, 10**12)  # type: ignore[arg-type]
        assert run_state(folder.path) == RunStatus(state, 10**12)  # type: ignore[arg-type]
    folder.status.unlink()
    folder.status.mkdir()
    assert run_state(folder.path) == RunStatus("unknown")


# Writing --------------------------------------------------------------------------------------------------------------


def test_a_text_that_cannot_be_written_is_an_error_and_a_status_is_not(here: Path) -> None:
    folder = create()
    (folder.path / "config.toml").mkdir()
    (folder.path / "status.json").mkdir()
    with pytest.raises(RunError, match=r"config\.toml could not be written: Is a directory"):
        folder.write_config("")
    folder.write_status("failed", 3)
    with pytest.raises(RunError, match="No such file"):
        write_text_atomic(here / "missing" / "x", "")
    assert {path.name for path in folder.path.iterdir()} == {"config.toml", "status.json"}


# What a run was made with ---------------------------------------------------------------------------------------------


def test_the_environment_is_described_without_names_of_people_or_places() -> None:
    kept = {"name": "nice", "distribution": "nice-plugin", "version": "1.2", "state": "failed"}
    description = describe_environment(plugins=[{**kept, "error": f"broken at {Path.home()}"}], threads=2, device="cpu")
    assert description == json.loads(json.dumps(description))
    assert description["plugins"] == [{**kept, "components": []}]
    assert (description["threads"], description["device"], description["cpu_count"]) == (2, "cpu", os.cpu_count())
    assert description["memory_bytes"] > 100 << 20
    assert description["cpu"]
    assert description["python"].endswith(".".join(map(str, sys.version_info[:3])))
    for name in ("torch", "gymnasium", "pygame-ce", "pluggy", "rich", "numpy"):
        assert description["versions"][name] == importlib.metadata.version(name)
    text = json.dumps(description)
    assert not re.search(r'"/|[A-Z]:\\|/home/|/root/|/work/', text)
    for private in (socket.gethostname(), getpass.getuser(), str(Path.cwd())):
        assert not re.search(rf"\b{re.escape(private)}\b", text), private


def test_plugins_are_read_back_and_what_is_malformed_is_left_out(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "r", env_id="CartPole-v1", obs="state")
    assert folder.plugins() == []
    good = {"name": "nice", "distribution": "nice-plugin", "version": "1.2", "components": ["replay/nice"]}
    bad = [3, {}, {**good, "components": "replay/nice"}, {**good, "components": [1]}, {**good, "version": None}]
    folder.write_environment({"plugins": [*bad, good]})
    assert folder.plugins() == [good]
    for text in ("", "[", "[]", '{"plugins": 3}', "[" * 100_000):
        folder.environment.write_text(text)
        assert folder.plugins() == []
