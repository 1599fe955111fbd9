from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartpole_dqn.errors import RunFolderError
from cartpole_dqn.runs.folder import RunFolder
from cartpole_dqn.runs.history import read_metrics
from cartpole_dqn.runs.listing import list_runs, read_settings, run_title, summarise_run

WriteRun = Callable[..., Path]


def test_a_run_in_a_line(write_run: WriteRun) -> None:
    folder = write_run(
        "r",
        seed=4,
        sets=["steps=900"],
        returns=range(9),
        evaluations={300: [500, 490], 900: [500]},
        confirmations={300: ([480, 470], True)},
        best=(300,),
    )
    os.utime(folder / "config.toml", (1e9, 1e9))
    run = summarise_run(folder)
    assert (run.name, run.path, run.state, run.problem, run.started) == ("r", folder, "done", None, 1e9)
    assert (run.env, run.obs, run.preset, run.agent, run.seed) == ("CartPole-v1", "native", "state", "dqn", 4)
    assert (run.step, run.steps) == (900, 900)
    assert (run.best, run.best_step, run.solved_step) == (475, 300, 300)


@pytest.mark.process
def test_a_run_under_way_and_one_that_was_killed(write_run: WriteRun) -> None:
    folder = write_run("r", returns=range(5), ended=False)
    assert summarise_run(folder).state == "unknown"
    RunFolder(folder).write_status("running", 0)
    assert (summarise_run(folder).state, summarise_run(folder).step) == ("killed", 500)
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, pathlib; from cartpole_dqn.runs.folder import RunFolder\n"
            f"with RunFolder(pathlib.Path({str(folder)!r})).lock(): print('held', flush=True); sys.stdin.read()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with (folder / "metrics.jsonl").open("ab") as file:
            file.write(b'{"event":"episode","st')
        run = summarise_run(folder)
        assert (run.state, run.step, run.problem) == ("running", 500, None)
    finally:
        holder.communicate()


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
        told = f'{{"event":"evaluation","step":{step},"mean":%r,"returns":[%r],"stream":"%s","best":%s}}'
        kept = best or (confirmation is not None and confirmation[1])
        lines.append(told % (mean, mean, "select", str(kept).lower()))
        if confirmation is not None:
            lines.append(told % (confirmation[0], confirmation[0], "confirm", str(confirmation[1]).lower()))
        lines.append(f'{{"event":"episode","step":{step + 1},"return":1.0}}')
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "config.toml").write_text('[env]\nid = "x"\n')
        (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
        run, history = summarise_run(folder), read_metrics(folder)
    assert run.problem is None
    assert run.step == max([0, *history.step])
    assert run.best_step == history.best_step
    assert run.solved_step == history.solved_step
    assert run.best == (history.best_returns[0] if history.best_returns else None)


def test_runs_are_listed_newest_first_and_broken_ones_last(write_run: WriteRun, tmp_path: Path) -> None:
    for age, name in enumerate(["runs/c", "runs/a", "runs/b"]):
        os.utime(write_run(name) / "config.toml", (1e9 - age, 1e9 - age))
    root = tmp_path / "runs"
    (root / "torn").mkdir()
    (root / "torn" / "status.json").write_text("{}")
    (root / "notes").mkdir()
    (root / "file").write_text("")
    assert [run.name for run in list_runs(root)] == ["c", "a", "b", "torn"]
    assert list_runs(root)[3].state == "broken"
    assert list_runs(root)[3].problem == f"{root / 'torn'} holds no config.toml."
    for wrong, words in {tmp_path / "nowhere": "No such file", root / "file": "Not a directory"}.items():
        with pytest.raises(RunFolderError, match=words):
            list_runs(wrong)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (b"x = [", "is not valid TOML"),
        (b"\xff", "is not UTF-8 text"),
        (b"seed = 3", "is not the configuration of a run: it has no env.id"),
        (b"env = 3", "it has no env.id"),
        (b"[env]\nid = 5", "it has no env.id"),
        (b"[" * 3000, "is not valid TOML"),
    ],
)
def test_what_is_wrong_with_a_configuration_is_said(tmp_path: Path, config: bytes, words: str) -> None:
    (tmp_path / "config.toml").write_bytes(config)
    run = summarise_run(tmp_path)
    assert run.state == "broken"
    assert words in str(run.problem)


@pytest.mark.parametrize(
    "metrics",
    [b"\xff\n", b"[]\n", b'{"event":"episode","step":"x"}\n', b'{"event":"evaluation","best":true}\n', b"{}\n[1\n"],
)
def test_damaged_metrics_leave_the_rest(write_run: WriteRun, metrics: bytes) -> None:
    folder = write_run("r")
    (folder / "metrics.jsonl").write_bytes(metrics)
    run = summarise_run(folder)
    assert (run.state, run.env, run.best) == ("done", "CartPole-v1", None)
    assert str(run.problem).endswith("metrics.jsonl is not what the observer 'metrics' writes.")


def test_without_metrics_there_is_no_problem(write_run: WriteRun) -> None:
    folder = write_run("r")
    (folder / "metrics.jsonl").write_bytes(b"")
    assert summarise_run(folder).problem is None
    (folder / "metrics.jsonl").unlink()
    assert summarise_run(folder).problem is None
    assert summarise_run(folder).step == 300, "as its status says"
    (folder / "metrics.jsonl").symlink_to(folder / "config.toml")
    assert "it is a symbolic link" in str(summarise_run(folder).problem)


def test_values_of_the_wrong_kind_are_not_known(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('seed = true\nsteps = "many"\nagent = 5\nobs = 3\n[env]\nid = "x"\n')
    run = summarise_run(tmp_path)
    assert (run.state, run.seed, run.steps, run.agent, run.obs) == ("unknown", None, None, None, None)


def test_a_title_of_settings(write_run: WriteRun) -> None:
    settings = read_settings(write_run("r", seed=3))
    assert run_title(settings) == "dqn on CartPole-v1, native, preset state, seed 3"
    assert run_title({**settings, "preset": ""}) == "dqn on CartPole-v1, native, seed 3"
