"""Observations of any kind as arrays of numbers that a network can read.

* `NumericObservation`: the wrapper.
* `is_numeric`: whether a space needs it.
* `unreadable_parts`: what in a space no array of one shape can hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

_DTYPES = (np.uint8, np.int8, np.int16, np.int32, np.int64)
_PLAIN = (*_DTYPES, np.float16, np.float32)
_UNBOUNDED = 2**31 - 1
"""Integers that may be as large as this are counted as having no bound."""


class NumericObservation(gymnasium.ObservationWrapper[NDArray[Any], Any, Any], RecordConstructorArgs):
    """What the environment observes as one array: a `Box` in its own shape, anything else as a vector.

    The parts of tuples and dicts stand one after the other, in the order of `gymnasium.spaces.flatten`; a number out of
    a few (`Discrete`) becomes zeros with a one in its place. The dtype is the smallest integer that holds all parts,
    uint8 for zeros and ones, as long as they have the same bound. Else it is float32: integers are then divided by
    their own part's bound, so that none drowns beside another; floats, and integers without a bound, stay as they are.

    Args:
        env: its observations have one size.

    Raises:
        TypeError: they vary in size, or have parts that are no numbers.

    >>> NumericObservation(gymnasium.make("Blackjack-v1")).observation_space
    Box(0, 1, (45,), uint8)
    >>> env = NumericObservation(gymnasium.make("FrozenLake-v1"))
    >>> env.reset(seed=0)[0]
    array([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], dtype=uint8)
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        RecordConstructorArgs.__init__(self)
        gymnasium.ObservationWrapper.__init__(self, env)
        space = env.observation_space
        unreadable = unreadable_parts(space)
        if unreadable:
            raise TypeError(f"NumericObservation: expected numbers of a fixed size, but {', '.join(unreadable)}.")
        self._source = space
        parts = [_flat(part) for _, part in _leaves(space)]
        bounds = [_bound(part) for part in parts]
        low, high = (np.concatenate([getattr(part, side) for part in parts]) for side in ("low", "high"))
        self._divisor: NDArray[np.float64] | None = None
        self._dtype: Any = np.float32
        if None not in bounds and len(set(bounds)) == 1:
            self._dtype = next(dtype for dtype in _DTYPES if _holds(dtype, low, high))
        else:
            divisors = [np.full(part.shape, 1.0 if b is None else b) for part, b in zip(parts, bounds, strict=True)]
            self._divisor = np.concatenate(divisors)
            low, high = low / self._divisor, high / self._divisor
        shape = space.shape if isinstance(space, spaces.Box) and space.shape else low.shape
        with np.errstate(over="ignore"):  # a bound beyond float32 is none
            low, high = low.astype(self._dtype).reshape(shape), high.astype(self._dtype).reshape(shape)
        self.observation_space = spaces.Box(low, high, dtype=self._dtype)

    def observation(self, observation: Any) -> NDArray[Any]:
        """Return `observation` as one new array."""
        flat = np.asarray(spaces.flatten(self._source, observation))
        if self._divisor is not None:
            flat = flat / self._divisor
        with np.errstate(over="ignore"):
            return flat.astype(self._dtype).reshape(self.observation_space.shape)


def is_numeric(space: spaces.Space[Any]) -> bool:
    """Whether observations are arrays that networks can read as they are."""
    if not isinstance(space, spaces.Box) or not space.shape or space.dtype not in _PLAIN:
        return False
    return np.issubdtype(space.dtype, np.floating) or _bound(space) is not None


def unreadable_parts(space: spaces.Space[Any]) -> list[str]:
    """Say of each part that no array of one shape can hold what it is: ["mission is text"]."""
    found = []
    for place, part in _leaves(space):
        name = f"`{place}`" if place else "the observation"
        if isinstance(part, spaces.Text):
            found.append(f"{name} is text")
        elif isinstance(part, spaces.Sequence | spaces.Graph):
            found.append(f"{name} ({type(part).__name__}) varies in shape from step to step")
        elif not _is_flattenable(part):
            found.append(f"{name} ({type(part).__name__}) has no form as numbers")
    return found


def _leaves(space: spaces.Space[Any], place: str = "") -> Iterator[tuple[str, spaces.Space[Any]]]:
    """Yield the spaces that are no dict or tuple, each with its dotted place, in the order in which they flatten."""
    inner: Any = None
    if isinstance(space, spaces.Dict):
        inner = space.spaces.items()
    elif isinstance(space, spaces.Tuple):
        inner = enumerate(space.spaces)
    if inner is None:
        yield place, space
        return
    for key, part in inner:
        yield from _leaves(part, f"{place}.{key}" if place else str(key))


def _is_flattenable(space: spaces.Space[Any]) -> bool:
    try:
        return space.is_np_flattenable
    except NotImplementedError:
        return False


def _flat(space: spaces.Space[Any]) -> spaces.Box:
    flat = spaces.flatten_space(space)
    assert isinstance(flat, spaces.Box)  # of what is flattenable
    return flat


def _bound(space: spaces.Box) -> float | None:
    """Return the largest absolute value of integers, at least 1; None for floats and where there is no bound."""
    if np.issubdtype(space.dtype, np.floating) or not space.is_bounded("both"):
        return None
    bound = max(abs(int(space.low.min())), abs(int(space.high.max())), 1)
    return None if bound >= _UNBOUNDED else float(bound)


def _holds(dtype: Any, low: NDArray[Any], high: NDArray[Any]) -> bool:
    return bool(low.min() >= np.iinfo(dtype).min and high.max() <= np.iinfo(dtype).max)
