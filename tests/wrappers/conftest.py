"""Environments to wrap: one that shows random pictures of any space, and CartPole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces


class Pictures(gymnasium.Env[Any, Any]):
    """Shows pictures drawn from its space's whole range, and sometimes its bounds; an episode has 8 steps."""

    action_space = spaces.Discrete(2)

    def __init__(self, space: spaces.Box) -> None:
        self.observation_space = space
        self.steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return self._picture(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        return self._picture(), 0.0, self.steps >= 8, False, {}

    def _picture(self) -> Any:
        space: Any = self.observation_space
        low, high = np.clip(space.low.astype(np.float64), -1e6, 1e6), np.clip(space.high.astype(np.float64), -1e6, 1e6)
        values = low + (high - low) * self.np_random.random(space.shape)
        # Whole areas of extremes make interpolation overshoot and differences reach their bounds.
        extreme = self.np_random.random(space.shape) < 0.5
        values = np.where(extreme, np.where(self.np_random.random(space.shape) < 0.5, low, high), values)
        return np.clip(values, low, high).astype(space.dtype)


def pictures_of(shape: tuple[int, ...], dtype: Any = np.uint8, low: Any = None, high: Any = None) -> Pictures:
    """Return an environment of pictures, by default in the dtype's whole range (floats: -1 to 2)."""
    if low is None:
        low, high = (-1.0, 2.0) if np.issubdtype(dtype, np.floating) else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return Pictures(spaces.Box(low, high, shape, dtype))


@pytest.fixture(scope="session")
def pictures() -> Callable[..., Pictures]:
    return pictures_of


@pytest.fixture(scope="session")
def play() -> Callable[..., list[Any]]:
    def played(env: gymnasium.Env[Any, Any], steps: int = 10, seed: int = 0) -> list[Any]:
        """Return all observations of some random steps, episode after episode, each checked against the space."""
        env.action_space.seed(seed)
        observations = [env.reset(seed=seed)[0]]
        for _ in range(steps):
            observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
            observations.append(observation)
            if terminated or truncated:
                observations.append(env.reset()[0])
        assert all(observation in env.observation_space for observation in observations)
        return observations

    return played


@pytest.fixture
def cartpole() -> Iterator[gymnasium.Env[Any, Any]]:
    env = gymnasium.make("CartPole-v1", render_mode="rgb_array")
    yield env
    env.close()
