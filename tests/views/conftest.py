"""Runs to look at: short, but trained and kept as `run` does it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cartpole_dqn.api import Run, load


@pytest.fixture(scope="session")
def trained(trained_once: Callable[..., Path]) -> Callable[..., Run]:
    """Return a run of some steps on an environment, made once for all tests."""

    def run(env: str = "CartPole-v1", obs: str = "state", steps: int = 60, **settings: Any) -> Run:
        given = {"evaluation": {"every": 0}, "observer": [], **settings}
        return load(trained_once(env=env, obs=obs, steps=steps, seed=1, settings=given))

    return run
