"""What several test modules use: networks built as a run builds them, observations, and batches."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from cartpole_dqn import Batch, Context, Network, SeedTree

Make = Callable[..., Any]


@pytest.fixture(scope="session")
def make() -> Make:
    """`make(cls, space, actions=2, seed=0, **options)` -> the network, its weights drawn from `seed`."""

    def build(cls: type[Network], space: spaces.Box, actions: int = 2, seed: int = 0, **table: Any) -> Any:
        options: Any = cls.Options
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            made: Any = cls
            return made(options(**table), Context(observation_space=space, action_space=spaces.Discrete(actions)))

    return build


@pytest.fixture(scope="session")
def observations() -> Make:
    """`observations(space, count, seed=0)` -> [count, ...]."""

    def draw(space: spaces.Box, count: int, seed: int = 0) -> torch.Tensor:
        drawn = copy.deepcopy(space)
        drawn.seed(seed)
        return torch.from_numpy(np.stack([drawn.sample() for _ in range(count)]))

    return draw


@pytest.fixture(scope="session")
def make_batch(observations: Make) -> Make:
    """`make_batch(space, count, actions=2, seed=0)` -> a batch as of 3-step returns, some of them ended."""

    def draw(space: spaces.Box, count: int, actions: int = 2, seed: int = 0) -> Batch:
        random = SeedTree(seed).numpy("batch")
        discounts = random.choice([0.0, 0.99**3], count).astype(np.float32)
        return Batch(
            obs=observations(space, count, seed),
            actions=torch.from_numpy(random.integers(actions, size=count)),
            rewards=torch.from_numpy(random.normal(1, 2, count).astype(np.float32)),
            next_obs=observations(space, count, seed + 1),
            discounts=torch.from_numpy(discounts),
            weights=torch.ones(count),
            indices=torch.arange(count),
        )

    return draw
