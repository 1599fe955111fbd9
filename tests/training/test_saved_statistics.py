"""What a model saw is saved with it: the running statistics of wrappers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cartpole_dqn.api import Run, load, train
from cartpole_dqn.contracts.options import changed
from cartpole_dqn.errors import CheckpointError
from cartpole_dqn.training.models import load_policy

NORMALISED = {"wrapper": "gymnasium.wrappers:NormalizeObservation"}


def trained_run(out: Path, *observation: dict[str, Any], **settings: Any) -> Run:
    table = {
        "observation": list(observation),
        "agent": {"learning_starts": 50, "batch_size": 16, "mirror": False},
        "evaluation": {"every": 100, "episodes": 3, "confirm_episodes": 3},
        **settings,
    }
    return train(obs="state", steps=300, out=out, settings=table, plain=True)


def counted(run: Run, which: Any) -> float:
    """The number of observations that a saved model's statistics are of."""
    _, factory, _ = load_policy(run, which)
    count: float = factory.statistics.state_dict()["NormalizeObservation-0"]["obs_rms"]["count"]
    return count


def test_models_are_saved_with_their_statistics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained_run(tmp_path / "r", NORMALISED)
    best, last = counted(run, "best"), counted(run, "last")
    assert best > 100
    assert last > 300
    shared = run.evaluate(episodes=23)
    monkeypatch.setattr("cartpole_dqn.training.rounds.usable_cores", lambda: 1)
    assert load(run.path).evaluate(episodes=23).returns == shared.returns

    env = run.make_env()
    assert np.abs(env.reset(seed=1)[0]).max() > 0.2, "the raw state is within 0.05"

    begun = trained_run(tmp_path / "s", NORMALISED, init={"run": str(run.path), "which": "last"})
    assert counted(begun, "last") > last + 300


def test_a_model_without_the_statistics_it_needs_is_refused(tmp_path: Path) -> None:
    run = trained_run(tmp_path / "r")
    with pytest.raises(CheckpointError, match="was saved without the running statistics of the wrappers"):
        load_policy(replace(run, config=changed(run.config, observation=[NORMALISED])), "best")


def test_returns_are_those_of_the_environment(tmp_path: Path) -> None:
    """CartPole gives 1 for each step; what is learned from is a tenth of it."""
    tenth = {"wrapper": "gymnasium.wrappers:ClipReward", "min_reward": -0.1, "max_reward": 0.1}
    for number, mark in enumerate(({}, {"training_only": True})):
        evaluation = {"every": 100, "episodes": 3, "confirm_episodes": 3, "solved_at": 8}
        run = trained_run(tmp_path / str(number), {**tenth, **mark}, evaluation=evaluation)
        assert run.evaluate(episodes=3).returns == tuple(map(float, run.evaluate(episodes=3).lengths))
        rows = [line.split(",") for line in (run.path / "metrics.csv").read_text().splitlines()]
        at, length = rows[0].index("return"), rows[0].index("length")
        assert all(float(row[at]) == float(row[length]) for row in rows[1:])
