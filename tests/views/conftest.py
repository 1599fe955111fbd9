"""Runs to look at: short, but trained and kept as `run` does it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cartpole_dqn.api import Run, train

Trained = Callable[..., Run]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Return a run of some steps on an environment, made once for all tests."""
    made: dict[str, Run] = {}
    place: Path = tmp_path_factory.mktemp("trained")

    def run(env: str = "CartPole-v1", obs: str = "state", steps: int = 60, **settings: Any) -> Run:
        key = repr((env, obs, steps, sorted(settings.items(), key=str)))
        if key not in made:
            given = {"evaluation": {"every": 0}, "observer": [], **settings}
            out = place / f"run-{len(made)}"
            made[key] = train(env=env, obs=obs, steps=steps, seed=1, out=out, settings=given, plain=True)
        return made[key]

    return run
