"""`Lives`: a game with three lives, registered as "lives:Lives-v0"."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class Lives(gymnasium.Env[Any, Any]):
    """Each second step costs a life, and each step gives 5 points."""

    observation_space = spaces.Box(0, 100, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.count = 0
        return self._seen(), {"lives": 3}

    def step(self, action: Any) -> Any:
        self.count += 1
        lives = 3 - self.count // 2
        return self._seen(), 5.0, lives == 0, False, {"lives": lives}

    def _seen(self) -> Any:
        return np.array([self.count], np.float32)


gymnasium.register("Lives-v0", "lives:Lives")
