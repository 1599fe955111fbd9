from __future__ import annotations

import numpy as np
import torch
from cartpole_dqn import Context
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
