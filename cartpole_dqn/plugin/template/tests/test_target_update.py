from __future__ import annotations

import numpy as np
import torch
from cartpole_dqn import Context
from cartpole_dqn.testing import check_target_update
from gymnasium.spaces import Box, Discrete
from torch import nn

from cartpole_dqn_acme.target_update import DoublingOptions, DoublingTargetUpdate


def test_contract() -> None:
    check_target_update(DoublingTargetUpdate)


def test_intervals_double_until_the_longest() -> None:
    context = Context(observation_space=Box(-1, 1, (4,), np.float32), action_space=Discrete(2))
    update = DoublingTargetUpdate(DoublingOptions(most=10), context)
    online, target = nn.Linear(2, 2), nn.Linear(2, 2)
    copies = []
    for updates in range(1, 41):
        with torch.no_grad():
            online.weight.fill_(updates)
        update.after_update(online, target, updates)
        if torch.equal(online.weight, target.weight):
            copies.append(updates)
    assert copies == [1, 2, 4, 8, 20, 30, 40]
