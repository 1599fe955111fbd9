"""Where the centre of a window is: locators for `CenteredCrop`.

* `find_locator`: from what a configuration says to a `Locator`.
* `Locator`: a name, whether it looks at the picture, and a function (env, picture) -> fraction of the width, or None.
* `cart`, `centre`, `brightest`, `darkest`, `colour`: the ones that are built in.

A fraction is 0.0 at the picture's left edge and 1.0 at its right edge. None stands for "nothing found".
"""

from __future__ import annotations

import difflib
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
Find = Callable[[Env, Picture], float | None]


@dataclass(frozen=True)
class Locator:
    """Finds the centre.

    `find(env, picture)` gives a fraction of the picture's width. Where `looks` is False, the picture is the whole
    observation and need not be read. Where `needs_present` is True, a picture of mere differences makes no sense.
    """

    name: str
    find: Find
    looks: bool = True
    needs_present: bool = True


def find_locator(who: str, locator: Any, env: Env, channels: int) -> Locator:
    """Return the locator that `locator` describes.

    Args:
        who: the wrapper, for messages.
        locator: "cart", "centre", "brightest", "darkest", "module:attr", or a mapping with "color" and "tolerance".
        env: the wrapped environment.
        channels: how many channels the locator will see.

    Raises:
        TypeError: `locator` or a part of it is of the wrong kind.
        ValueError: it is unknown, cannot be imported, or does not fit the environment.
    """
    if isinstance(locator, Mapping):
        return _colour_locator(who, locator, channels)
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
    found = _BUILT_IN[locator]
    if found.find is cart:
        _require_cart(who, env)
    return found


def cart(env: Env, picture: Picture) -> float | None:
    """Return the cart's place on the track from -x_threshold to x_threshold, as CartPole draws it."""
    base: Any = env.unwrapped
    if base.state is None:
        return None
    return float(base.state[0]) / (2.0 * float(base.x_threshold)) + 0.5


def centre(env: Env, picture: Picture) -> float | None:
    """Return None: the middle."""
    return None


def brightest(env: Env, picture: Picture) -> float | None:
    """Return the centre of the blob of pixels in the top tenth of the picture's range of brightness."""
    light = _brightness(picture)
    least, greatest = light.min(), light.max()
    return _blob(light > greatest - (greatest - least) / 10.0)


def darkest(env: Env, picture: Picture) -> float | None:
    """Return the centre of the blob of pixels in the bottom tenth of the picture's range of brightness."""
    light = _brightness(picture)
    least, greatest = light.min(), light.max()
    return _blob(light < least + (greatest - least) / 10.0)


def colour(color: tuple[float, ...], tolerance: float) -> Find:
    """Return a function that finds the blob of pixels within `tolerance` of `color` in every channel."""

    def find(env: Env, picture: Picture) -> float | None:
        channels = picture if picture.ndim == 3 else picture[..., None]
        mask = np.ones(channels.shape[:2], np.bool_)
        for channel, value in enumerate(color):
            plane = channels[..., channel]
            least, greatest = value - tolerance, value + tolerance
            if plane.dtype.kind != "f":  # NumPy compares integers with integers several times faster.
                least, greatest = math.ceil(least), math.floor(greatest)
            mask &= (plane >= least) & (plane <= greatest)
        return _blob(mask)

    return find


_BUILT_IN = {
    "cart": Locator("cart", cart, looks=False, needs_present=False),
    "centre": Locator("centre", centre, looks=False, needs_present=False),
    "brightest": Locator("brightest", brightest),
    "darkest": Locator("darkest", darkest),
}


def _brightness(picture: Picture) -> Picture:
    channels = picture if picture.ndim == 3 else picture[..., None]
    # Plane by plane: NumPy sums short last axes slowly.
    light = np.zeros(channels.shape[:2], np.result_type(picture.dtype, np.float32))
    for channel in range(channels.shape[2]):
        light += channels[..., channel]
    return light


def _blob(mask: Any) -> float | None:
    """Return the centre of mass of the run of columns that holds most of `mask` [H, W]; None if nothing stands out.

    What every column has (a track, the ground) is no blob: the least count of all columns is taken off each.
    """
    counts = mask.sum(axis=0)
    weights = counts - counts.min()
    filled = np.concatenate(([0], (weights > 0).astype(np.int8), [0]))
    begins, ends = np.flatnonzero(np.diff(filled) == 1), np.flatnonzero(np.diff(filled) == -1)
    if not len(begins):
        return None
    sums = np.concatenate(([0], np.cumsum(weights)))
    most = int(np.argmax(sums[ends] - sums[begins]))
    run = np.arange(begins[most], ends[most])
    # Column i reaches from i to i + 1, so its middle is at i + 1/2.
    return float((weights[run] * (run + 0.5)).sum() / weights[run].sum() / len(counts))


def _colour_locator(who: str, locator: Mapping[str, Any], channels: int) -> Locator:
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
    return Locator(f"color {list(color)}", colour(tuple(float(value) for value in color), float(tolerance)))


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
            f"{who}: the locator {reference!r} must be a callable (env, picture) -> fraction of the width or None, "
            f"got {came(found)}."
        )
    function: Find = found
    return function


def _require_cart(who: str, env: Env) -> None:
    missing = [name for name in ("x_threshold", "state") if not hasattr(env.unwrapped, name)]
    if missing:
        raise ValueError(
            f"{who}: the locator 'cart' reads state[0] and x_threshold, as CartPole has them, but {env.unwrapped} has "
            f"no {' and no '.join(missing)}. Use 'darkest', 'brightest', a color, or 'module:attr' of your own."
        )
