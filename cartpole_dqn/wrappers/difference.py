"""`FrameDifference`: the change of the picture over the last steps."""

from __future__ import annotations

from collections import deque
from typing import Any

import gymnasium
import numpy as np

from cartpole_dqn.wrappers.checks import one_of, whole_number, yes_or_no
from cartpole_dqn.wrappers.image import Image, ImageWrapper, Layout
from cartpole_dqn.wrappers.moments import Moments


class FrameDifference(ImageWrapper):
    """Observes the picture minus the one `gap` steps before it, so that one observation shows motion.

    In the first `gap` steps of an episode, the earlier picture is the episode's first, so the first difference is zero.

    ==========  ==========  =================================================================
    pictures    encoding    output
    ==========  ==========  =================================================================
    integers    "int16"     int16, exact: now - before
    uint8       "uint8"     uint8: 128 + (now - before) / 2, rounded down. Zero becomes 128;
                            2 * (value - 128) is the difference or 1 below it.
    floats      "int16"     the same float dtype, now - before
    ==========  ==========  =================================================================

    The shape stays, except with `keep_current`. Then the picture's channels come first and the differences after them,
    all in the dtype above: [H, W, C] -> [H, W, 2 C], [H, W] -> [H, W, 2], also for stacks.

    Args:
        env: its observations are pictures.
        gap: steps between the two pictures, 1 or more. Pixels are coarse, so a larger gap shows more motion.
        keep_current: whether the observation also has the picture itself.
        encoding: "int16" or "uint8".

    Raises:
        TypeError: an argument has the wrong type, or the encoding is "uint8" and the pictures are not.
        ValueError: the gap is below 1, the encoding is unknown, or int16 cannot hold the differences.

    >>> from cartpole_dqn.wrappers.render import RenderObservation
    >>> env = RenderObservation(gymnasium.make("CartPole-v1", render_mode="rgb_array"))
    >>> FrameDifference(env, gap=3).observation_space
    Box(-255, 255, (400, 600, 3), int16)
    >>> FrameDifference(env, gap=3, keep_current=True, encoding="uint8").observation_space
    Box(0, 255, (400, 600, 6), uint8)
    """

    def __init__(
        self, env: gymnasium.Env[Any, Any], gap: int = 1, keep_current: bool = False, encoding: str = "int16"
    ) -> None:
        super().__init__(env, gap=gap, keep_current=keep_current, encoding=encoding)
        self._gap = whole_number(self.who, "gap", gap, least=1)
        self._keep_current = yes_or_no(self.who, "keep_current", keep_current)
        self._eight_bits = one_of(self.who, "encoding", encoding, ["int16", "uint8"]) == "uint8"
        self._floating = np.issubdtype(self.source.dtype, np.floating)
        self._history: deque[Image] = deque(maxlen=self._gap + 1)
        low, high = self._bounds()
        shape = self.layout.shape
        now = (False,) * self.layout.channels
        if self._keep_current:
            low, high = self._beside(self.source.low, low), self._beside(self.source.high, high)
            shape = low.shape
            now = self.shows_now + now
        out = Layout(shape, self.layout.stacked, channelled=self.layout.channelled or self._keep_current)
        self._give(out, low, high, low.dtype)
        self.shows_now = now

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Image, dict[str, Any]]:
        """Start an episode, without the pictures before it."""
        self._history.clear()
        return super().reset(seed=seed, options=options)

    def observation(self, observation: Image) -> Image:
        """Return the difference from the picture `gap` steps before, or from the episode's first."""
        # A copy: the environment may reuse the array.
        self._history.append(np.array(observation))
        difference = self._encoded(observation, self._history[0])
        return self._beside(observation, difference) if self._keep_current else difference

    def as_torch(self, moments: Moments) -> Any:
        import torch

        now, before = moments.observation(), moments.observation(self._gap)
        if self._floating:
            difference = now - before
        elif self._eight_bits:
            difference = (((now.float() - before.float()) / 2).floor() + 128).to(torch.uint8)
        else:
            difference = (now.int() - before.int()).to(torch.int16)
        if not self._keep_current:
            return difference
        channels = (now.to(difference.dtype), difference)
        return torch.cat(channels, -1) if self.layout.channelled else torch.stack(channels, -1)

    def _encoded(self, now: Image, before: Image) -> Image:
        if self._floating:
            return np.subtract(now, before)
        difference = np.subtract(now, before, dtype=np.int16, casting="unsafe")
        if not self._eight_bits:
            return difference
        difference >>= 1
        difference += 128
        return difference.astype(np.uint8)

    def _beside(self, picture: Image, difference: Image) -> Image:
        picture = picture.astype(difference.dtype, copy=False)
        if self.layout.channelled:
            return np.concatenate((picture, difference), axis=-1)
        return np.stack((picture, difference), axis=-1)

    def _bounds(self) -> tuple[Image, Image]:
        low, high, dtype = self.source.low, self.source.high, self.source.dtype
        if self._eight_bits and dtype != np.uint8:
            raise TypeError(
                f"FrameDifference: the encoding 'uint8' is for pictures of uint8, but they are {dtype}. "
                f"Use encoding='int16'{', which keeps floats' if self._floating else ''}."
            )
        if self._floating:
            with np.errstate(over="ignore"):  # A range too wide for the dtype becomes infinite.
                return low - high, high - low
        least, greatest = int(low.min()), int(high.max())
        if max(greatest - least, greatest, -least) > np.iinfo(np.int16).max:
            raise ValueError(
                f"FrameDifference: expected values whose differences fit in int16, but the pictures are {dtype} from "
                f"{least} to {greatest}. Convert them to floats first, with gymnasium.wrappers.DtypeObservation."
            )
        wide_low, wide_high = low.astype(np.int16), high.astype(np.int16)
        return self._encoded(wide_low, wide_high), self._encoded(wide_high, wide_low)
