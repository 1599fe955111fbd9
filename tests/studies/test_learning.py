"""Real runs of a few steps: what a study over seeds trains, keeps, goes on with and refuses."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from pathlib import Path

import pytest
from rich.console import Console

from cartpole_dqn.errors import RunError, UserError
from cartpole_dqn.studies.ablation import CHOICES, Choice, run_ablation
from cartpole_dqn.studies.learning import Trial, machine_line, run_seeds, summarise

ARGUMENTS = ["--obs", "state", "--steps", "150", "--set", "evaluation.every=100", "--set", "evaluation.episodes=1"]
TRIAL = Trial(
    seed=0,
    steps=1000,
    seconds=10.0,
    evaluation_seconds=1.0,
    solved_step=500,
    solved_seconds=5.0,
    solved_wall=6.0,
    best=500.0,
    best_worst=490.0,
    last=480.0,
)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Trial]]:
    """Two seeds, trained and reported."""
    out = tmp_path_factory.mktemp("study")
    return out, run_seeds(ARGUMENTS, [3, 4], out, jobs=2, episodes=2)


@pytest.mark.process
def test_seeds_are_trained_into_run_folders_and_reported(study: tuple[Path, list[Trial]]) -> None:
    out, trials = study
    assert [trial.seed for trial in trials] == [3, 4]
    assert [trial.steps for trial in trials] == [150, 150]
    assert all(trial.best >= 1 and trial.last >= 1 and trial.seconds > 0 for trial in trials)
    assert all(trial.solved_step is None and trial.solved_wall is None for trial in trials)
    report = json.loads((out / "seed-3" / "report.json").read_text())
    assert report["best"]["episodes"] == 2
    assert report["last"]["model"] == "last"


@pytest.mark.process
def test_what_is_done_is_left_alone(study: tuple[Path, list[Trial]]) -> None:
    out, trials = study
    before = {path: path.stat().st_mtime_ns for path in out.glob("seed-*/*.*")}
    said: list[str] = []
    assert run_seeds(ARGUMENTS, [3, 4], out, episodes=2, said=said.append) == trials
    assert {path: path.stat().st_mtime_ns for path in out.glob("seed-*/*.*")} == before
    assert not [text for text in said if "training" in text]


@pytest.mark.process
def test_an_interrupted_seed_goes_on(study: tuple[Path, list[Trial]], tmp_path: Path) -> None:
    out, trials = study
    shutil.copytree(out / "seed-3", tmp_path / "seed-3")
    status = json.loads((tmp_path / "seed-3" / "status.json").read_text())
    (tmp_path / "seed-3" / "status.json").write_text(json.dumps({**status, "state": "interrupted"}))
    (tmp_path / "seed-3" / "report.json").unlink()
    said: list[str] = []
    [trial] = run_seeds(ARGUMENTS, [3], tmp_path, episodes=2, said=said.append)
    assert said[0] == "seed 3: going on"
    assert (trial.best, trial.last) == (trials[0].best, trials[0].last)


@pytest.mark.process
def test_a_folder_of_other_runs_is_refused(study: tuple[Path, list[Trial]]) -> None:
    with pytest.raises(UserError, match="holds runs with other settings"):
        run_seeds([*ARGUMENTS, "--set", "agent.gamma=0.9"], [3], study[0], episodes=2)


@pytest.mark.process
def test_a_run_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"unknown option agent\.gama"):
        run_seeds([*ARGUMENTS, "--set", "agent.gama=0.9"], [0], tmp_path)


@pytest.mark.process
def test_the_machine_is_named(study: tuple[Path, list[Trial]]) -> None:
    line = machine_line(study[0] / "seed-3")
    assert "torch" in line
    assert "1 torch thread," in line


def test_figures_over_seeds() -> None:
    trials = [
        dataclasses.replace(TRIAL, seed=k, solved_step=step, best=best, last=last)
        for k, (step, best, last) in enumerate([(500, 500.0, 480.0), (700, 475.0, 100.0), (None, 300.0, 300.0)])
    ]
    figures = summarise(trials, threshold=475.0)
    assert (figures["seeds"], figures["solved"]) == (3, 2)
    assert figures["solved_step"] == {"lower": 550.0, "median": 600.0, "upper": 650.0}
    assert (figures["best_lowest"], figures["last_lowest"]) == (300.0, 100.0)
    assert figures["last_mean"] == pytest.approx(880 / 3)


@pytest.mark.parametrize(("obs", "choice"), [(obs, choice) for obs in CHOICES for choice in CHOICES[obs]])
def test_every_choice_can_be_taken_away(obs: str, choice: Choice) -> None:
    """Its settings are taken, change what the default is, and fit together."""
    from cartpole_dqn.plugin.host import load_plugins
    from cartpole_dqn.training.assembly import assemble, resolve_config

    host = load_plugins(allowed=())
    light = ["observer=[]", "agent.replay.capacity=100"]
    default, _ = resolve_config(host, flags={"obs": obs}, sets=light)
    without, _ = resolve_config(host, flags={"obs": obs}, sets=[*light, *choice.settings])
    assert without != default
    assemble(without, host, folder=None, console=Console(quiet=True), clock=time.perf_counter, plain=True).close()


@pytest.mark.process
def test_an_ablation_keeps_each_choice_apart(tmp_path: Path) -> None:
    choices = [choice for choice in CHOICES["native"] if choice.name in ("double", "n-step")]
    results = run_ablation("native", [0], tmp_path, choices=choices, steps=80, jobs=2)
    assert list(results) == ["double", "n-step"]
    for name in results:
        config = (tmp_path / name / "seed-0" / "config.toml").read_text()
        assert ("double = false" in config) == (name == "double")
