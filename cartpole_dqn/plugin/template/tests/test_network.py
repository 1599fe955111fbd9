from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from cartpole_dqn import Context, train
from cartpole_dqn.testing import check_network
from gymnasium.spaces import Box, Discrete

from cartpole_dqn_acme.network import FourierNetwork, FourierOptions


def test_contract() -> None:
    check_network(FourierNetwork)


def test_larger_frequencies_tell_finer_differences() -> None:
    context = Context(observation_space=Box(-1, 1, (4,), np.float32), action_space=Discrete(2))
    near, nearby = torch.zeros(1, 4), torch.full((1, 4), 0.01)
    differences = []
    for spread in (0.1, 10.0):
        torch.manual_seed(0)
        network = FourierNetwork(FourierOptions(spread=spread), context)
        with torch.no_grad():
            differences.append(float((network(near) - network(nearby)).abs().max()))
    assert differences[1] > 10 * differences[0]


def test_a_run_trains_with_it(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "agent": {"learning_starts": 100, "network": {"name": "acme"}},
        "evaluation": {"every": 0},
    }
    run = train(obs="state", steps=200, settings=settings, plain=True, out=tmp_path / "run")
    assert run.config.agent["network"]["name"] == "acme"
