from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartpole_dqn.errors import RunFolderError
from cartpole_dqn.runs.catalogue import (
    complete_run,
    find_run,
    find_runs,
    runs_in,
    summarise_run,
)
from cartpole_dqn.runs.folder import RunFolder, is_run
from cartpole_dqn.runs.history import read_metrics

TRAINED = Path(__file__).parents[2] / "examples" / "trained"
NAMES = ("CartPole-v1-pixels-20251121-120000", "CartPole-v1-pixels-20251121-130000", "CartPole-v1-state-1", "sweep")


def run_folder(path: Path, age: float) -> Path:
    path.mkdir(parents=True)
    (path / "config.toml").write_text("")
    os.utime(path / "config.toml", (1e9 - age, 1e9 - age))
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place with four runs, the later in the list the older, a folder that is none, and a file."""
    monkeypatch.chdir(tmp_path)
    for age, name in enumerate(NAMES):
        run_folder(tmp_path / "runs" / name, age)
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
        "CartPole-v1-s": runs / "CartPole-v1-state-1",
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
    run_folder(here / "runs" / "sweep-2", 9)
    assert find_run("sweep").path == Path("runs/sweep"), "a whole name is not ambiguous"
    run_folder(here / "sweep", 9)
    assert find_run("sweep").path == Path("sweep"), "a run here comes before one under runs/"
    run_folder(here / "runs" / "latest", 9)
    assert find_run("latest").path == Path("runs/latest"), "a name comes before the word"
    (here / "CartPole-v1-st").mkdir()
    assert find_run("CartPole-v1-st").path.name == "CartPole-v1-state-1", "a folder that is no run is in nobody's way"


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("", "which run? Expected a path, the beginning of a name under runs/, or latest"),
        ("Cart", f"3 runs in runs/ begin with 'Cart': {', '.join(NAMES[:3])}. Type more of the name."),
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
        ("elsewhere/sweep", "there is no run folder at elsewhere/sweep. Did you mean 'runs/sweep'?"),
        ("runs/sweep/config.toml", "is a file. Expected a run's folder. Did you mean 'runs/sweep'?"),
        ("runs/sweep/checkpoint", "holds no config.toml. Did you mean 'runs/sweep'?"),
        (".", ". is not the folder of a run"),
        ("..", ".. is not the folder of a run"),
        ("lr", "lr is the folder of a sweep. Its runs are in lr/trials; `cartpole-dqn sweep --resume lr` resumes it."),
        ("x" * 300, "cannot be looked up: File name too long"),
    ],
)
def test_what_is_not_clear_gets_a_sentence_with_what_may_be_meant(here: Path, typed: str, words: str) -> None:
    (here / "file").write_text("")
    (here / "empty").mkdir()
    (here / "lr").mkdir()
    (here / "lr" / "sweep.toml").touch()
    (here / "runs" / "sweep" / "checkpoint").mkdir()
    with pytest.raises(RunFolderError) as caught:
        find_run(typed)
    assert words in str(caught.value)
    assert caught.value.exit_code == 2


def test_many_candidates_are_cut(here: Path) -> None:
    for i in range(20):
        run_folder(here / "runs" / f"x{i:02}", 100 + i)
    with pytest.raises(RunFolderError, match=r"20 runs in runs/ begin with 'x': x00, .*, x07 and 12 more\. Type"):
        find_run("x")


def test_without_any_run_it_says_how_to_make_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for typed, words in {"latest": "there is no run in runs/ yet", "x": "runs/ holds no run"}.items():
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
    with pytest.raises(RunFolderError, match="3 runs in runs/ begin with"):
        find_runs(["sweep", "Cart"])
    with pytest.raises(RunFolderError, match="which run"):
        find_runs([""])


def test_the_folder_of_a_sweep_stands_for_its_trials(here: Path) -> None:
    trials = {run_folder(here / "sweeps" / "lr" / "trials" / f"seed={seed}", seed) for seed in range(2)}
    (here / "sweeps" / "lr" / "sweep.toml").write_text("")
    assert {folder.path.resolve() for folder in find_runs(["sweeps/lr", "sweeps/lr/trials"])} == trials


def test_a_shell_is_offered_names(here: Path) -> None:
    assert complete_run("") == [*NAMES, "latest"]
    assert complete_run("CartPole-v1-p") == list(NAMES[:2])
    assert complete_run("l") == ["latest"]
    assert complete_run("nothing") == []
    assert complete_run("runs/s") == [], "a path is completed by the shell"


def test_a_config_that_is_a_folder_makes_no_run(tmp_path: Path) -> None:
    (tmp_path / "config.toml").mkdir()
    assert not is_run(tmp_path)
    assert not is_run(Path("a\0b"))


@pytest.mark.process
def test_completing_imports_no_torch_and_speaks_to_the_shell(here: Path) -> None:
    code = "import sys; from cartpole_dqn.cli import main\ntry: main()\nfinally: print('torch' in sys.modules)"
    for words, offered in {
        "cartpole-dqn evaluate s": "sweep",
        "cartpole-dqn resume CartPole-v1-s": "CartPole-v1-state-1",
        "cartpole-dqn plot sweep l": "latest",
        "cartpole-dqn compare --group-by lr sw": "sweep",
    }.items():
        environment = {**os.environ, "_CARTPOLE_DQN_COMPLETE": "complete_bash", "COMP_WORDS": words}
        environment["COMP_CWORD"] = str(words.count(" "))
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=here)
        assert done.stdout.split() == [offered, "False"], done


# In a line ------------------------------------------------------------------------------------------------------------

WriteRun = Callable[..., Path]


def test_a_run_under_way_and_one_that_was_killed(write_run: WriteRun) -> None:
    folder = write_run("r", returns=range(5), ended=False)
    assert summarise_run(folder).state == "unknown"
    RunFolder(folder).write_status("running", 0)
    assert (summarise_run(folder).state, summarise_run(folder).step) == ("killed", 500)
    with RunFolder(folder).lock(), (folder / "metrics.jsonl").open("ab") as file:
        file.write(b'{"event":"episode","st')
        file.flush()
        run = summarise_run(folder)
        assert (run.state, run.step, run.problem) == ("running", 500, None)


@given(
    st.dictionaries(
        st.integers(1, 9).map(lambda k: k * 100),
        st.tuples(st.floats(-500, 500), st.booleans(), st.none() | st.tuples(st.floats(-500, 500), st.booleans())),
        max_size=5,
    )
)
def test_figures_are_those_of_the_whole_history(
    events: dict[int, tuple[float, bool, tuple[float, bool] | None]],
) -> None:
    """Looking for a few lines from the end finds what reading all of them does."""
    lines = ['{"event":"run_started","step":0,"name":"\\"best\\":true}"}']
    for step, (mean, best, confirmation) in sorted(events.items()):
        event = f'{{"event":"evaluation","step":{step},"mean":%r,"returns":[%r],"stream":"%s","best":%s}}'
        kept = best or (confirmation is not None and confirmation[1])
        lines.append(event % (mean, mean, "select", str(kept).lower()))
        if confirmation is not None:
            lines.append(event % (confirmation[0], confirmation[0], "confirm", str(confirmation[1]).lower()))
        lines.append(f'{{"event":"episode","step":{step + 1},"episode":{step},"seconds":{step / 7},"return":1.0}}')
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "config.toml").write_text('[env]\nid = "x"\n')
        (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
        run, history = summarise_run(folder), read_metrics(folder)
    assert run.problem is None
    assert run.step == max([0, *history.step])
    assert run.best_step == history.best_step
    assert (run.solved_step, run.solved_seconds) == (history.solved_step, history.solved_seconds)
    assert run.episode == max([0, *history.episode])
    assert run.last == (history.last_returns[0] if history.last_returns else None)
    assert run.best == (history.best_returns[0] if history.best_returns else None)


@pytest.mark.parametrize(
    ("config", "words"),
    [(text, "is not valid TOML") for text in (b"x = [", b"[" * 3000, b"seed = " + b"1" * 5000)]
    + [(text, "is not the configuration of a run: it has no env.id") for text in (b"seed = 3", b"env = 3")]
    + [(b"[env]\nid = 5", "it has no env.id"), (b"\xff", "is not UTF-8 text")],
)
def test_what_is_wrong_with_a_configuration_is_said(tmp_path: Path, config: bytes, words: str) -> None:
    (tmp_path / "config.toml").write_bytes(config)
    run = summarise_run(tmp_path)
    assert run.state == "broken"
    assert words in str(run.problem)


@pytest.mark.parametrize(
    "metrics",
    [b"\xff\n", b"[]\n", b'{"event":"episode","step":"x"}\n', b'{"event":"evaluation","best":true}\n'],
)
def test_metrics_without_a_sound_line_leave_the_rest(write_run: WriteRun, metrics: bytes) -> None:
    folder = write_run("r")
    (folder / "metrics.jsonl").write_bytes(metrics)
    run = summarise_run(folder)
    assert (run.state, run.env, run.best) == ("done", "CartPole-v1", None)
    assert "metrics.jsonl is not what the observer 'metrics' writes" in str(run.problem)


def test_a_damaged_line_costs_only_what_was_in_it(write_run: WriteRun) -> None:
    folder = write_run("r", evaluations={100: [10], 200: [30]}, confirmations={200: ([40], True)}, best=(100, 200))
    whole = summarise_run(folder)
    lines = (folder / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    confirmed = next(i for i, line in enumerate(lines) if b'"confirm"' in line)
    for place, known in {1: (300, 40, 200), confirmed: (300, 30, None), len(lines) - 1: (300, 40, 200)}.items():
        torn = [line[9:] if i == place else line for i, line in enumerate(lines)]
        (folder / "metrics.jsonl").write_bytes(b"".join(torn))
        run = summarise_run(folder)
        assert (run.step, run.best, run.solved_step) == known
        assert run.problem == f"{folder}/metrics.jsonl: line {place + 1} is damaged and left out."
    assert (whole.problem, whole.best) == (None, 40)


def test_without_metrics_there_is_no_problem(write_run: WriteRun) -> None:
    folder = write_run("r")
    (folder / "metrics.jsonl").write_bytes(b"")
    assert summarise_run(folder).problem is None
    (folder / "metrics.jsonl").unlink()
    assert summarise_run(folder).problem is None
    assert summarise_run(folder).step == 300, "as its status says"


@pytest.mark.skipif(os.name != "posix", reason="links need a privilege elsewhere")
def test_metrics_that_are_no_file_or_too_large_are_not_read(write_run: WriteRun) -> None:
    folder = write_run("r")
    path = folder / "metrics.jsonl"
    for make, words in (
        (lambda: path.symlink_to(folder / "config.toml"), "it is a symbolic link"),
        (lambda: os.mkfifo(path), "it is not a regular file"),
        (lambda: (path.touch(), os.truncate(path, 1 << 40)), "more than the memory that is left"),
    ):
        path.unlink()
        make()
        assert words in str(summarise_run(folder).problem)
        with pytest.raises(RunFolderError, match=words):
            read_metrics(folder)


def test_values_of_the_wrong_kind_are_not_known(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('seed = true\nsteps = "many"\nagent = 5\nobs = 3\n[env]\nid = "x"\n')
    run = summarise_run(tmp_path)
    assert (run.state, run.seed, run.steps, run.agent, run.obs) == ("unknown", None, None, None, None)


def test_a_shared_agent_is_listed_with_its_claim(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(TRAINED / "state", tmp_path / "agent"))
    summary = summarise_run(folder)
    assert (summary.state, summary.step, summary.steps, summary.best) == ("shared", 3_000, None, 500.0)
    (folder / "best" / "state.json").write_text('{"meta": {}}')
    summary = summarise_run(folder)
    assert (summary.state, summary.best) == ("shared", None)
    assert "state.json cannot be read: KeyError: 'step'" in (summary.problem or "")
    (folder / "shared.json").write_text("{}")
    assert "shared.json" in (summarise_run(folder).problem or "")
