"""Whole runs, the plugin found by its entry points."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import forked
from cartpole_dqn import Run, UserError, load, train

QUICK: dict[str, Any] = {
    "hdqn": {"controller_batch_size": 16, "meta_batch_size": 16, "train_every": 2},
    "hdqn-tabular": {},
    "flat-q-learning": {},
    "flat-dqn": {"batch_size": 16},
}


def run(preset: str, out: Path, steps: int, every: int = 0, lanes: int = 1, **agent: Any) -> Run:
    settings = {
        "agent": {**QUICK[preset], **agent},
        "env": {"num_envs": lanes},
        "evaluation": {"every": every, "episodes": 20, "confirmations": 0},
        "observer": [{"name": "metrics"}],
    }
    return train(preset=preset, steps=steps, seed=3, settings=settings, plain=True, out=out)


def course(done: Run) -> list[dict[str, Any]]:
    """Every episode with all its figures, to the last bit, but for times."""
    lines = [json.loads(line) for line in (done.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    episodes = [line for line in lines if line["event"] == "episode"]
    return [{k: v for k, v in line.items() if k not in ("seconds", "steps_per_second")} for line in episodes]


@pytest.mark.parametrize(("preset", "lanes"), [("hdqn", 3), ("hdqn-tabular", 2)])
def test_a_resumed_run_goes_on_with_the_same_bits(preset: str, lanes: int, tmp_path: Path) -> None:
    whole = run(preset, tmp_path / "whole", 420, lanes=lanes)
    parts = run(preset, tmp_path / "parts", 303, lanes=lanes)
    assert 0 < len(course(parts)) < len(course(whole))
    parts = load(parts.path).resume(420, plain=True)
    assert course(parts) == course(whole)
    rewards = [done.evaluate(40, which="last").returns for done in (whole, parts)]
    assert rewards[0] == rewards[1]
    if preset == "hdqn":
        last = course(whole)[-1]
        assert last["metrics"]["loss"] > 0
        assert last["metrics"]["meta_loss"] > 0


@pytest.mark.parametrize("preset", ["hdqn", "hdqn-tabular"])
def test_evaluating_changes_nothing(preset: str, tmp_path: Path) -> None:
    quiet = run(preset, tmp_path / "quiet", 300)
    watched = run(preset, tmp_path / "watched", 300, every=100)
    assert course(watched) == course(quiet)
    assert (watched.path / "best").exists()
    assert not (quiet.path / "best").exists()


def test_landmarks_on_another_environment(tmp_path: Path) -> None:
    settings = {
        "env": {"kwargs": {"is_slippery": False}},
        "agent": {
            "controller_exploration": {"steps": 600},
            "meta_exploration": {"steps": 3000},
            "controller_optimiser": {"lr": 1e-3},
            "meta_optimiser": {"lr": 1e-3},
            "train_every": 10,
        },
        "evaluation": {"every": 0},
        "observer": [{"name": "metrics"}],
    }
    done = train(preset="hdqn-frozen-lake", steps=4_000, seed=0, settings=settings, plain=True, out=tmp_path / "run")
    assert done.evaluate(5, which="last").returns == (1.0,) * 5


def test_the_environment_chooses_the_preset(tmp_path: Path) -> None:
    settings = {"observer": [{"name": "metrics"}], "evaluation": {"every": 0}}
    done = train(
        env="DiscreteStochasticDecisionProcess-v0", obs="state", steps=50, settings=settings, out=tmp_path / "run"
    )
    assert done.config.preset == "hdqn"
    assert done.config.agent["controller_optimiser"]["lr"] == 2.5e-4


def test_the_flat_preset_trains(tmp_path: Path) -> None:
    done = run("flat-dqn", tmp_path / "run", 200)
    assert course(done)[-1]["metrics"]["loss"] >= 0
    assert done.config.agent["gamma"] == 0.95


@pytest.mark.process
def test_the_display_shows_goals_and_both_levels(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cartpole_dqn", "run", "--preset", "hdqn", "--steps", "250", "--plain"]
    command += ["--set", "observer.display.plain_every_seconds=0.01", "--set", "evaluation.every=0"]
    done = forked.run([*command, "--out", str(tmp_path / "run")], capture_output=True, text=True, check=True)
    for words in ("goal s", "goals reached", "epsilon", "meta epsilon", "loss", "meta loss"):
        assert words in done.stderr, done.stderr


def test_goals_that_do_not_fit_are_said_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="goals 'states' needs observations that are 1 at the state"):
        train(obs="state", settings={"agent": {"name": "hdqn"}}, steps=10, out=tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["hdqn", "hdqn-tabular"])
@pytest.mark.parametrize("seed", range(3))
def test_the_detour_is_learned(preset: str, seed: int, tmp_path: Path) -> None:
    settings = {"observer": [{"name": "metrics"}]}
    done = train(preset=preset, seed=seed, settings=settings, plain=True, out=tmp_path / "run")
    assert done.evaluate(5_000, which="best").mean >= 0.19
    assert done.evaluate(5_000, which="last").mean >= 0.19
