"""`Catch`: the environment `acme/Catch-v0`, drawn with NumPy."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

Numbers = NDArray[np.float32]
Info = dict[str, Any]


class Catch(gymnasium.Env[Numbers, np.int64]):
    """A ball falls through a field of 10 rows and 8 columns, and a paddle in the lowest row is to catch it.

    Observations: float32 [3], the ball's row and column and the paddle's column, as shares of the field.
    Actions: 0 left, 1 stay, 2 right. Reward: 1 for a catch, -1 for a miss. An episode is one ball.

    Args:
        render_mode: None, or "rgb_array" for frames uint8 [80, 64, 3].

    Raises:
        ValueError: there is no such `render_mode`.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    rows, columns, cell = 10, 8, 8

    def __init__(self, render_mode: str | None = None) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"Catch: expected render_mode None or 'rgb_array', got {render_mode!r}.")
        self.render_mode = render_mode
        self.observation_space = spaces.Box(0, 1, (3,), np.float32)
        self.action_space = spaces.Discrete(3)
        self.row = self.ball = self.paddle = 0

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Numbers, Info]:
        super().reset(seed=seed)
        self.row = 0
        self.ball, self.paddle = (int(column) for column in self.np_random.integers(self.columns, size=2))
        return self._observation(), {}

    def step(self, action: np.int64) -> tuple[Numbers, float, bool, bool, Info]:
        self.paddle = min(max(self.paddle + int(action) - 1, 0), self.columns - 1)
        self.row += 1
        landed = self.row == self.rows - 1
        reward = (1.0 if self.ball == self.paddle else -1.0) if landed else 0.0
        return self._observation(), reward, landed, False, {}

    def render(self) -> NDArray[np.uint8] | None:
        if self.render_mode is None:
            return None
        field = np.full((self.rows, self.columns, 3), 255, np.uint8)
        field[-1, self.paddle] = (40, 90, 160)
        field[self.row, self.ball] = (200, 60, 40)
        return field.repeat(self.cell, axis=0).repeat(self.cell, axis=1)

    def _observation(self) -> Numbers:
        last = np.array([self.rows, self.columns, self.columns], np.float32) - 1
        return np.array([self.row, self.ball, self.paddle], np.float32) / last
