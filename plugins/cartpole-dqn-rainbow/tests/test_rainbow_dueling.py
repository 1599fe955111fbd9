from __future__ import annotations

from typing import Any

import numpy as np
import torch
from cartpole_dqn_rainbow.dueling import Dueling
from cartpole_dqn_rainbow.network import Head
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

STATE = spaces.Box(-np.inf, np.inf, (4,), np.float32)


@given(
    actions=st.integers(1, 5),
    outputs=st.integers(1, 4),
    hidden=st.sampled_from([None, 3]),
    sigma=st.sampled_from([None, 0.5]),
    seed=st.integers(0, 9),
)
def test_streams_are_joined_as_written(
    actions: int, outputs: int, hidden: int | None, sigma: float | None, seed: int
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head = Head(4, hidden, actions=actions, outputs=outputs, dueling=True, sigma=sigma)
        features = torch.randn(3, 4)
    assert head.value is not None
    value, advantage = head.value(features), head.advantage(features)
    joined = head(features)
    assert joined.shape == (3, actions, outputs)
    for b in range(3):
        for i in range(outputs):
            row = [float(advantage[b, a * outputs + i].detach()) for a in range(actions)]
            for a in range(actions):
                expected = float(value[b, i].detach()) + row[a] - sum(row) / actions
                assert abs(float(joined[b, a, i].detach()) - expected) < 1e-5


def test_one_action_teaches_the_others(make: Any, observations: Any) -> None:
    network = make(Dueling, STATE)
    values = network(observations(STATE, 4))
    (gradient,) = torch.autograd.grad(values[:, 0].sum(), network.head.value[2].bias)
    assert gradient.item() == 4
