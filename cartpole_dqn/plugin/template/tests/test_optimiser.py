from __future__ import annotations

import torch
from cartpole_dqn import Context
from cartpole_dqn.testing import check_optimiser
from gymnasium.spaces import Box, Discrete
from torch import nn

from cartpole_dqn_acme.optimiser import Nesterov, NesterovOptions


def test_contract() -> None:
    check_optimiser(Nesterov, lr=0.02)
    check_optimiser(Nesterov, momentum=0.0)


def test_momentum_goes_on() -> None:
    context = Context(observation_space=Box(-1, 1, (4,)), action_space=Discrete(2))
    weight = nn.Parameter(torch.zeros(1))
    optimiser = Nesterov(NesterovOptions(lr=1.0, momentum=0.5), context)
    optimiser.attach([weight])
    places = []
    for gradient in (-1.0, 0.0, 0.0):
        weight.grad = torch.tensor([gradient])
        optimiser.step()
        places.append(weight.item())
    assert places == [1.5, 1.75, 1.875]
