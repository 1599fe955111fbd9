"""The common base of the picture wrappers.

* `Layout`: the axes of an image observation.
* `ImageWrapper`: the base of wrappers that turn one picture into another.
* `wrappers_of`: an environment's wrappers, outermost first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs
from gymnasium.wrappers import FrameStackObservation
from numpy.typing import NDArray

from cartpole_dqn.wrappers.checks import plain

Image = NDArray[Any]
Index = tuple[Any, ...]


@dataclass(frozen=True)
class Layout:
    """The axes of a picture [H, W] or [H, W, C], or of a stack of them [S, H, W] or [S, H, W, C]."""

    shape: tuple[int, ...]
    stacked: bool
    channelled: bool

    @property
    def rows_axis(self) -> int:
        """The axis of H."""
        return 1 if self.stacked else 0

    @property
    def height(self) -> int:
        """H, in pixels."""
        return self.shape[self.rows_axis]

    @property
    def width(self) -> int:
        """W, in pixels."""
        return self.shape[self.rows_axis + 1]

    @property
    def channels(self) -> int:
        """C, or 1 if there is no such axis."""
        return self.shape[-1] if self.channelled else 1

    def window(self, rows: Any, columns: Any) -> Index:
        """Return the index that takes `rows` and `columns`, and all of the other axes."""
        return (slice(None),) * self.rows_axis + (rows, columns)

    def resized(self, height: int, width: int) -> Layout:
        """Return this layout with another H and W."""
        end = self.shape[self.rows_axis + 2 :]
        return Layout((*self.shape[: self.rows_axis], height, width, *end), self.stacked, self.channelled)

    def bounds(self, space: spaces.Box) -> tuple[Image, Image]:
        """Return the lowest and highest value of any pixel, per picture of a stack and channel; H and W are 1."""
        axes = (self.rows_axis, self.rows_axis + 1)
        return space.low.min(axis=axes, keepdims=True), space.high.max(axis=axes, keepdims=True)


class ImageWrapper(gymnasium.ObservationWrapper[Image, Any, Image], RecordConstructorArgs):
    """The base of wrappers that turn one picture into another. It checks that observations are pictures.

    Args:
        env: its observations are pictures [H, W], [H, W, C], [S, H, W] or [S, H, W, C].
        **arguments: the subclass's arguments, for `env.spec`.

    Raises:
        TypeError: the observations are not arrays of numbers.
        ValueError: they have the wrong number of axes.
    """

    shows_now: tuple[bool, ...]
    """For each output channel, whether it shows the present and not a change."""
    out: Layout
    """The axes of the output; `layout` has those of the input."""
    narrows: bool = False
    """Whether the output does not show the whole width of the input."""
    lopsided: str = ""
    """Why the output for a mirrored picture is not the mirrored output; "" if it is."""
    window: tuple[slice, slice] | None = None
    """The rows and columns kept of the last picture, if it cuts; with padding they may be outside the picture."""

    def __init__(self, env: gymnasium.Env[Any, Any], **arguments: Any) -> None:
        RecordConstructorArgs.__init__(self, **plain(arguments))
        gymnasium.ObservationWrapper.__init__(self, env)
        self.who = type(self).__name__
        self.source = _image_space(self.who, env)
        self.layout = _layout(env, self.source.shape)
        self.shows_now = _shows_now(env, self.source, self.layout)

    def _give(self, out: Layout, low: Image, high: Image, dtype: Any) -> None:
        """Declare the output: its axes, and bounds that broadcast to its shape."""
        self.out = out
        low, high = np.broadcast_to(low, out.shape), np.broadcast_to(high, out.shape)
        self.observation_space = spaces.Box(low.astype(dtype), high.astype(dtype), dtype=dtype)


def off_centre(who: str, columns: slice, width: int) -> str:
    """Return the value of `lopsided` for a wrapper that keeps these columns of a picture."""
    if columns.start + columns.stop == width:
        return ""
    return f"{who} keeps the columns {columns.start} to {columns.stop} of {width}, which are not in the middle"


def wrappers_of(env: gymnasium.Env[Any, Any]) -> Iterator[gymnasium.Wrapper[Any, Any, Any, Any]]:
    """Yield the wrappers of `env`, outermost first."""
    while isinstance(env, gymnasium.Wrapper):
        yield env
        env = env.env


def _image_space(who: str, env: gymnasium.Env[Any, Any]) -> spaces.Box:
    space: spaces.Space[Any] = env.observation_space
    hint = "Put RenderObservation before it to observe what the environment draws."
    if isinstance(space, spaces.Dict | spaces.Tuple):
        hint = "Put Select before it to observe one part, or RenderObservation to observe what the environment draws."
    if not isinstance(space, spaces.Box):
        raise TypeError(f"{who}: expected pictures (a Box), but the observations before it are {space}. {hint}")
    if space.dtype is None or not (np.issubdtype(space.dtype, np.integer) or np.issubdtype(space.dtype, np.floating)):
        raise TypeError(
            f"{who}: expected pictures of integers or floats, but they are {space.dtype}. Put "
            f"gymnasium.wrappers.DtypeObservation(env, 'uint8') before it."
        )
    if len(space.shape) not in (2, 3, 4) or 0 in space.shape:
        raise ValueError(
            f"{who}: expected pictures of shape (H, W), (H, W, C), (S, H, W) or (S, H, W, C), "
            f"but the shape of the observations before it is {space.shape}. {hint}"
        )
    return space


def _layout(env: gymnasium.Env[Any, Any], shape: tuple[int, ...]) -> Layout:
    if len(shape) != 3:
        return Layout(shape, stacked=len(shape) == 4, channelled=len(shape) == 4)
    # Three axes may be (H, W, C) or (S, H, W). Known wrappers tell which.
    for wrapper in wrappers_of(env):
        if isinstance(wrapper, FrameStackObservation):
            return Layout(shape, stacked=True, channelled=False)
        if isinstance(wrapper, ImageWrapper):
            if wrapper.out.shape == shape:
                return wrapper.out
            break
    # Otherwise a short last axis counts as channels, and a short first axis as a stack.
    first, second, last = shape
    stacked = last > 4 and not last < min(first, second) and first < min(second, last)
    return Layout(shape, stacked=stacked, channelled=not stacked)


def _shows_now(env: gymnasium.Env[Any, Any], space: spaces.Box, layout: Layout) -> tuple[bool, ...]:
    low, _ = layout.bounds(space)
    unsigned = np.broadcast_to(low, layout.resized(1, 1).shape).reshape(-1, layout.channels).min(axis=0) >= 0
    flags: tuple[bool, ...] = next((w.shows_now for w in wrappers_of(env) if isinstance(w, ImageWrapper)), (True,))
    if len(flags) != layout.channels:
        # Another library's wrapper mixed the channels: each counts as present if any was.
        flags = (any(flags),) * layout.channels
    return tuple(bool(now and positive) for now, positive in zip(flags, cast(Any, unsigned), strict=True))
