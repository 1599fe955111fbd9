from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from cartpole_dqn.components.replay.uniform import UniformReplay
from cartpole_dqn.contracts.parts import Batch, Context, ReplayBuffer, Transition
from cartpole_dqn.contracts.seeding import SeedTree
from cartpole_dqn.errors import ConfigError, UserError

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


def same(a: Batch, b: Batch) -> bool:
    pairs = [(getattr(a, name), getattr(b, name)) for name in Batch.__dataclass_fields__]
    return all(one is other if one is None or other is None else torch.equal(one, other) for one, other in pairs)


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
def test_nothing_to_sample_from(replacement: bool) -> None:
    with pytest.raises(ValueError, match="store more"):
        make(replacement=replacement).sample(1)


def test_the_context_decides_gamma_and_steps() -> None:
    replay = make(n_step=3, gamma=0.5)
    fill(replay, 10)
    batch = replay.sample(5)
    assert batch.rewards.tolist() == [1.75] * 5
    assert batch.discounts.tolist() == [0.125] * 5
    assert torch.equal(batch.next_obs[:, 1] - batch.obs[:, 1], torch.full((5,), 3.0))
    assert batch.weights.tolist() == [1.0] * 5


def test_break_lane_reaches_the_ring() -> None:
    replay = make(n_step=3)
    fill(replay, 2)
    assert len(replay) == 0
    replay.break_lane(0)
    assert len(replay) == 2


def test_priorities_are_no_matter() -> None:
    replay = make()
    fill(replay, 5)
    batch = replay.sample(4)
    replay.update_priorities(batch.indices, torch.ones(4))
    assert len(replay) == 5


def test_the_same_seed_gives_the_same_batches_and_another_seed_others() -> None:
    first, again, other = make(), make(), make(seeds=SeedTree(1))
    for replay in (first, again, other):
        fill(replay, 50)
    batches = [[replay.sample(16) for _ in range(5)] for replay in (first, again, other)]
    assert all(same(a, b) for a, b in zip(batches[0], batches[1], strict=True))
    assert not any(same(a, b) for a, b in zip(batches[0], batches[2], strict=True))


@pytest.mark.parametrize("replacement", [True, False])
def test_a_restored_replay_goes_on_with_the_same_bits(replacement: bool) -> None:
    replay, other = (make(replacement=replacement, n_step=2) for _ in range(2))
    fill(replay, 150)
    replay.sample(16)
    other.load_state_dict(copy.deepcopy(replay.state_dict()))
    for time in range(150, 160):
        for each in (replay, other):
            fill(each, 1, start=time)
        assert same(replay.sample(16), other.sample(16))


def test_sizes() -> None:
    replay = make(capacity=101, num_envs=2)
    assert isinstance(replay, ReplayBuffer)
    assert replay.capacity == 100
    assert replay.nbytes == replay.ring.nbytes > 100 * 8


def test_a_capacity_below_what_the_lanes_need() -> None:
    with pytest.raises(ConfigError, match=r"replay uniform: .* at least 28"):
        make(capacity=20, num_envs=4, n_step=5)


def test_more_than_the_machine_has_is_refused_before_anything_is_taken() -> None:
    screens = spaces.Box(0, 255, (210, 160, 3), np.uint8)
    with pytest.raises(UserError, match=r"1000000000 slots of uint8 \[210, 160, 3\] would take 101 TB") as caught:
        make(capacity=10**9, observation_space=screens)
    assert "Set its capacity well below" in str(caught.value)
