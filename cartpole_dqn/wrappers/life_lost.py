"""`LifeLost`: learning treats the loss of a life as the end of an episode."""

from __future__ import annotations

from typing import Any

import gymnasium
from gymnasium.utils import RecordConstructorArgs

from cartpole_dqn.wrappers.moments import Moments

LIFE_LOST = "life_lost"
"""The key in `info`."""


class LifeLost(gymnasium.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Sets `info["life_lost"]` to True at a step that loses one of several lives (Mnih et al. 2015).

    The episode continues, but the agent learns from the step as if it had terminated. In a configuration, set
    `training_only = true` for this wrapper: evaluations do not need it.

    Args:
        env: counts lives in `info["lives"]`, as Atari games do. Games without lives have 0 there.

    Raises:
        ValueError: at a reset, if there is no `info["lives"]`.

    >>> env = gymnasium.make("CartPole-v1")
    >>> LifeLost(env).observation_space == env.observation_space
    True
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        RecordConstructorArgs.__init__(self)
        gymnasium.Wrapper.__init__(self, env)
        self._lives = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode, and count its lives."""
        obs, info = self.env.reset(seed=seed, options=options)
        if "lives" not in info:
            raise ValueError(f'LifeLost: expected info["lives"] from {self.env}, as Atari games have it. Leave it out.')
        self._lives = int(info["lives"])
        return obs, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take a step, and compare the lives with those before it."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        lives, before = int(info["lives"]), self._lives
        self._lives = lives
        if 0 < lives < before:
            info = {**info, LIFE_LOST: True}
        return obs, reward, terminated, truncated, info

    def as_torch(self, moments: Moments) -> Any:
        return moments.observation()
