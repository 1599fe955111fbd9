"""`Threshold`: the wrapper `acme`."""

from __future__ import annotations

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray


class Threshold(gymnasium.ObservationWrapper, gymnasium.utils.RecordConstructorArgs):
    """Black and white: 255 where a picture is at least `level` bright, else 0. uint8, any shape.

    Args:
        env: observes pictures as bytes.
        level: from 0 to 255.

    Raises:
        ValueError: observations are no bytes, or the level is out of range.
    """

    def __init__(self, env: gymnasium.Env, level: int = 128) -> None:
        gymnasium.utils.RecordConstructorArgs.__init__(self, level=level)
        super().__init__(env)
        space = env.observation_space
        if not isinstance(space, spaces.Box) or space.dtype != np.uint8:
            raise ValueError(f"Threshold needs pictures of bytes (uint8), but observations are {space}.")
        if not 0 <= level <= 255:
            raise ValueError(f"Threshold: expected a level from 0 to 255, got {level}.")
        self.level = level
        self.observation_space = spaces.Box(0, 255, space.shape, np.uint8)

    def observation(self, observation: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.where(observation >= self.level, 255, 0).astype(np.uint8)
