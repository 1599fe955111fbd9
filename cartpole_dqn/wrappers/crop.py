"""Cutting pictures.

* `Crop`: always the same rows and columns.
* `CenteredCrop`: a window of fixed size that follows what a locator finds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np

from cartpole_dqn.wrappers.checks import came, is_fraction_like, is_whole, length, one_of, plain, span
from cartpole_dqn.wrappers.image import Image, ImageWrapper, wrappers_of
from cartpole_dqn.wrappers.locators import FOLLOW, find_locator

Bounds = Sequence[int] | Sequence[float] | None
EDGES = ("clamp", "pad")
SNAPS = ("down", "nearest")


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

    def __init__(self, env: gymnasium.Env[Any, Any], rows: Bounds = None, columns: Bounds = None) -> None:
        super().__init__(env, rows=plain(rows), columns=plain(columns))
        if rows is None and columns is None:
            raise ValueError("Crop: expected rows, columns or both, got neither.")
        kept_rows = span(self.who, "rows", rows, self.layout.height)
        kept_columns = span(self.who, "columns", columns, self.layout.width)
        self._part = self.layout.window(kept_rows, kept_columns)
        out = self.layout.resized(kept_rows.stop - kept_rows.start, kept_columns.stop - kept_columns.start)
        self.narrows = out.width < self.layout.width
        self.window = (kept_rows, kept_columns)
        self._give(out, self.source.low[self._part], self.source.high[self._part], self.source.dtype)

    def observation(self, observation: Image) -> Image:
        """Return the part of `observation`, as a copy."""
        return observation[self._part].copy()


class CenteredCrop(ImageWrapper):
    """A window that follows what `locator` finds: [H, W, C] -> [height, width, C], likewise without C and for stacks.

    One window, placed by the present state, is laid over all channels and all pictures of a stack: after a
    `FrameDifference` that keeps the picture, both stay in register and motion of the centre remains visible. The dtype
    stays. A locator tells a fraction f of the picture's width; the window's columns begin at int(f W) - width // 2,
    and its rows likewise where they follow. Along an axis that does not follow, the window is in the middle.

    Args:
        env: its observations are pictures.
        width: columns of the window: an int in pixels, or a float in (0, 1] as a share of what `columns` leaves.
        locator: where the centre is.
            "cart": the cart of CartPole, from `state[0]` and `x_threshold` of the unwrapped environment, in the picture
            of the whole track; "centre": the middle; "brightest", "darkest": the blob of such pixels;
            {"color": [r, g, b], "tolerance": t}: the blob of pixels that differ from the colour by at most t in each
            channel (0 by default); "module:attr": a callable (env, picture) -> fraction of the picture's width (of its
            height to follow "rows", a pair of both to follow "both"). Blobs and callables see the part that `rows` and
            `columns` leave, the newest of a stack, and of channels those that show the present, if any do: [H, W] or
            [H, W, C]. Where no blob is, or a callable returns None, the window is in the middle, whatever came before:
            the same picture always gives the same window.
        height: rows of the window: an int or a float likewise. None: all that `rows` leaves.
        rows: [first, last) cut out beforehand: two ints in pixels or two floats in 0..1.
        columns: the same for columns.
        edges: "clamp": the window stops at the picture's edge; "pad": it goes on, and what lies beyond has the value of
            the picture's top left pixel, per channel: the background, in most drawings.
        follow: what moves with the centre: "columns" (the window goes left and right), "rows" (up and down), "both".
        snap: how the window comes to lie on whole pixels: "down" puts the pixel that holds the centre at index
            `width // 2` of it; "nearest" brings its middle as near to the centre as it can, so that the window of a
            picture's mirror image is the mirror image of its window.

    Raises:
        TypeError: an argument of the wrong kind.
        ValueError: a window larger than the picture (with "pad": only along an axis that does not follow), rows that
            follow without a height, an unknown locator, a blob where only differences are seen, "cart" without a cart,
            on a picture whose columns were cut already, or for rows.

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
        rows: Bounds = None,
        columns: Bounds = None,
        edges: str = "clamp",
        follow: str = "columns",
        snap: str = "down",
    ) -> None:
        super().__init__(
            env,
            width=plain(width),
            locator=plain(locator),
            height=plain(height),
            rows=plain(rows),
            columns=plain(columns),
            edges=edges,
            follow=follow,
            snap=snap,
        )
        pads = one_of(self.who, "edges", edges, EDGES) == "pad"
        self._follow = one_of(self.who, "follow", follow, FOLLOW)
        # Half a pixel more, before it is rounded down, makes an even window's edge the nearest to its true place.
        self._shift = 0.5 if one_of(self.who, "snap", snap, SNAPS) == "nearest" else 0.0
        across, down = self._follow != "rows", self._follow != "columns"
        if down and height is None:
            raise ValueError(f"CenteredCrop: to follow {follow!r} it needs a height: how many rows the window has.")
        left = span(self.who, "rows", rows, self.layout.height), span(self.who, "columns", columns, self.layout.width)
        self._rows = _Side.of("height", 1.0 if height is None else height, left[0], down, down and pads)
        self._columns = _Side.of("width", width, left[1], across, across and pads)
        visible = sum(self.shows_now) or len(self.shows_now)
        self._locator = find_locator(self.who, locator, env, visible, self._follow)
        self._check_order()
        self.narrows = self._columns.length != self.layout.width or self._columns.pads
        out = self.layout.resized(self._rows.length, self._columns.length)
        self._give(out, *self.layout.bounds(self.source), self.source.dtype)

    def observation(self, observation: Image) -> Image:
        """Return the window of `observation`, as a copy."""
        x, y = self._centre(observation)
        self.window = rows, columns = self._rows.window(y), self._columns.window(x)
        seen_rows, seen_columns = self._rows.inside(rows), self._columns.inside(columns)
        if (seen_rows, seen_columns) == (rows, columns):
            return observation[self.layout.window(rows, columns)].copy()
        padded = np.empty(self.out.shape, observation.dtype)
        top, left = self._rows.first, self._columns.first
        padded[...] = observation[self.layout.window(slice(top, top + 1), slice(left, left + 1))]
        covered = self.layout.window(_shifted(seen_rows, rows.start), _shifted(seen_columns, columns.start))
        padded[covered] = observation[self.layout.window(seen_rows, seen_columns)]
        return padded

    def _centre(self, observation: Image) -> tuple[int | None, int | None]:
        """Return the column and the row of `observation` at which the window's centre is; None is the middle."""
        looks = self._locator.looks
        found = self._locator.find(self.env, self._picture(observation) if looks else observation)
        if found is None:
            return None, None
        if not looks:  # It knows of the whole picture.
            return int(_within(self._checked(found)) * self.layout.width + self._columns.more(self._shift)), None
        if self._follow == "columns":
            return self._columns.at(self._checked(found), self._shift), None
        if self._follow == "rows":
            return None, self._rows.at(self._checked(found), self._shift)
        if not isinstance(found, list | tuple | np.ndarray) or len(found) != 2:
            raise TypeError(
                f"CenteredCrop: the locator {self._locator.name} must return two fractions, of the picture's width and "
                f"of its height, or None, to follow 'both', got {came(found)}."
            )
        across, down = self._checked(found[0]), self._checked(found[1])
        return self._columns.at(across, self._shift), self._rows.at(down, self._shift)

    def _checked(self, fraction: Any) -> float:
        who = f"CenteredCrop: the locator {self._locator.name}"
        size = "height" if self._follow == "rows" else "width"
        if not (is_fraction_like(fraction) or is_whole(fraction)):
            raise TypeError(f"{who} must return a fraction of the picture's {size} or None, got {came(fraction)}.")
        if not math.isfinite(fraction):
            raise ValueError(f"{who} must return a finite fraction of the picture's {size}, got {fraction}.")
        return float(fraction)

    def _picture(self, observation: Image) -> Image:
        """Return what a locator looks at: the newest picture, the part that is left, the channels that show the now."""
        seen = observation[self.layout.window(self._rows.left, self._columns.left)]
        if self.layout.stacked:
            seen = seen[-1]
        if self.layout.channelled and any(self.shows_now) and not all(self.shows_now):
            seen = seen[..., list(self.shows_now)]
        return seen

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


@dataclass(frozen=True)
class _Side:
    """The window along one axis of the picture, which has `first` to `last` left to cut from."""

    first: int
    last: int
    length: int
    follows: bool
    pads: bool

    @classmethod
    def of(cls, name: str, wanted: int | float, left: slice, follows: bool, pads: bool) -> _Side:
        """Return the window of a `wanted` length; raise `TypeError` or `ValueError` where it is none or too long."""
        available = left.stop - left.start
        pixels = length("CenteredCrop", name, wanted, available)
        if pixels > available and not pads:
            unit = "columns" if name == "width" else "rows"
            mend = " Use edges='pad' for a wider window." if follows else ""
            raise ValueError(
                f"CenteredCrop: {name} must be at most the picture's {available} {unit}, got {pixels}.{mend}"
            )
        return cls(left.start, left.stop, pixels, follows, pads)

    @property
    def left(self) -> slice:
        """What there is to cut from."""
        return slice(self.first, self.last)

    def at(self, fraction: float, shift: float) -> int:
        """Return the pixel at a fraction of what is left, or the nearest to it that an even window can be around."""
        return self.first + int(_within(fraction) * (self.last - self.first) + self.more(shift))

    def more(self, shift: float) -> float:
        """Return `shift` where the window's length is even; the middle of an odd one is a pixel's middle already."""
        return 0.0 if self.length % 2 else shift

    def window(self, centre: int | None) -> slice:
        """Return the window around a pixel; around the middle for None or where it does not follow."""
        if not self.follows:
            start = self.first + (self.last - self.first - self.length) // 2
        else:
            start = ((self.first + self.last) // 2 if centre is None else centre) - self.length // 2
            if not self.pads:
                start = min(max(start, self.first), self.last - self.length)
        return slice(start, start + self.length)

    def inside(self, window: slice) -> slice:
        """Return the part of a window that lies in the picture; an empty one where none does."""
        begin = min(max(window.start, self.first), self.last)
        return slice(begin, max(begin, min(window.stop, self.last)))


def _within(fraction: float) -> float:
    return min(max(fraction, 0.0), 1.0)


def _shifted(part: slice, origin: int) -> slice:
    return slice(part.start - origin, part.stop - origin)
