from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cartpole_dqn import Context, train
from cartpole_dqn.testing import check_exploration
from gymnasium.spaces import Box, Discrete

from cartpole_dqn_acme.exploration import CosineExploration, CosineOptions


def test_contract() -> None:
    check_exploration(CosineExploration)


def test_epsilon_falls_along_half_a_cosine() -> None:
    context = Context(observation_space=Box(-1, 1, (4,), np.float32), action_space=Discrete(2))
    exploration = CosineExploration(CosineOptions(start=1.0, end=0.0, steps=100), context)
    assert [exploration.epsilon(step) for step in (0, 50, 100, 1000)] == pytest.approx([1.0, 0.5, 0.0, 0.0])


def test_a_run_trains_with_it(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "agent": {"learning_starts": 100, "exploration": {"name": "acme"}},
        "evaluation": {"every": 0},
    }
    run = train(obs="state", steps=200, settings=settings, plain=True, out=tmp_path / "run")
    assert run.config.agent["exploration"]["name"] == "acme"
