"""`FrameDifference`: what changed in the picture over the last steps."""

from __future__ import annotations

from collections import deque
from typing import Any

import gymnasium
import numpy as np

from cartpole_dqn.wrappers.checks import one_of, plain, whole_number, yes_or_no
from cartpole_dqn.wrappers.image import Image, ImageWrapper, Layout

ENCODINGS = ("int16", "uint8")


class FrameDifference(ImageWrapper):
    """The picture less the one `gap` steps before it, so that one observation shows motion.

    At an episode's start the first picture stands for those that are missing: the first difference is zero.

    =====================  ============  ======================================================
    pictures before        encoding      what comes out
    =====================  ============  ======================================================
    integers               "int16"       int16, exact: now - before
    uint8                  "uint8"       uint8: 128 + (now - before) / 2, halves rounded down;
                                         zero is 128, and 2 * (value - 128) is at most 1 below
                                         the difference, never above it
    floats                 "int16"       the same float dtype (there is nothing to encode)
    =====================  ============  ======================================================

    Shapes stay, except with `keep_current`: then the channels double, the picture's own before the differences, all in
    the dtype above: [H, W, C] -> [H, W, 2 C], [H, W] -> [H, W, 2], and likewise for stacks.

    Args:
        env: its observations are pictures.
        gap: steps between the two pictures, 1 or more. Pixels are coarse: little moves over one step, more over three.
        keep_current: whether the picture itself stays, before the difference.
        encoding: "int16" or "uint8".

    Raises:
        TypeError: a number or truth value is none; the encoding "uint8" for pictures that are not uint8.
        ValueError: a gap below 1, another encoding, integers whose differences int16 cannot hold.

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
        super().__init__(env, gap=plain(gap), keep_current=plain(keep_current), encoding=encoding)
        self._gap = whole_number(self.who, "gap", gap, least=1)
        self._keep_current = yes_or_no(self.who, "keep_current", keep_current)
        self._eight_bits = one_of(self.who, "encoding", encoding, ENCODINGS) == "uint8"
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
        """Begin an episode; the pictures before it are forgotten."""
        self._history.clear()
        return super().reset(seed=seed, options=options)

    def observation(self, observation: Image) -> Image:
        """Return the difference with the picture `gap` steps before, or with the episode's first."""
        # A copy: the environment may write its next picture into the same array.
        self._history.append(np.array(observation))
        difference = self._encoded(observation, self._history[0])
        return self._beside(observation, difference) if self._keep_current else difference

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
                f"Use encoding='int16'{', which leaves floats as they are' if self._floating else ''}."
            )
        if self._floating:
            with np.errstate(over="ignore"):  # A range too wide for the dtype is unbounded.
                return low - high, high - low
        least, greatest = int(low.min()), int(high.max())
        if max(greatest - least, greatest, -least) > np.iinfo(np.int16).max:
            raise ValueError(
                f"FrameDifference: expected values whose differences fit in int16, but the pictures are {dtype} from "
                f"{least} to {greatest}. Make floats of them first, with gymnasium.wrappers.DtypeObservation."
            )
        wide_low, wide_high = low.astype(np.int16), high.astype(np.int16)
        return self._encoded(wide_low, wide_high), self._encoded(wide_high, wide_low)
