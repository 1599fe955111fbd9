"""Where the value of an action comes from, by occlusion.

* `occlusion`: how much the value falls when a part of the observation is hidden.
* `place_in_frame`: where an observation lies in the rendered frame.
* `Attribution`: the result with its place. `laid_over`: draws it over a picture.

A square of the observation is replaced by its background, in all channels at once, and the value is computed again
(Zeiler & Fergus 2014, "Visualizing and Understanding Convolutional Networks"; Greydanus et al. 2018 do the same to
agents on Atari, with a blurred spot). It needs the values alone, so it works with every policy that has them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium.wrappers import FrameStackObservation
from numpy.typing import NDArray
from PIL import Image

from cartpole_dqn.views.colours import COLOURS, Theme, rgb
from cartpole_dqn.wrappers import Channel, FrameDifference, RenderObservation
from cartpole_dqn.wrappers.image import ImageWrapper, wrappers_of
from cartpole_dqn.wrappers.resize import Resize

Values = Callable[[NDArray[Any]], NDArray[np.float32]]
"""Observations [N, ...] -> action values [N, A]."""
Place = tuple[float, float, float, float]
"""Top, left, bottom and right, in pixels of a picture; parts may be outside of it."""

_PATCHES = 8
"""Squares along the shorter side of the observation, without overlap."""
_BATCH = 128
_STRONGEST = 0.8
"""The share of colour where the value changes most."""


@dataclass(frozen=True)
class Attribution:
    """Where the value of the chosen action comes from."""

    change: NDArray[np.float64]
    """[H, W] of the observation: how much the value falls when this pixel's surroundings are hidden."""
    place: Place | None
    """Where the observation lies in the frame; None if that is unknown."""


def occlusion(
    values: Values, obs: NDArray[Any], action: int, background: NDArray[Any], *, rows_axis: int = 0
) -> NDArray[np.float64]:
    """Return how much an action's value falls when the square around a pixel is hidden: [H, W].

    Squares overlap by half. A pixel has the mean over the squares that cover it.

    Args:
        values: the policy's values.
        obs: one observation [..., H, W, ...], whose H is the axis `rows_axis`.
        action: whose value.
        background: broadcasts to `obs`: what it looks like where there is nothing.
        rows_axis: 0, or 1 for a stack.
    """
    height, width = obs.shape[rows_axis : rows_axis + 2]
    side = max(1, round(min(height, width) / _PATCHES))
    step = max(1, side // 2)
    starts = [(top, left) for top in _starts(height, side, step) for left in _starts(width, side, step)]
    hidden = np.broadcast_to(background, obs.shape)
    before = (slice(None),) * rows_axis
    full = float(values(obs[None])[0, action])
    total, count = np.zeros((height, width)), np.zeros((height, width))
    for first in range(0, len(starts), _BATCH):
        some = starts[first : first + _BATCH]
        batch = np.repeat(obs[None], len(some), axis=0)
        windows = [(slice(top, top + side), slice(left, left + side)) for top, left in some]
        for image, window in zip(batch, windows, strict=True):
            image[(*before, *window)] = hidden[(*before, *window)]
        for value, window in zip(values(batch)[:, action], windows, strict=True):
            total[window] += full - float(value)
            count[window] += 1
    return np.asarray(total / count)


def _starts(length: int, side: int, step: int) -> list[int]:
    """Return where squares begin so that they cover `length` pixels and none is cut."""
    last = max(0, length - side)
    return sorted({*range(0, last, step), last})


def place_in_frame(env: gymnasium.Env[Any, Any], height: int, width: int) -> Place | None:
    """Return where the last observation, `height` x `width`, lies in the frame that `env` rendered for it.

    None if a wrapper may move pixels in an unknown way, or if the frame is not observed.
    """
    top, left, bottom, right = 0.0, 0.0, float(height), float(width)
    for wrapper in wrappers_of(env):
        if isinstance(wrapper, Resize):
            down = wrapper.layout.height / wrapper.out.height
            across = wrapper.layout.width / wrapper.out.width
            top, left, bottom, right = top * down, left * across, bottom * down, right * across
        elif isinstance(wrapper, ImageWrapper | RenderObservation) and wrapper.window is not None:
            rows, columns = wrapper.window
            top, bottom = top + rows.start, bottom + rows.start
            left, right = left + columns.start, right + columns.start
        elif isinstance(wrapper, gymnasium.ObservationWrapper | FrameStackObservation) and not isinstance(
            wrapper, Channel | FrameDifference | FrameStackObservation
        ):
            return None
        if isinstance(wrapper, RenderObservation):
            return top, left, bottom, right
    return None


def laid_over(picture: NDArray[np.uint8], attribution: Attribution, place: Place, theme: Theme) -> NDArray[np.uint8]:
    """Return a picture [H, W, 3] with the attribution at `place`: red where the value rises, blue where it falls."""
    most = max(float(np.abs(attribution.change).max(initial=0.0)), 1e-9)
    top, left, bottom, right = (math.floor(end + 0.5) for end in place)
    size = (max(1, right - left), max(1, bottom - top))
    share = Image.fromarray((attribution.change / most).astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
    height, width = picture.shape[:2]
    rows, columns = slice(max(top, 0), min(bottom, height)), slice(max(left, 0), min(right, width))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return picture
    shares = np.asarray(share)[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left, None]
    red, blue = (np.array(rgb(colour), np.float32) for colour in (COLOURS[theme].red, COLOURS[theme].blue))
    colour = np.where(shares >= 0, red, blue)
    mixed = picture.copy()
    part = picture[rows, columns].astype(np.float32)
    mixed[rows, columns] = part + _STRONGEST * np.abs(shares) * (colour - part)
    return mixed
