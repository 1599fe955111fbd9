from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartpole_dqn.errors import RunFolderError
from cartpole_dqn.runs.catalogue import complete_run, find_run, find_runs, is_run, runs_in

NAMES = ("CartPole-v1-pixels-20251121-120000", "CartPole-v1-pixels-20251121-130000", "CartPole-v1-native-1", "sweep")


def made(path: Path, age: float) -> Path:
    path.mkdir(parents=True)
    (path / "config.toml").write_text("")
    os.utime(path / "config.toml", (1e9 - age, 1e9 - age))
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place with four runs, the later in the list the older, a folder that is none, and a file."""
    monkeypatch.chdir(tmp_path)
    for age, name in enumerate(NAMES):
        made(tmp_path / "runs" / name, age)
    (tmp_path / "runs" / "notes").mkdir()
    (tmp_path / "runs" / "sweep.txt").write_text("")
    return tmp_path


def test_what_may_be_typed(here: Path) -> None:
    runs = Path("runs")
    for typed, meant in {
        "runs/sweep": runs / "sweep",
        str(here / "runs" / "sweep"): here / "runs" / "sweep",
        "sweep": runs / "sweep",
        "s": runs / "sweep",
        "CartPole-v1-n": runs / "CartPole-v1-native-1",
        "CartPole-v1-pixels-20251121-12": runs / NAMES[0],
        NAMES[1]: runs / NAMES[1],
        "latest": runs / NAMES[0],
    }.items():
        assert find_run(typed).path == meant, typed
        assert find_run(Path(typed)).path == meant, typed


def test_latest_is_the_one_that_was_started_or_resumed_last(here: Path) -> None:
    assert [run.name for run in runs_in(Path("runs"))] == list(NAMES)
    os.utime(here / "runs" / "sweep" / "config.toml", (2e9, 2e9))
    assert find_run("latest").path.name == "sweep"
    # What a run writes while it is under way changes nothing.
    (here / "runs" / NAMES[2] / "metrics.jsonl").write_text("")
    assert find_run("latest").path.name == "sweep"


def test_the_first_of_several_meanings_counts(here: Path) -> None:
    made(here / "runs" / "sweep-2", 9)
    assert find_run("sweep").path == Path("runs/sweep"), "a whole name is not ambiguous"
    made(here / "sweep", 9)
    assert find_run("sweep").path == Path("sweep"), "a run here comes before one under runs/"
    made(here / "runs" / "latest", 9)
    assert find_run("latest").path == Path("runs/latest"), "a name comes before the word"
    (here / "CartPole-v1-na").mkdir()
    assert find_run("CartPole-v1-na").path.name == "CartPole-v1-native-1", "a folder that is no run is in nobody's way"


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("", "which run? Expected a path, the beginning of a name under runs/, or latest"),
        ("Cart", f"'Cart' begins the names of 3 runs in runs/: {', '.join(NAMES[:3])}. Give more of the name."),
        (
            "swep",
            "'swep' is no run: there is no such folder, and no name in runs/ begins with it. Did you mean 'sweep'",
        ),
        ("lattest", "Did you mean 'latest'"),
        ("zzz", f"Those in runs/: {', '.join(NAMES)}."),
        ("notes", "there is no such folder, and no name in runs/ begins with it"),
        ("file", "'file' is no run: here it is a file, and no name"),
        ("empty", "'empty' is no run: here it is a folder without config.toml, and no name"),
        ("runs/notes", "runs/notes is not the folder of a run: it holds no config.toml."),
        ("runs/swee", "there is no run folder at runs/swee. Did you mean 'runs/sweep'?"),
        (".", ". is not the folder of a run"),
        ("..", ".. is not the folder of a run"),
        ("x" * 300, "cannot be looked up: File name too long"),
    ],
)
def test_what_is_not_clear_gets_a_sentence_with_what_may_be_meant(here: Path, typed: str, words: str) -> None:
    (here / "file").write_text("")
    (here / "empty").mkdir()
    with pytest.raises(RunFolderError) as caught:
        find_run(typed)
    assert words in str(caught.value)
    assert caught.value.exit_code == 2


def test_many_candidates_are_cut(here: Path) -> None:
    for i in range(20):
        made(here / "runs" / f"x{i:02}", 100 + i)
    with pytest.raises(RunFolderError, match=r"20 runs in runs/: x00, x01, .*, x07 and 12 more\. Give more"):
        find_run("x")


def test_without_any_run_it_says_how_to_make_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for typed, words in {"latest": "no run in runs/, so none is the latest", "x": "runs/ holds no run"}.items():
        with pytest.raises(RunFolderError, match=words) as caught:
            find_run(typed)
        assert "cartpole-dqn run" in str(caught.value)
    assert complete_run("") == []
    assert runs_in(tmp_path / "nowhere") == []


def test_several_runs_and_folders_full_of_them(here: Path) -> None:
    def names(*typed: str) -> list[str]:
        return [folder.path.name for folder in find_runs(typed)]

    assert names("sweep", "latest") == ["sweep", NAMES[0]]
    assert names("runs") == sorted(NAMES)
    assert names("sweep", "runs", "runs/sweep", "s") == ["sweep", *sorted(NAMES[:3])], "each of them once"
    with pytest.raises(RunFolderError, match="begins the names of 3 runs"):
        find_runs(["sweep", "Cart"])
    with pytest.raises(RunFolderError, match="which run"):
        find_runs([""])


def test_a_shell_is_offered_names(here: Path) -> None:
    assert complete_run("") == [*NAMES, "latest"]
    assert complete_run("CartPole-v1-p") == list(NAMES[:2])
    assert complete_run("l") == ["latest"]
    assert complete_run("nothing") == []
    assert complete_run("runs/s") == [], "a path is completed by the shell"


@given(names=st.sets(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=6), typed=st.text("ab", min_size=1))
def test_a_prefix_is_found_if_and_only_if_it_is_unique(
    tmp_path_factory: pytest.TempPathFactory, names: set[str], typed: str
) -> None:
    root = tmp_path_factory.mktemp("runs")
    for name in names:
        made(root / name, 0)
    meant = [name for name in names if name == typed] or [name for name in names if name.startswith(typed)]
    if len(meant) == 1:
        assert find_run(typed, root=root).path == root / meant[0]
    else:
        with pytest.raises(RunFolderError, match=f"'{typed}' "):
            find_run(typed, root=root)
    assert {n for n in complete_run(typed, root=root) if n != "latest"} == {n for n in names if n.startswith(typed)}


def test_a_config_that_is_a_folder_makes_no_run(tmp_path: Path) -> None:
    (tmp_path / "config.toml").mkdir()
    assert not is_run(tmp_path)
    assert not is_run(Path("a\0b"))


@pytest.mark.process
def test_completing_imports_no_torch_and_speaks_to_the_shell(here: Path) -> None:
    code = "import sys; from cartpole_dqn.cli import main\ntry: main()\nfinally: print('torch' in sys.modules)"
    for words, offered in {
        "cartpole-dqn evaluate s": ["sweep"],
        "cartpole-dqn resume CartPole-v1-n": ["CartPole-v1-native-1"],
        "cartpole-dqn plot sweep l": ["latest"],
        "cartpole-dqn compare --group-by lr sw": ["sweep"],
    }.items():
        environment = {
            **os.environ,
            "_CARTPOLE_DQN_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(words.count(" ")),
        }
        command = [sys.executable, "-c", code]
        said = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=here, check=False)
        assert said.stdout.split() == [*offered, "False"], said


def test_commands_take_a_prefix_and_latest(call: Callable[..., Any], here: Path) -> None:
    for command in ("evaluate", "resume", "plot", "compare"):
        said = call(command, "Cart")
        assert said.code == 2
        assert "begins the names of 3 runs" in said.err, command
        # Their configurations are empty, which is what the commands find once they have found the run.
        said = call(command, "latest")
        assert said.code == 2
        assert "no run" not in said.err, command
