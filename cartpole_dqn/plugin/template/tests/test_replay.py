from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from cartpole_dqn import Context, Transition, train
from cartpole_dqn.testing import check_replay
from gymnasium.spaces import Box, Discrete

from cartpole_dqn_acme.replay import StratifiedOptions, StratifiedReplay


def test_contract() -> None:
    check_replay(StratifiedReplay)


def test_a_batch_has_one_transition_of_each_part() -> None:
    context = Context(observation_space=Box(0, 40, (1,), np.float32), action_space=Discrete(2))
    replay = StratifiedReplay(StratifiedOptions(capacity=50), context)
    for i in range(40):
        obs, next_obs = np.array([[i], [i + 1]], np.float32)
        replay.add(Transition(obs, 0, 1.0, next_obs, False, False))
    assert (replay.sample(4).obs[:, 0] // 10).tolist() == [0, 1, 2, 3]


def test_a_run_trains_with_it(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "agent": {"learning_starts": 100, "replay": {"name": "acme"}},
        "evaluation": {"every": 0},
    }
    run = train(obs="state", steps=200, settings=settings, plain=True, out=tmp_path / "run")
    assert run.config.agent["replay"]["name"] == "acme"
