"""Cutting pictures: `Crop` always at the same place, `CenteredCrop` around what a locator finds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np

from cartpole_dqn.wrappers.checks import is_number, length, one_of, span, value_and_type
from cartpole_dqn.wrappers.image import Image, ImageWrapper, off_centre, wrappers_of
from cartpole_dqn.wrappers.locators import FOLLOW, centre, find_locator
from cartpole_dqn.wrappers.moments import Moments

Bounds = Sequence[int] | Sequence[float] | None


class Crop(ImageWrapper):
    """Cuts fixed rows and columns: [H, W, C] -> [h, w, C], also without C and for stacks. The dtype stays.

    Args:
        env: its observations are pictures.
        rows: [first, last) to keep: two ints in pixels, or two floats in 0..1 as fractions of H. None keeps all.
        columns: the same for columns.

    Raises:
        TypeError: rows or columns are not two numbers of the same kind.
        ValueError: they are outside the picture or empty, or both are None.

    >>> from cartpole_dqn.wrappers.render import RenderObservation
    >>> env = RenderObservation(gymnasium.make("CartPole-v1", render_mode="rgb_array"))
    >>> Crop(env, rows=[0.4, 0.8], columns=[100, 500]).observation_space
    Box(0, 255, (160, 400, 3), uint8)
    """

    def __init__(self, env: gymnasium.Env[Any, Any], rows: Bounds = None, columns: Bounds = None) -> None:
        super().__init__(env, rows=rows, columns=columns)
        if rows is None and columns is None:
            raise ValueError("Crop: expected rows, columns or both, got neither.")
        kept_rows = span(self.who, "rows", rows, self.layout.height)
        kept_columns = span(self.who, "columns", columns, self.layout.width)
        self._part = self.layout.window(kept_rows, kept_columns)
        out = self.layout.resized(kept_rows.stop - kept_rows.start, kept_columns.stop - kept_columns.start)
        self.narrows = out.width < self.layout.width
        self.window = (kept_rows, kept_columns)
        self.lopsided = off_centre(self.who, kept_columns, self.layout.width)
        self._give(out, self.source.low[self._part], self.source.high[self._part], self.source.dtype)

    def observation(self, observation: Image) -> Image:
        """Return the part of `observation`, as a copy."""
        return observation[self._part].copy()

    def as_torch(self, moments: Moments) -> Any:
        return moments.observation()[self._part]


class CenteredCrop(ImageWrapper):
    """Cuts a window around what `locator` finds: [H, W, C] -> [height, width, C], also without C and for stacks.

    The same window cuts all channels and all pictures of a stack, at the place that the current state gives. After a
    `FrameDifference` with `keep_current`, the picture and its difference stay aligned, and motion of the centre stays
    visible. The dtype stays.

    The locator returns a fraction f of the picture's width. The window's columns start at int(f W) - width // 2, and
    its rows in the same way if they follow. Along an axis that does not follow, the window is in the middle.

    Args:
        env: its observations are pictures.
        width: columns of the window: an int in pixels, or a float in (0, 1] as a fraction of what `columns` keeps.
        locator: finds the centre.
            "cart": CartPole's cart, from `state[0]` and `x_threshold` of the unwrapped environment. Needs the picture
            of the whole track.
            "centre": the middle.
            "brightest", "darkest": the blob of such pixels.
            {"color": [r, g, b], "tolerance": t}: the blob of pixels within t of the color in every channel; t is 0 by
            default.
            "module:attr": a callable (env, picture) -> fraction of the picture's width. It returns a fraction of the
            height to follow "rows", and both as a pair to follow "both".
            Blobs and callables get the part that `rows` and `columns` keep, as [H, W] or [H, W, C]: the newest picture
            of a stack, and only the channels that show the present, if there are any. If there is no blob, or the
            callable returns None, the window is in the middle. Earlier pictures have no influence.
        height: rows of the window, an int or a float as for `width`. None: all rows that `rows` keeps.
        rows: [first, last) to cut out first: two ints in pixels or two floats in 0..1.
        columns: the same for columns.
        edges: "clamp" stops the window at the picture's edge. "pad" lets it continue and fills the outside with the
            picture's top left pixel, which is background in most drawings.
        follow: what moves with the centre: "columns" (left and right), "rows" (up and down) or "both".
        snap: how the window is aligned to whole pixels. "down" puts the pixel that holds the centre at index
            `width // 2`. "nearest" puts the window's middle as near to the centre as possible: the window of a mirrored
            picture is then the mirrored window.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: the window is larger than the picture (allowed with "pad" along axes that follow); rows follow but
            `height` is None; the locator is unknown; a blob is wanted but only differences are visible; or "cart" is
            used without a cart, to follow rows, or after another wrapper cut columns.

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
        window = {"width": width, "locator": locator, "height": height, "rows": rows, "columns": columns}
        super().__init__(env, **window, edges=edges, follow=follow, snap=snap)
        pads = one_of(self.who, "edges", edges, ["clamp", "pad"]) == "pad"
        nearest = one_of(self.who, "snap", snap, ["down", "nearest"]) == "nearest"
        self._follow = one_of(self.who, "follow", follow, FOLLOW)
        if follow != "columns" and height is None:
            raise ValueError(f"CenteredCrop: to follow {follow!r} it needs a height, the number of the window's rows.")

        def side(name: str, size: int | float, region: slice, follows: bool) -> _Side:
            available = region.stop - region.start
            pixels = length(self.who, name, size, available)
            if pixels > available and not (pads and follows):
                unit = "columns" if name == "width" else "rows"
                mend = " Use edges='pad' for a larger window." if follows else ""
                raise ValueError(
                    f"CenteredCrop: {name} must be at most the picture's {available} {unit}, got {pixels}.{mend}"
                )
            return _Side(region, pixels, follows, pads and follows, shift=0.5 if nearest and pixels % 2 == 0 else 0.0)

        kept_rows = span(self.who, "rows", rows, self.layout.height)
        kept_columns = span(self.who, "columns", columns, self.layout.width)
        self._rows = side("height", 1.0 if height is None else height, kept_rows, follow != "columns")
        self._columns = side("width", width, kept_columns, follow != "rows")
        visible = sum(self.shows_now) or len(self.shows_now)
        self._locator = find_locator(self.who, locator, env, visible, self._follow)
        self._check_order()
        moves = self._columns.follows and self._locator.find is not centre
        if moves and self._columns.length % 2 == 0 and not nearest:
            self.lopsided = f"{self.who} with snap='down' puts a window of even width half a pixel off its centre"
        else:
            columns_shown = kept_columns if moves else self._columns.window(None)
            self.lopsided = off_centre(self.who, columns_shown, self.layout.width)
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
        top, left = self._rows.region.start, self._columns.region.start
        padded[...] = observation[self.layout.window(slice(top, top + 1), slice(left, left + 1))]
        covered = self.layout.window(_shifted(seen_rows, rows.start), _shifted(seen_columns, columns.start))
        padded[covered] = observation[self.layout.window(seen_rows, seen_columns)]
        return padded

    def as_torch(self, moments: Moments) -> Any:
        """See `cartpole_dqn.wrappers.moments`. The input "place" is float64, the fraction that the locator returns.

        Raises:
            NotImplementedError: the locator looks at the picture.
        """
        import torch

        if self._locator.looks:
            raise NotImplementedError(f"its locator {self._locator.name} looks at the picture")
        place = None
        if self._locator.find is not centre:
            place = moments.given("place", lambda: np.float64(self._locator.find(self.env, ())))  # type: ignore[arg-type]
        picture = moments.observation()
        axis, width = self.layout.rows_axis, self.layout.width
        rows, columns = self._rows.pixels_of(None, 0), self._columns.pixels_of(place, width)
        window = picture.index_select(axis, self._rows.clamped(rows))
        window = window.index_select(axis + 1, self._columns.clamped(columns))
        if not (self._rows.pads or self._columns.pads):
            return window
        in_picture = self._rows.holds(rows)[:, None] & self._columns.holds(columns)
        if self.layout.channelled:
            in_picture = in_picture[..., None]
        top, left = self._rows.region.start, self._columns.region.start
        corner = picture[self.layout.window(slice(top, top + 1), slice(left, left + 1))]
        return torch.where(in_picture, window, corner)

    def _centre(self, observation: Image) -> tuple[int | None, int | None]:
        """Return the column and the row of the window's centre; None is the middle."""
        place: Any = self._locator.find(self.env, self._picture(observation) if self._locator.looks else observation)
        if place is None:
            return None, None
        both = self._follow == "both"
        if both and not (isinstance(place, list | tuple | np.ndarray) and len(place) == 2):
            raise TypeError(
                f"CenteredCrop: the locator {self._locator.name} must return two fractions, of the picture's width and "
                f"height, or None, to follow 'both', got {value_and_type(place)}."
            )
        across, down = place if both else (place, place)
        return self._pixel(self._columns, across, "width"), self._pixel(self._rows, down, "height")

    def _pixel(self, side: _Side, fraction: Any, size: str) -> int | None:
        """Return the pixel at a fraction that the locator returned; None along an axis that does not follow."""
        who = f"CenteredCrop: the locator {self._locator.name}"
        if not side.follows:
            return None
        if not is_number(fraction):
            raise TypeError(
                f"{who} must return a fraction of the picture's {size} or None, got {value_and_type(fraction)}."
            )
        if not math.isfinite(fraction):
            raise ValueError(f"{who} must return a finite fraction of the picture's {size}, got {fraction}.")
        # A locator that does not look at the picture returns a fraction of all its columns.
        return side.at(float(fraction), side.region if self._locator.looks else slice(0, self.layout.width))

    def _picture(self, observation: Image) -> Image:
        """Return what a locator gets: the newest picture, cut, and only the channels that show the present."""
        picture = observation[self.layout.window(self._rows.region, self._columns.region)]
        if self.layout.stacked:
            picture = picture[-1]
        if self.layout.channelled and any(self.shows_now) and not all(self.shows_now):
            picture = picture[..., list(self.shows_now)]
        return picture

    def _check_order(self) -> None:
        if self._locator.needs_present and not any(self.shows_now):
            raise ValueError(
                f"CenteredCrop: the locator {self._locator.name} looks at the picture, but only differences reach it. "
                f"Put CenteredCrop before FrameDifference, or give FrameDifference keep_current=True."
            )
        cut = next((wrapper for wrapper in wrappers_of(self.env) if getattr(wrapper, "narrows", False)), None)
        if self._locator.name == "cart" and cut is not None:
            raise ValueError(
                f"CenteredCrop: the locator 'cart' needs the picture of the whole track, but {type(cut).__name__} "
                f"before it cut columns away. Put CenteredCrop before it, or give CenteredCrop the columns."
            )


@dataclass(frozen=True)
class _Side:
    """The window along one axis of the picture.

    It is `length` pixels long, and cut from the pixels `region`. With a `shift` of half a pixel, rounding down puts the
    middle of an even window as near to the centre as possible; the middle of an odd window is the middle of a pixel.
    """

    region: slice
    length: int
    follows: bool
    pads: bool
    shift: float

    def at(self, fraction: float, of: slice) -> int:
        """Return the pixel at a fraction of the pixels `of`."""
        return int(of.start) + int(min(max(fraction, 0.0), 1.0) * (of.stop - of.start) + self.shift)

    def window(self, centre: int | None) -> slice:
        """Return the window around a pixel, or around the middle for None."""
        first, last = self.region.start, self.region.stop
        if not self.follows:
            start = first + (last - first - self.length) // 2
        else:
            start = ((first + last) // 2 if centre is None else centre) - self.length // 2
            if not self.pads:
                start = min(max(start, first), last - self.length)
        return slice(start, start + self.length)

    def inside(self, window: slice) -> slice:
        """Return the part of a window that is in the picture, possibly empty."""
        begin = min(max(window.start, self.region.start), self.region.stop)
        return slice(begin, max(begin, min(window.stop, self.region.stop)))

    # The same in torch, for `CenteredCrop.as_torch`.

    def pixels_of(self, fraction: Any, size: int) -> Any:
        """Return the window's pixels [length], around a fraction (a tensor) of `size` pixels or in the middle."""
        import torch

        first, last = self.region.start, self.region.stop
        start: Any = self.window(None).start
        if self.follows and fraction is not None:
            start = (fraction.clamp(0.0, 1.0) * size + self.shift).long() - self.length // 2
            if not self.pads:
                start = start.clamp(first, last - self.length)
        return start + torch.arange(self.length)

    def clamped(self, pixels: Any) -> Any:
        """Return the nearest pixels that are in the picture."""
        return pixels.clamp(self.region.start, self.region.stop - 1)

    def holds(self, pixels: Any) -> Any:
        """Return which pixels are in the picture."""
        return (pixels >= self.region.start) & (pixels < self.region.stop)


def _shifted(part: slice, origin: int) -> slice:
    return slice(part.start - origin, part.stop - origin)
