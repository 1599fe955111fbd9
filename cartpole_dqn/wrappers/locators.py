"""Locators for `CenteredCrop`: they find the centre of its window.

* `find_locator`: makes a `Locator` from a configuration's value.
* `Locator`: a name, and a function (env, picture) -> place, or None if it finds nothing.
* `cart`, `centre`, `brightest`, `darkest`, `coloured`: the built-in ones.

To follow "columns", a place is a fraction of the picture's width, 0.0 at the left edge. To follow "rows", it is a
fraction of the height, 0.0 at the top. To follow "both", it is the pair of the two.
"""

from __future__ import annotations

import functools
import math
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from cartpole_dqn.wrappers.checks import is_number, nearest_name, value_and_type

Env = gymnasium.Env[Any, Any]
Picture = NDArray[Any]
Place = float | tuple[float, float]
Find = Callable[[Env, Picture], Place | None]
FOLLOW = ("columns", "rows", "both")


@dataclass(frozen=True)
class Locator:
    """Finds the centre: `find(env, picture)` returns a place in the picture.

    If `looks` is False, `find` does not read the picture, and gets the whole observation. If `needs_present` is True,
    it cannot work on a picture of mere differences.
    """

    name: str
    find: Find
    looks: bool = True
    needs_present: bool = True


def find_locator(who: str, locator: Any, env: Env, channels: int, follow: str = "columns") -> Locator:
    """Return the locator that `locator` describes.

    Args:
        who: the wrapper, for messages.
        locator: "cart", "centre", "brightest", "darkest", "module:attr", or a mapping with "color" and "tolerance".
        env: the wrapped environment.
        channels: the number of channels that the locator gets.
        follow: "columns", "rows" or "both".

    Raises:
        TypeError: `locator` or a part of it has the wrong type.
        ValueError: it is unknown, cannot be imported, or does not fit the environment.
    """
    if isinstance(locator, Mapping):
        return _colour_locator(who, locator, channels, follow)
    if not isinstance(locator, str):
        raise TypeError(
            f"{who}: locator must be a name, 'module:attr' or a mapping with a color, got {value_and_type(locator)}. "
            f"Give your own function as 'module:attr', so that the environment's spec can be saved."
        )
    if ":" in locator:
        return Locator(repr(locator), _import_locator(who, locator), needs_present=False)
    if locator not in _BUILT_IN:
        raise ValueError(
            f"{who}: locator must be one of {', '.join(_BUILT_IN)}, a mapping with a color, or 'module:attr', "
            f"got {locator!r}.{nearest_name(locator, _BUILT_IN)}"
        )
    if locator == "cart":
        _require_cart(who, env, follow)
    find = _BUILT_IN[locator]
    blob = find in (brightest, darkest)
    return Locator(locator, functools.partial(find, follow=follow) if blob else find, blob, blob)


def cart(env: Env, picture: Picture) -> float | None:
    """Return the cart's place on the track from -x_threshold to x_threshold, as CartPole draws it."""
    base: Any = env.unwrapped
    return None if base.state is None else float(base.state[0]) / (2.0 * float(base.x_threshold)) + 0.5


def centre(env: Env, picture: Picture) -> None:
    """Return None, which means the middle."""
    return None


def brightest(env: Env, picture: Picture, follow: str = "columns") -> Place | None:
    """Return the centre of the blob of pixels in the top tenth of the picture's range of brightness."""
    light, margin = _brightness(picture)
    return _blob(light > light.max() - margin, follow)


def darkest(env: Env, picture: Picture, follow: str = "columns") -> Place | None:
    """Return the centre of the blob of pixels in the bottom tenth of the picture's range of brightness."""
    light, margin = _brightness(picture)
    return _blob(light < light.min() + margin, follow)


def coloured(
    env: Env, picture: Picture, color: tuple[float, ...], tolerance: float, follow: str = "columns"
) -> Place | None:
    """Return the centre of the blob of pixels within `tolerance` of `color` in every channel."""
    channels = picture if picture.ndim == 3 else picture[..., None]
    mask = np.ones(channels.shape[:2], np.bool_)
    for channel, value in enumerate(color):
        plane = channels[..., channel]
        least, greatest = value - tolerance, value + tolerance
        if plane.dtype.kind != "f":  # NumPy compares integers with integers several times faster.
            least, greatest = math.ceil(least), math.floor(greatest)
        mask &= (plane >= least) & (plane <= greatest)
    return _blob(mask, follow)


_BUILT_IN: dict[str, Callable[..., Place | None]] = {
    "cart": cart,
    "centre": centre,
    "brightest": brightest,
    "darkest": darkest,
}


def _brightness(picture: Picture) -> tuple[Picture, Any]:
    """Return the sum of the channels [H, W], and a tenth of its range."""
    channels = picture if picture.ndim == 3 else picture[..., None]
    # Plane by plane: NumPy sums short last axes slowly.
    light = np.zeros(channels.shape[:2], np.result_type(picture.dtype, np.float32))
    for channel in range(channels.shape[2]):
        light += channels[..., channel]
    return light, (light.max() - light.min()) / 10.0


def _blob(mask: Any, follow: str) -> Place | None:
    """Return the place of the blob in `mask` [H, W]; None if nothing stands out.

    Horizontally, the blob is the run of columns with the most of the mask. Vertically, it is the run of rows; rows that
    are filled from edge to edge are ground and don't count. For "both", only the blob's columns are searched for its
    rows. If all rows there are alike, the vertical place is the middle.
    """
    height, width = mask.shape
    across = _heaviest_run(mask.sum(axis=0))
    if follow == "columns":
        return _centre_of(across, width)
    above_ground = mask & ~mask.all(axis=1, keepdims=True)
    if follow == "rows":
        return _centre_of(_heaviest_run(above_ground.sum(axis=1)), height)
    x = _centre_of(across, width)
    if across is None or x is None:
        return None
    y = _centre_of(_heaviest_run(above_ground[:, across[0]].sum(axis=1)), height)
    return x, 0.5 if y is None else y


Span = tuple[NDArray[Any], NDArray[Any]]


def _heaviest_run(counts: Any) -> Span | None:
    """Return the run of neighbours with the most of `counts` [n], and their weights; None if nothing stands out.

    What every place has (a track, the ground) is no blob: the minimum is subtracted from all.
    """
    weights = counts - counts.min()
    filled = np.concatenate(([0], (weights > 0).astype(np.int8), [0]))
    begins, ends = np.flatnonzero(np.diff(filled) == 1), np.flatnonzero(np.diff(filled) == -1)
    if not len(begins):
        return None
    sums = np.concatenate(([0], np.cumsum(weights)))
    most = int(np.argmax(sums[ends] - sums[begins]))
    run = np.arange(begins[most], ends[most])
    return run, weights[run]


def _centre_of(span: Span | None, size: int) -> float | None:
    if span is None:
        return None
    run, weights = span
    # Pixel i extends from i to i + 1, so its middle is i + 1/2.
    return float((weights * (run + 0.5)).sum() / weights.sum() / size)


def _colour_locator(who: str, locator: Mapping[str, Any], channels: int, follow: str) -> Locator:
    unknown = sorted(set(map(str, locator)) - {"color", "tolerance"})
    if unknown or "color" not in locator:
        raise ValueError(
            f"{who}: a locator by colour has a 'color' and may have a 'tolerance', such as "
            f"{{'color': [202, 152, 101], 'tolerance': 10}}, got {dict(locator)!r}."
        )
    color, tolerance = locator["color"], locator.get("tolerance", 0)
    if not isinstance(color, list | tuple) or not all(map(is_number, color)):
        raise TypeError(
            f"{who}: the locator's color must be a list of numbers, one per channel, got {value_and_type(color)}."
        )
    if not is_number(tolerance):
        raise TypeError(f"{who}: the locator's tolerance must be a number, got {value_and_type(tolerance)}.")
    if not (tolerance >= 0 and all(math.isfinite(value) for value in (tolerance, *color))):
        raise ValueError(
            f"{who}: the locator's color must be finite and its tolerance at least 0, got {color} and {tolerance}."
        )
    if len(color) != channels:
        raise ValueError(
            f"{who}: the locator's color needs {channels} numbers, one per channel of the picture, got {list(color)}."
        )
    values = tuple(map(float, color))
    find = functools.partial(coloured, color=values, tolerance=float(tolerance), follow=follow)
    return Locator(f"color {list(color)}", find)


def _import_locator(who: str, reference: str) -> Find:
    try:
        target = pkgutil.resolve_name(reference)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{who}: cannot import the locator {reference!r}: {error}. Expected 'module:attr' of an importable module."
        ) from error
    if not callable(target):
        raise TypeError(
            f"{who}: the locator {reference!r} must be a callable (env, picture) -> fraction of the picture or None, "
            f"got {value_and_type(target)}."
        )
    function: Find = target
    return function


def _require_cart(who: str, env: Env, follow: str) -> None:
    if follow != "columns":
        raise ValueError(f"{who}: the locator 'cart' finds the cart only along the track: follow 'columns'.")
    missing = [name for name in ("x_threshold", "state") if not hasattr(env.unwrapped, name)]
    if missing:
        raise ValueError(
            f"{who}: the locator 'cart' reads state[0] and x_threshold, which CartPole has, but {env.unwrapped} has "
            f"no {' and no '.join(missing)}. Use 'darkest', 'brightest', a color, or your own 'module:attr'."
        )
