"""`RingReplay`: whoever extends it only says what is drawn, and how likely."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from cartpole_dqn import Batch, Context, RingReplay, SeedTree, Transition, UserError

CONTEXT = Context(
    observation_space=spaces.Box(-1000, 1000, (1,), np.float32), action_space=spaces.Discrete(2), gamma=0.9
)


class ByAge(RingReplay):
    """Draws rank r with a chance in proportion to r + 1; hears of slots and steps."""

    beta = 0.5

    def __init__(self, capacity: int, context: Context, **more: Any) -> None:
        super().__init__(capacity, context, name="replay by-age", **more)
        self.heard: list[tuple[int, list[int], list[int]]] = []

    def draw(self, batch_size: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        chances = np.arange(1.0, len(self.ring) + 1)
        ranks = self.generator.choice(len(chances), batch_size, p=chances / chances.sum())
        return self.ring.index_at(ranks), chances[ranks]

    def changed(self, env: int, added: list[int], removed: list[int]) -> None:
        self.heard.append((env, added, removed))


def fill(replay: RingReplay, steps: int) -> None:
    for time in range(steps):
        obs, next_obs = np.array([[time], [time + 1]], np.float32)
        replay.add(Transition(obs, 0, 1.0, next_obs, False, False))


def batch(replay: RingReplay) -> list[Any]:
    return [getattr(replay.sample(8), field.name).tolist() for field in dataclasses.fields(Batch)[:-1]]


def test_weights_follow_from_probabilities_and_beta() -> None:
    replay = ByAge(20, CONTEXT)
    fill(replay, 10)
    drawn = replay.sample(6)
    chances = drawn.obs[:, 0] + 1
    assert drawn.weights.dtype == torch.float32
    assert torch.allclose(drawn.weights, (chances / chances.min()) ** -0.5)
    replay.beta = 0.0
    assert replay.sample(6).weights.tolist() == [1.0] * 6


def test_a_subclass_hears_which_slots_changed() -> None:
    replay = ByAge(4, dataclasses.replace(CONTEXT, n_step=2))
    fill(replay, 4)
    replay.break_lane(0)
    assert replay.heard == [(0, [], []), (0, [0], []), (0, [1], []), (0, [2], [0]), (0, [3], [])]


def test_nothing_is_drawn_from_an_empty_ring() -> None:
    with pytest.raises(ValueError, match="replay by-age holds no complete transition"):
        ByAge(20, CONTEXT).sample(1)


def test_all_that_it_would_take_must_fit() -> None:
    with pytest.raises(UserError, match=r"replay by-age: .* at least 3"):
        ByAge(2, CONTEXT)
    with pytest.raises(UserError, match=r"replay by-age with 20 slots of float32 \[1\] would take .* TB"):
        ByAge(20, CONTEXT, extra_bytes=2**50)


def test_its_state_goes_on_with_the_same_bits_and_the_small_state_alone_draws_alike() -> None:
    replay, whole, small = (ByAge(20, dataclasses.replace(CONTEXT, seeds=SeedTree(seed))) for seed in (0, 1, 2))
    fill(replay, 30)
    fill(small, 30)
    replay.sample(3)
    whole.load_state_dict(replay.state_dict())
    small.load_small_state_dict(replay.small_state_dict())
    assert batch(replay) == batch(whole) == batch(small)
