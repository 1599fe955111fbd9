from __future__ import annotations

import numpy as np
import pytest
from cartpole_dqn import Context
from cartpole_dqn.testing import check_exploration
from gymnasium.spaces import Box, Discrete

from cartpole_dqn_acme.exploration import CosineExploration, CosineOptions


def test_contract() -> None:
    check_exploration(CosineExploration)


def test_epsilon_falls_along_half_a_cosine() -> None:
    context = Context(observation_space=Box(-1, 1, (4,), np.float32), action_space=Discrete(2))
    exploration = CosineExploration(CosineOptions(start=1.0, end=0.0, steps=100), context)
    assert [exploration.epsilon(step) for step in (0, 50, 100, 1000)] == pytest.approx([1.0, 0.5, 0.0, 0.0])
