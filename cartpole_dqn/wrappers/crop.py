"""Cutting pictures.

* `Crop`: always the same rows and columns.
* `CenteredCrop`: a window of fixed size that follows what a locator finds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np

from cartpole_dqn.wrappers.checks import came, is_fraction_like, is_whole, length, one_of, plain, span
from cartpole_dqn.wrappers.image import Image, ImageWrapper, wrappers_of
from cartpole_dqn.wrappers.locators import find_locator

Range = Sequence[int] | Sequence[float] | None
EDGES = ("clamp", "pad")


class Crop(ImageWrapper):
    """A fixed part of the picture: [H, W, C] -> [h, w, C], likewise without C and for stacks; the dtype stays.

    Args:
        env: its observations are pictures.
        rows: [first, last) to keep: two ints in pixels, or two floats in 0..1 as shares of H. None keeps all.
        columns: the same for columns.

    Raises:
        TypeError: rows or columns are not two numbers of one kind.
        ValueError: they reach beyond the picture or leave nothing; or neither is given.

    >>> from cartpole_dqn.wrappers.render import RenderObservation
    >>> env = RenderObservation(gymnasium.make("CartPole-v1", render_mode="rgb_array"))
    >>> Crop(env, rows=[0.4, 0.8], columns=[100, 500]).observation_space
    Box(0, 255, (160, 400, 3), uint8)
    """

    def __init__(self, env: gymnasium.Env[Any, Any], rows: Range = None, columns: Range = None) -> None:
        super().__init__(env, rows=plain(rows), columns=plain(columns))
        if rows is None and columns is None:
            raise ValueError("Crop: expected rows, columns or both, got neither.")
        kept_rows = span(self.who, "rows", rows, self.layout.height)
        kept_columns = span(self.who, "columns", columns, self.layout.width)
        self._part = self.layout.window(kept_rows, kept_columns)
        out = self.layout.resized(kept_rows.stop - kept_rows.start, kept_columns.stop - kept_columns.start)
        self.narrows = out.width < self.layout.width
        self._give(out, self.source.low[self._part], self.source.high[self._part], self.source.dtype)

    def observation(self, observation: Image) -> Image:
        """Return the part of `observation`, as a copy."""
        return observation[self._part].copy()


class CenteredCrop(ImageWrapper):
    """A window that follows what `locator` finds: [H, W, C] -> [height, width, C], likewise without C and for stacks.

    One window, placed by the present state, is laid over all channels and all pictures of a stack: after a
    `FrameDifference` that keeps the picture, both stay in register and motion of the centre remains visible. The dtype
    stays. A locator tells a fraction f of the picture's width; the window's columns begin at int(f W) - width // 2.

    Args:
        env: its observations are pictures.
        width: columns of the window: an int in pixels, or a float in (0, 1] as a share of what `columns` leaves.
        locator: where the centre is.
            "cart": the cart of CartPole, from `state[0]` and `x_threshold` of the unwrapped environment, in the picture
            of the whole track; "centre": the middle; "brightest", "darkest": the blob of such pixels;
            {"color": [r, g, b], "tolerance": t}: the blob of pixels that differ from the colour by at most t in each
            channel (0 by default); "module:attr": a callable (env, picture) -> fraction of the picture's width, or None
            for the middle. Blobs and callables see the part that `rows` and `columns` leave, the newest of a stack, and
            of channels those that show the present, if any do: [H, W] or [H, W, C].
        height: rows of the window, in the middle of what `rows` leaves: an int or a float likewise. None: all of it.
        rows: [first, last) cut out beforehand: two ints in pixels or two floats in 0..1.
        columns: the same for columns.
        edges: "clamp": the window stops at the picture's edge; "pad": it goes on, and what lies beyond has the value of
            the picture's top left pixel, per channel: the background, in most drawings.

    Raises:
        TypeError: an argument of the wrong kind.
        ValueError: a window larger than the picture (with "pad": only in height), an unknown locator, a blob where only
            differences are seen, "cart" without a cart or on a picture whose columns were cut already.

    >>> from cartpole_dqn.wrappers.render import RenderObservation
    >>> env = RenderObservation(gymnasium.make("CartPole-v1", render_mode="rgb_array"), rows=[160, 320])
    >>> CenteredCrop(env, width=320, locator="cart").observation_space
    Box(0, 255, (160, 320, 3), uint8)
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        width: int | float,
        locator: str | Mapping[str, Any] = "centre",
        height: int | float | None = None,
        rows: Range = None,
        columns: Range = None,
        edges: str = "clamp",
    ) -> None:
        super().__init__(
            env,
            width=plain(width),
            locator=plain(locator),
            height=plain(height),
            rows=plain(rows),
            columns=plain(columns),
            edges=edges,
        )
        self._pads = one_of(self.who, "edges", edges, EDGES) == "pad"
        self._strip = span(self.who, "rows", rows, self.layout.height)
        self._columns = span(self.who, "columns", columns, self.layout.width)
        self._rows = self._window_rows(height)
        self._width = self._window_width(width)
        visible = sum(self.shows_now) or len(self.shows_now)
        self._locator = find_locator(self.who, locator, env, visible)
        self._check_order()
        self.narrows = self._width != self.layout.width
        out = self.layout.resized(self._rows.stop - self._rows.start, self._width)
        self._give(out, *self.layout.bounds(self.source), self.source.dtype)

    def observation(self, observation: Image) -> Image:
        """Return the window of `observation`, as a copy."""
        start = self._centre(observation) - self._width // 2
        if self._pads:
            return self._padded(observation, start)
        start = min(max(start, self._columns.start), self._columns.stop - self._width)
        return observation[self.layout.window(self._rows, slice(start, start + self._width))].copy()

    def _padded(self, observation: Image, start: int) -> Image:
        first, last = self._columns.start, self._columns.stop
        window = self.layout.window
        padded = np.empty(self.out.shape, observation.dtype)
        padded[...] = observation[window(slice(self._strip.start, self._strip.start + 1), slice(first, first + 1))]
        begin, end = max(start, first), min(start + self._width, last)
        if begin < end:
            covered = window(slice(None), slice(begin - start, end - start))
            padded[covered] = observation[window(self._rows, slice(begin, end))]
        return padded

    def _centre(self, observation: Image) -> int:
        """Return the column of `observation` at which the window's centre is."""
        first: int = self._columns.start
        last: int = self._columns.stop
        looks = self._locator.looks
        found = self._locator.find(self.env, self._picture(observation) if looks else observation)
        if found is None:
            return (first + last) // 2
        fraction = min(max(self._checked(found), 0.0), 1.0)
        if looks:
            return first + int(fraction * (last - first))
        return int(fraction * self.layout.width)

    def _checked(self, fraction: Any) -> float:
        who = f"CenteredCrop: the locator {self._locator.name}"
        if not (is_fraction_like(fraction) or is_whole(fraction)):
            raise TypeError(f"{who} must return a fraction of the picture's width or None, got {came(fraction)}.")
        if not math.isfinite(fraction):
            raise ValueError(f"{who} must return a finite fraction of the picture's width, got {fraction}.")
        return float(fraction)

    def _picture(self, observation: Image) -> Image:
        """Return what a locator looks at: the newest picture, the part that is left, the channels that show the now."""
        seen = observation[self.layout.window(self._strip, self._columns)]
        if self.layout.stacked:
            seen = seen[-1]
        if self.layout.channelled and any(self.shows_now) and not all(self.shows_now):
            seen = seen[..., list(self.shows_now)]
        return seen

    def _window_rows(self, height: int | float | None) -> slice:
        if height is None:
            return self._strip
        available = self._strip.stop - self._strip.start
        wanted = length(self.who, "height", height, available)
        if wanted > available:
            raise ValueError(f"CenteredCrop: height must be at most the picture's {available} rows, got {wanted}.")
        start = self._strip.start + (available - wanted) // 2
        return slice(start, start + wanted)

    def _window_width(self, width: int | float) -> int:
        available = self._columns.stop - self._columns.start
        wanted = length(self.who, "width", width, available)
        if wanted > available and not self._pads:
            raise ValueError(
                f"CenteredCrop: width must be at most the picture's {available} columns, got {wanted}. "
                f"Use edges='pad' for a wider window."
            )
        return wanted

    def _check_order(self) -> None:
        if self._locator.needs_present and not any(self.shows_now):
            raise ValueError(
                f"CenteredCrop: the locator {self._locator.name} looks at the picture, but only differences reach it. "
                f"Put CenteredCrop before FrameDifference, or give FrameDifference keep_current=True."
            )
        if self._locator.name != "cart":
            return
        for wrapper in wrappers_of(self.env):
            if getattr(wrapper, "narrows", False):
                raise ValueError(
                    f"CenteredCrop: the locator 'cart' needs the picture of the whole track, but "
                    f"{type(wrapper).__name__} before it cut columns away. Put CenteredCrop before it, or give "
                    f"CenteredCrop the columns."
                )
