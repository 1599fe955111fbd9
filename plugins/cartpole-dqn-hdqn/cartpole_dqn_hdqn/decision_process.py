"""`DiscreteStochasticDecisionProcess`: states in a row, and a reward for a detour that is over when it is paid.

From Kulkarni, Narasimhan, Saeedi and Tenenbaum, "Hierarchical Deep Reinforcement Learning" (2016, arXiv 1604.06057),
section 4.1.
"""

from __future__ import annotations

from typing import Any, SupportsInt

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Observation = NDArray[np.float32]

LEFT, RIGHT = 0, 1
REWARD, SMALL_REWARD = 1.0, 0.01

_CELL, _HEIGHT, _MARGIN = 72, 112, 12  # pixels
_FINE = 3  # drawn so many times larger, then reduced: smooth edges
_PAPER, _INK, _FAINT = "#ffffff", "#24292f", "#c4cad1"
_HERE, _GOLD, _GREY = "#1f5fa8", "#e0a100", "#eef1f4"


class DiscreteStochasticDecisionProcess(gymnasium.Env[Observation, SupportsInt]):
    """States s1 to sn in a row; an episode starts at s2 and ends at s1, with the only reward.

    Action 0 moves left. Action 1 moves right with probability `success` and left otherwise; to the right of the last
    state there is nothing, so it moves left there too. The reward at s1 is 1 if the episode was at the last state, and
    else 0.01.

    Observations are float32 [length], 1 at the state and 0 elsewhere: whether the last state was visited is not in
    them, though the reward depends on it. `info` tells it as "visited_last", and pictures show it.

    Args:
        length: n, 3 or more.
        success: in [0, 1].
        render_mode: "ansi" or "rgb_array".

    Raises:
        ValueError: an argument out of range.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi", "rgb_array"], "render_fps": 4}  # noqa: RUF012

    def __init__(self, length: int = 6, success: float = 0.5, render_mode: str | None = None) -> None:
        name = type(self).__name__
        if isinstance(length, bool) or not isinstance(length, int) or length < 3:
            raise ValueError(f"{name} expected a length of 3 states or more, got {length!r}.")
        if isinstance(success, bool) or not isinstance(success, int | float) or not 0 <= success <= 1:
            raise ValueError(f"{name} expected a probability of success from 0 to 1, got {success!r}.")
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise ValueError(f"{name} renders as ansi or rgb_array, not as {render_mode!r}.")
        self.length = length
        self.success = float(success)
        self.render_mode = render_mode
        self.observation_space = spaces.Box(0.0, 1.0, (length,), np.float32)
        self.action_space = spaces.Discrete(2)
        self._rows = np.eye(length, dtype=np.float32)
        self._state: int | None = None  # from 0; None before the first reset
        self._visited_last = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start at s2."""
        super().reset(seed=seed)
        self._state, self._visited_last = 1, False
        return self._tell()

    def step(self, action: SupportsInt) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Move one state to the left or to the right.

        Raises:
            ValueError: the action is none of the two.
            RuntimeError: the episode is over, or none was begun.
        """
        number = int(action)
        if number not in (LEFT, RIGHT):
            raise ValueError(f"{type(self).__name__} expected the action 0 (left) or 1 (right), got {action!r}.")
        if self._state is None or self._state == 0:
            raise RuntimeError(f"{type(self).__name__}: no episode is under way; call reset().")
        # A number is drawn in every step, so that the walks of two policies can be compared draw by draw.
        succeeds = self.np_random.random() < self.success
        moves_right = number == RIGHT and succeeds and self._state < self.length - 1
        self._state += 1 if moves_right else -1
        self._visited_last = self._visited_last or self._state == self.length - 1
        terminated = self._state == 0
        reward = (REWARD if self._visited_last else SMALL_REWARD) if terminated else 0.0
        obs, info = self._tell()
        return obs, reward, terminated, False, info

    def render(self) -> str | NDArray[np.uint8] | None:
        """Return the row of states as text, or as a picture uint8 [H, W, 3]; None without a render mode."""
        state = 1 if self._state is None else self._state
        if self.render_mode == "rgb_array":
            return draw(self.length, state, self._visited_last)
        if self.render_mode == "ansi":
            words = [f"[s{i + 1}]" if i == state else f" s{i + 1} " for i in range(self.length)]
            return f"{' '.join(words)}   s{self.length} {'visited' if self._visited_last else 'not visited'}\n"
        return None

    def _tell(self) -> tuple[Observation, dict[str, Any]]:
        assert self._state is not None
        return self._rows[self._state].copy(), {"visited_last": self._visited_last}


def draw(length: int, state: int, visited_last: bool) -> NDArray[np.uint8]:
    """Return the row of states, uint8 [H, W, 3].

    The agent's state is blue. The last state's ring is golden, and so is its inside once it was visited; the first
    state, where episodes end, is square.

    Args:
        length: states in the row.
        state: the agent's, from 0.
        visited_last: whether the episode was at the last one.
    """
    size = (length * _CELL + 2 * _MARGIN, _HEIGHT)
    image = Image.new("RGB", (size[0] * _FINE, size[1] * _FINE), _PAPER)
    pen = ImageDraw.Draw(image)
    font, small = (ImageFont.load_default(size=points * _FINE) for points in (20, 13))
    middle, radius = size[1] / 2, 0.36 * _CELL
    centres = [_MARGIN + (i + 0.5) * _CELL for i in range(length)]
    pen.line(_scaled(centres[0], middle, centres[-1], middle), fill=_FAINT, width=3 * _FINE)
    for i, x in enumerate(centres):
        last = i == length - 1
        inside = _HERE if i == state else _GOLD if last and visited_last else _GREY
        shape = pen.rectangle if i == 0 else pen.ellipse
        box = _scaled(x - radius, middle - radius, x + radius, middle + radius)
        shape(box, fill=inside, outline=_GOLD if last else _INK, width=(5 if last else 2) * _FINE)
        ink = _PAPER if i == state else _INK
        pen.text((x * _FINE, middle * _FINE), f"s{i + 1}", fill=ink, font=font, anchor="mm")
    if visited_last:
        words = f"s{length} was visited: s1 pays 1"
        pen.text((_MARGIN * _FINE, (size[1] - 12) * _FINE), words, fill=_INK, font=small, anchor="lm")
    return np.asarray(image.resize(size, Image.Resampling.LANCZOS), dtype=np.uint8)


def _scaled(*numbers: float) -> tuple[float, ...]:
    return tuple(number * _FINE for number in numbers)
