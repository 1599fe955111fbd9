from __future__ import annotations

import numpy as np
from cartpole_dqn import Context, Transition
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
