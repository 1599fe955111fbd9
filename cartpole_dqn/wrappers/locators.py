"""Where the centre of a window is: locators for `CenteredCrop`.

* `find_locator`: from what a configuration says to a `Locator`.
* `Locator`: a name, whether it looks at the picture, and a function (env, picture) -> place, or None.
* `cart`, `centre`, `brightest`, `darkest`, `colour`: the ones that are built in.

A place is a fraction of the picture's width where the window follows "columns": 0.0 at the left edge, 1.0 at the right.
Where it follows "rows" it is a fraction of the height from the top, where it follows "both" the pair (of the width, of
the height). None stands for "nothing found".
"""

from __future__ import annotations

import difflib
import functools
import importlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from cartpole_dqn.wrappers.checks import came, is_fraction_like, is_whole

Env = gymnasium.Env[Any, Any]
Picture = NDArray[Any]
Place = float | tuple[float, float]
Find = Callable[[Env, Picture], Place | None]
FOLLOW = ("columns", "rows", "both")


@dataclass(frozen=True)
class Locator:
    """Finds the centre.

    `find(env, picture)` gives a place in the picture. Where `looks` is False, the picture is the whole
    observation and need not be read. Where `needs_present` is True, a picture of mere differences makes no sense.
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
        channels: how many channels the locator will see.
        follow: what it must tell: "columns", "rows" or "both".

    Raises:
        TypeError: `locator` or a part of it is of the wrong kind.
        ValueError: it is unknown, cannot be imported, or does not fit the environment.
    """
    if isinstance(locator, Mapping):
        return _colour_locator(who, locator, channels, follow)
    if not isinstance(locator, str):
        raise TypeError(
            f"{who}: locator must be a name, 'module:attr' or a mapping with a color, got {came(locator)}. "
            f"Name a function of your own as 'module:attr', so that the environment's spec can be written down."
        )
    if ":" in locator:
        return Locator(repr(locator), _imported(who, locator), needs_present=False)
    if locator not in _BUILT_IN:
        near = difflib.get_close_matches(locator, _BUILT_IN, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"{who}: locator must be one of {', '.join(_BUILT_IN)}, a mapping with a color, or 'module:attr', "
            f"got {locator!r}.{hint}"
        )
    if locator == "cart":
        _require_cart(who, env, follow)
        return Locator(locator, cart, looks=False, needs_present=False)
    if locator == "centre":
        return Locator(locator, centre, looks=False, needs_present=False)
    blob = brightest if locator == "brightest" else darkest
    return Locator(locator, functools.partial(blob, follow=follow))


def cart(env: Env, picture: Picture) -> float | None:
    """Return the cart's place on the track from -x_threshold to x_threshold, as CartPole draws it."""
    base: Any = env.unwrapped
    if base.state is None:
        return None
    return float(base.state[0]) / (2.0 * float(base.x_threshold)) + 0.5


def centre(env: Env, picture: Picture) -> None:
    """Return None: the middle."""
    return None


def brightest(env: Env, picture: Picture, follow: str = "columns") -> Place | None:
    """Return the centre of the blob of pixels in the top tenth of the picture's range of brightness."""
    light = _brightness(picture)
    least, greatest = light.min(), light.max()
    return _blob(light > greatest - (greatest - least) / 10.0, follow)


def darkest(env: Env, picture: Picture, follow: str = "columns") -> Place | None:
    """Return the centre of the blob of pixels in the bottom tenth of the picture's range of brightness."""
    light = _brightness(picture)
    least, greatest = light.min(), light.max()
    return _blob(light < least + (greatest - least) / 10.0, follow)


def colour(color: tuple[float, ...], tolerance: float, follow: str = "columns") -> Find:
    """Return a function that finds the blob of pixels within `tolerance` of `color` in every channel."""

    def find(env: Env, picture: Picture) -> Place | None:
        channels = picture if picture.ndim == 3 else picture[..., None]
        mask = np.ones(channels.shape[:2], np.bool_)
        for channel, value in enumerate(color):
            plane = channels[..., channel]
            least, greatest = value - tolerance, value + tolerance
            if plane.dtype.kind != "f":  # NumPy compares integers with integers several times faster.
                least, greatest = math.ceil(least), math.floor(greatest)
            mask &= (plane >= least) & (plane <= greatest)
        return _blob(mask, follow)

    return find


_BUILT_IN = ("cart", "centre", "brightest", "darkest")


def _brightness(picture: Picture) -> Picture:
    channels = picture if picture.ndim == 3 else picture[..., None]
    # Plane by plane: NumPy sums short last axes slowly.
    light = np.zeros(channels.shape[:2], np.result_type(picture.dtype, np.float32))
    for channel in range(channels.shape[2]):
        light += channels[..., channel]
    return light


def _blob(mask: Any, follow: str) -> Place | None:
    """Return where the blob in `mask` [H, W] is; None if nothing stands out.

    Across, it is the run of columns that holds most of the mask; down, the run of rows, where rows that are filled from
    edge to edge are ground and don't count. For "both", the rows are sought in the run of columns alone; where they are
    all alike, it is taken as a whole.
    """
    if follow == "columns":
        return _centre_of(_heaviest_run(mask.sum(axis=0)), mask.shape[1])
    above_ground = mask & ~mask.all(axis=1, keepdims=True)
    if follow == "rows":
        return _centre_of(_heaviest_run(above_ground.sum(axis=1)), len(mask))
    across = _heaviest_run(mask.sum(axis=0))
    x = _centre_of(across, mask.shape[1])
    if across is None or x is None:
        return None
    y = _centre_of(_heaviest_run(above_ground[:, across[0]].sum(axis=1)), len(mask))
    return x, 0.5 if y is None else y


Span = tuple[NDArray[Any], NDArray[Any]]


def _heaviest_run(counts: Any) -> Span | None:
    """Return the run of neighbours that holds most of `counts` [n], and the weight of each; None if nothing stands out.

    What every place has (a track, the ground) is no blob: the least count of all is taken off each.
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


def _centre_of(found: Span | None, size: int) -> float | None:
    if found is None:
        return None
    run, weights = found
    # Pixel i reaches from i to i + 1, so its middle is at i + 1/2.
    return float((weights * (run + 0.5)).sum() / weights.sum() / size)


def _colour_locator(who: str, locator: Mapping[str, Any], channels: int, follow: str) -> Locator:
    unknown = sorted(set(map(str, locator)) - {"color", "tolerance"})
    if unknown or "color" not in locator:
        raise ValueError(
            f"{who}: a locator by colour has a 'color' and may have a 'tolerance', such as "
            f"{{'color': [202, 152, 101], 'tolerance': 10}}, got {dict(locator)!r}."
        )
    color, tolerance = locator["color"], locator.get("tolerance", 0)
    if not isinstance(color, list | tuple) or not all(_is_number(value) for value in color):
        raise TypeError(f"{who}: the locator's color must be a list of numbers, one per channel, got {came(color)}.")
    if not _is_number(tolerance):
        raise TypeError(f"{who}: the locator's tolerance must be a number, got {came(tolerance)}.")
    if not (tolerance >= 0 and all(math.isfinite(value) for value in (tolerance, *color))):
        raise ValueError(
            f"{who}: the locator's color must be finite and its tolerance at least 0, got {color} and {tolerance}."
        )
    if len(color) != channels:
        raise ValueError(
            f"{who}: the locator's color needs {channels} numbers, one per channel of the picture, got {list(color)}."
        )
    find = colour(tuple(float(value) for value in color), float(tolerance), follow)
    return Locator(f"color {list(color)}", find)


def _is_number(value: Any) -> bool:
    return is_whole(value) or is_fraction_like(value)


def _imported(who: str, reference: str) -> Find:
    module_name, _, attribute = reference.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for name in attribute.split("."):
            found = getattr(found, name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{who}: cannot import the locator {reference!r}: {error}. Expected 'module:attr' of an importable module."
        ) from error
    if not callable(found):
        raise TypeError(
            f"{who}: the locator {reference!r} must be a callable (env, picture) -> fraction of the picture or None, "
            f"got {came(found)}."
        )
    function: Find = found
    return function


def _require_cart(who: str, env: Env, follow: str) -> None:
    if follow != "columns":
        raise ValueError(f"{who}: the locator 'cart' knows where the cart is along the track alone: follow 'columns'.")
    missing = [name for name in ("x_threshold", "state") if not hasattr(env.unwrapped, name)]
    if missing:
        raise ValueError(
            f"{who}: the locator 'cart' reads state[0] and x_threshold, as CartPole has them, but {env.unwrapped} has "
            f"no {' and no '.join(missing)}. Use 'darkest', 'brightest', a color, or 'module:attr' of your own."
        )
