"""`sweep` and `compare` in Python: the command's trials and figures, with an engine that trains in this process."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cartpole_dqn import (
    EpsilonGreedy,
    RunError,
    SweepEngine,
    Trial,
    TrialEnd,
    UserError,
    compare,
    load,
    sweep,
    train,
)
from cartpole_dqn.config.schema import parse_toml

ENGINE = f"{__name__}:Here"
SMALL = {"evaluation": {"every": 60, "episodes": 1}, "agent": {"learning_starts": 20, "batch_size": 8}}
LR = "agent.optimiser.lr"


class Here(SweepEngine):
    """Trains a trial when it is waited for, in this process. A batch of 13 fails. One of 14 interrupts the sweep."""

    slots = 1
    trial: Trial | None = None
    stopped = False

    def start(self, trial: Trial) -> None:
        self.trial = trial

    def wait(self, timeout: float) -> list[TrialEnd]:
        trial, self.trial = self.trial, None
        assert trial is not None
        table = parse_toml(trial.config, "trial")
        if table["agent"]["batch_size"] == 13:
            return [TrialEnd(trial.name, "failed", "unlucky.")]
        if table["agent"]["batch_size"] == 14:
            os.kill(os.getpid(), signal.SIGINT)
            return [TrialEnd(trial.name, "interrupted")]
        file = self.context.folder / "trial.toml"
        file.write_text(trial.config)
        train(config=file, out=trial.folder, plain=True)
        return [TrialEnd(trial.name, "done")]

    def stop(self) -> None:
        self.stopped = True

    def close(self) -> None: ...


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def swept(**given: Any) -> Any:
    return sweep(
        **{"obs": "state", "steps": 60, "settings": SMALL, "seeds": 2, "engine": ENGINE, "plain": True, **given}
    )


def test_a_grid_gives_runs_rows_and_tables(call: Callable[..., Any]) -> None:
    study = swept(grid={LR: [np.float64(1e-3), 5e-4]}, out="lr")
    assert [run.config.seed for run in study.runs] == [row["seed"] for row in study.rows()] == [0, 1, 0, 1]
    assert {run.config.agent["optimiser"]["lr"] for run in study.runs} == {1e-3, 5e-4}
    assert all(row["best.mean"] > 0 and row["path"].is_dir() for row in study.rows())
    groups = study.rows("groups")
    assert [(row["label"], row["runs"], row[f"settings.{LR}"]) for row in groups] == [
        ("lr=0.001", 2, 1e-3),
        ("lr=0.0005", 2, 5e-4),
    ]
    (chance,) = study.rows("improvements")
    assert 0 <= chance["chance.low"] <= chance["chance.value"] <= chance["chance.high"] <= 1
    assert str(compare("lr")) == call("compare", "lr").out
    assert str(study).splitlines()[1].startswith("group ")
    assert json.loads((study.path / "results.json").read_text())["groups"][0]["label"] == "lr=0.001"
    assert (study.path, study.failed) == (Path("lr"), {})
    again = swept(grid={LR: [1e-3, 5e-4]}, out="lr")  # nothing is left to train
    assert again.rows() == study.rows()


def test_variants_draws_and_seeds() -> None:
    study = swept(variants={"default": {}, "wide": {"agent.network": {"name": "mlp", "hidden": [9]}}}, seeds=[7])
    assert [row["group"] for row in study.rows()] == ["default", "wide"]
    assert study.runs[1].config.agent["network"]["hidden"] == [9]
    assert study.runs[0].config.seed == 7
    assert study.path.parent == Path("sweeps")
    space = {LR: {"low": 1e-4, "high": 1e-2, "log": True}}
    study = swept(space=space, random=2, sweep_seed=3, seeds=1)
    assert len({run.config.agent["optimiser"]["lr"] for run in study.runs}) == 2


def test_a_failed_trial_is_named_and_the_others_are_compared() -> None:
    study = swept(grid={"agent.batch_size": [8, 13]}, seeds=1)
    assert study.failed == {"batch_size=13,seed=0": "unlucky."}
    assert len(study.rows()) == 1
    assert "Failed, and in no figure: batch_size=13,seed=0: unlucky." in str(study)
    with pytest.raises(RunError, match=r"2 trials did not finish\. Resume with: cartpole-dqn sweep --resume"):
        swept(grid={"agent.batch_size": [13]})


def test_an_interrupted_sweep_says_how_to_resume() -> None:
    with pytest.raises(KeyboardInterrupt, match="2 of 2 trials are left; resume with: cartpole-dqn sweep --resume s"):
        swept(grid={"agent.batch_size": [14]}, out="s")


def test_compare_takes_runs_and_folders_and_plays() -> None:
    a, b = (train(obs="state", steps=60, seed=seed, settings=SMALL, plain=True) for seed in range(2))
    study = compare(a, b.path, group_by="run", episodes=2, seed=5)
    assert [run.path for run in study.runs] == [a.path, b.path]
    assert len(study.rows("groups")) == 2
    assert study.rows()[0]["best.mean"] == pytest.approx(a.evaluate(episodes=2, seed=5).mean)
    assert compare("runs", group_by=["seed"]).rows("groups")[1]["label"] == "seed=1"
    assert load(study.runs[0].path).path == a.path


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"grid": {LR: 1e-3}}, "grid: expected a dictionary of lists, got {"),
        ({"grid": {LR: [1e-3]}, "variants": {"a": {}}}, "grid and variants: give one of them"),
        ({"random": 3}, "random and search need space"),
        ({"seeds": 0}, "seeds: expected 1 or more, got 0"),
        ({"seeds": "5"}, "seeds: expected a whole number or a list of whole numbers, got '5' (str)"),
        ({"seeds": [3, -1]}, "seeds: expected 0 or more, got -1"),
        ({"seeds": [3, 3]}, "seeds: expected each one once, got [3, 3]"),
        ({"grid": {3: [1]}}, "setting 3=1: unknown option 3"),
        ({"variants": {3: {"agent.gama": 1}}}, "setting 3: unknown option agent.gama"),
        ({"steps": 5, "episodes": 5}, "steps and episodes: give one of them"),
        ({"settings": {"seed": 3}}, "takes its seeds from `seeds`"),
        ({"engine": "lokal"}, "unknown sweep-engine 'lokal'. Did you mean 'local'?"),
    ],
)
def test_a_sweep_that_makes_no_sense_is_a_sentence(given: dict[str, Any], said: str, folder: Path) -> None:
    with pytest.raises(UserError) as caught:
        swept(**given)
    assert said in str(caught.value)
    assert not list(folder.rglob("sweep.toml"))


def test_a_class_of_the_program_itself_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "Own", EpsilonGreedy, raising=False)
    with pytest.raises(UserError, match=r"exploration '__main__:Own': the runs of a sweep .* write parts:Own\."):
        swept(settings={"agent": {"exploration": {"name": "__main__:Own"}}})


def test_bad_arguments_of_a_comparison_are_sentences() -> None:
    with pytest.raises(UserError, match=r"runs: expected a string or a Path or a Run, got 3 \(int\)"):
        compare(3)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="which runs"):
        compare()
