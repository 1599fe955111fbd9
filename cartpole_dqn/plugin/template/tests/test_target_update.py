from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from cartpole_dqn import Context, train
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


def test_a_run_trains_with_it(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "agent": {"learning_starts": 100, "target_update": {"name": "acme"}},
        "evaluation": {"every": 0},
    }
    run = train(obs="state", steps=200, settings=settings, plain=True, out=tmp_path / "run")
    assert run.config.agent["target_update"]["name"] == "acme"
