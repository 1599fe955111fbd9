from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from cartpole_dqn.components.replay.uniform import UniformReplay
from cartpole_dqn.contracts.parts import Context, ReplayBuffer, Transition
from cartpole_dqn.testing import check_replay

CONTEXT = Context(
    observation_space=spaces.Box(-1000, 1000, (2,), np.float32), action_space=spaces.Discrete(2), gamma=0.9
)


def make(*, capacity: int = 100, replacement: bool = True, **context: Any) -> UniformReplay:
    options = UniformReplay.Options(capacity=capacity, replacement=replacement)
    return UniformReplay(options, dataclasses.replace(CONTEXT, **context))


def fill(replay: ReplayBuffer, steps: int, *, lane: int = 0, start: int = 0) -> None:
    """One long episode; an observation is [lane, time]."""
    for time in range(start, start + steps):
        obs, next_obs = (np.array([lane, time + i], np.float32) for i in range(2))
        replay.add(Transition(obs, 0, 1.0, next_obs, False, False, lane))


@pytest.mark.parametrize("replacement", [True, False])
def test_every_transition_is_as_likely_as_every_other(replacement: bool) -> None:
    replay = make(capacity=90, replacement=replacement, num_envs=3)
    for lane, steps in ((0, 5), (1, 100), (2, 17)):
        fill(replay, steps, lane=lane)
    assert len(replay) == 5 + 29 + 17
    counts: dict[tuple[float, ...], int] = {}
    for _ in range(1000):
        for obs in replay.sample(20).obs.tolist():
            counts[tuple(obs)] = counts.get(tuple(obs), 0) + 1
    assert len(counts) == 51
    expected = 20_000 / 51
    # Chi-square with 50 degrees of freedom: above 86.7 once in a thousand; without replacement it is smaller.
    assert sum((count - expected) ** 2 / expected for count in counts.values()) < 86.7


def test_without_replacement_no_batch_holds_a_transition_twice() -> None:
    replay = make(replacement=False)
    fill(replay, 40)
    for size in (1, 13, 40):
        for _ in range(20):
            assert len(set(replay.sample(size).indices.tolist())) == size
    with pytest.raises(ValueError, match="40 transitions, too few to draw 41 without replacement"):
        replay.sample(41)


def test_with_replacement_a_batch_may_be_larger_than_the_replay() -> None:
    replay = make()
    fill(replay, 3)
    assert len(replay.sample(64)) == 64


@pytest.mark.parametrize("replacement", [True, False])
def test_contract(replacement: bool) -> None:
    check_replay(UniformReplay, replacement=replacement)
