from __future__ import annotations

import getpass
import importlib.metadata
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import forked
from cartpole_dqn.errors import RunError, RunFolderError
from cartpole_dqn.runs.folder import RunFolder, RunStatus, describe_environment, run_state, write_text_atomic

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


def made(path: Path) -> Path:
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


def test_out_is_the_folder_itself(here: Path) -> None:
    assert create(here / "a" / "b").path == here / "a" / "b"
    (here / "empty").mkdir()
    assert create(here / "empty").path == here / "empty"


def test_an_out_that_is_there_is_refused_and_kept(here: Path) -> None:
    made(here / "run")
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


@pytest.mark.process
def test_a_run_that_is_killed_before_its_configuration_stands_leaves_the_folder_free(here: Path) -> None:
    killed = """
import os, signal, sys
from pathlib import Path
from cartpole_dqn.runs.folder import RunFolder

os.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)
with RunFolder.create(Path(sys.argv[1]), env_id="e", obs="o").lock() as folder:
    folder.write_config("half")
"""
    ended = forked.run([sys.executable, "-c", killed, str(here / "run")], check=False)
    assert ended.returncode == -signal.SIGKILL
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


# Opening --------------------------------------------------------------------------------------------------------------


def test_a_run_is_opened_again(here: Path) -> None:
    folder = RunFolder.open(made(here / "run"))
    assert folder.path == here / "run"
    files = {"config.toml": folder.config, "metrics.csv": folder.metrics_csv, "metrics.jsonl": folder.metrics_jsonl}
    files |= {"curve.png": folder.curve, "checkpoint": folder.checkpoint, "best": folder.best}
    files |= {"environment.json": folder.environment, "status.json": folder.status}
    for name, path in files.items():
        assert path == here / "run" / name


def test_what_is_no_run_is_refused_with_what_is_near(here: Path) -> None:
    with pytest.raises(RunFolderError, match=r"there is no run folder at nothing\.$"):
        RunFolder.open(Path("nothing"))
    run = Path("runs/CartPole-v1-pixels-20251121-120000")
    made(run)
    (run / "checkpoint").mkdir()
    (here / "other").mkdir()
    for path, words in {
        run.with_name("CartPole-v1-pixels-20251121-120001"): f"there is no run folder at .*Did you mean '{run}'",
        Path(run.name): f"there is no run folder at {run.name}. Did you mean '{run}'",
        Path("zzz"): f"there is no run folder at zzz. Known: {run}",
        run / "config.toml": f"is a file. Expected a run's folder. Did you mean '{run}'",
        run / "checkpoint": f"holds no config.toml. Did you mean '{run}'",
        Path("other"): "other is not the folder of a run: it holds no config.toml",
        Path("x" * 300): "File name too long",
    }.items():
        with pytest.raises(RunFolderError, match=words) as caught:
            RunFolder.open(path)
        assert caught.value.exit_code == 2


# Sharing --------------------------------------------------------------------------------------------------------------


def test_two_runs_never_share_a_folder(here: Path) -> None:
    first, second = create(here / "run"), RunFolder.open(made(here / "old"))
    (here / "empty").mkdir()
    twins = create(here / "empty"), create(here / "empty")
    with first.lock():
        with second.lock(), pytest.raises(RunFolderError, match="another run"), RunFolder.open(here / "old").lock():
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
    path = made(here / "run")
    assert run_state(path) == RunStatus("unknown")
    child = os.fork()
    if child == 0:
        folder = RunFolder.open(path)
        with folder.lock():
            folder.write_status("running", 41)
            folder.write_status("running", 42)
            time.sleep(60)
        os._exit(0)
    try:
        for _ in range(500):
            if run_state(path) == RunStatus("running", 42):
                break
            time.sleep(0.01)
        assert run_state(path) == RunStatus("running", 42)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert run_state(path) == RunStatus("killed", 42)
    with RunFolder.open(path).lock():
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


def test_texts_are_written_whole_or_not(here: Path) -> None:
    folder = create()
    folder.write_config('name = "größe"\n')
    folder.write_environment({"python": "3", "名": [1]})
    assert folder.config.read_bytes() == 'name = "größe"\n'.encode()
    assert json.loads(folder.environment.read_text(encoding="utf-8")) == {"python": "3", "名": [1]}
    assert {path.name for path in folder.path.iterdir()} == {"config.toml", "environment.json"}


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


def test_metrics_are_cleared_where_there_are_any(here: Path) -> None:
    folder = create()
    folder.clear_metrics()
    folder.metrics_csv.write_text("a")
    folder.metrics_jsonl.write_text("b")
    folder.curve.write_text("c")
    folder.clear_metrics()
    assert [path.name for path in folder.path.iterdir()] == ["curve.png"]


# What a run was made with ---------------------------------------------------------------------------------------------


def test_the_environment_is_described_without_names_of_people_or_places() -> None:
    kept = {"name": "nice", "distribution": "nice-plugin", "version": "1.2", "state": "failed"}
    found = describe_environment(plugins=[{**kept, "error": f"broken at {Path.home()}"}], threads=2, device="cpu")
    assert found == json.loads(json.dumps(found))
    assert found["plugins"] == [{**kept, "components": []}]
    assert (found["threads"], found["device"], found["cpu_count"]) == (2, "cpu", os.cpu_count())
    assert found["memory_bytes"] > 100 << 20
    assert found["cpu"]
    assert found["python"].endswith(".".join(map(str, sys.version_info[:3])))
    for name in ("torch", "gymnasium", "pygame-ce", "pluggy", "rich", "numpy"):
        assert found["versions"][name] == importlib.metadata.version(name)
    text = json.dumps(found)
    assert not re.search(r'"/|[A-Z]:\\|/home/|/root/|/work/', text)
    for private in (socket.gethostname(), getpass.getuser(), str(Path.cwd())):
        assert not re.search(rf"\b{re.escape(private)}\b", text), private


@pytest.mark.process
def test_a_run_folder_needs_no_torch() -> None:
    code = "import sys, cartpole_dqn.runs.folder; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


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
