"""Observations of any space as arrays of numbers for a network.

* `NumericObservation`: the wrapper.
* `is_numeric`: whether a space works without it.
* `unreadable_parts`: the parts of a space that do not fit in an array.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

from cartpole_dqn.wrappers.moments import Moments

_DTYPES = (np.uint8, np.int8, np.int16, np.int32, np.int64)
_PLAIN = (*_DTYPES, np.float16, np.float32)
_UNBOUNDED = 2**31 - 1
"""Integers that can be as large as this count as unbounded."""


class NumericObservation(gymnasium.ObservationWrapper[NDArray[Any], Any, Any], RecordConstructorArgs):
    """Converts observations to one array: a `Box` keeps its shape, any other space becomes a vector.

    The parts of tuples and dicts are concatenated in the order of `gymnasium.spaces.flatten`. `Discrete` becomes
    one-hot. If all parts are integers with the same bound, the dtype is the smallest integer that holds them: uint8 for
    zeros and ones. Otherwise it is float32. Integers are then divided by their part's bound, so that all parts have the
    same scale; floats and unbounded integers stay.

    Args:
        env: its observations have a fixed size.

    Raises:
        TypeError: observations vary in size, or have parts that are not numbers.

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
        parts: list[Any] = [spaces.flatten_space(part) for _, part in _leaves(space)]
        bounds = [_bound(part) for part in parts]
        low, high = (np.concatenate([getattr(part, side) for part in parts]) for side in ("low", "high"))
        self._divisor: NDArray[np.float64] | None = None
        self._dtype: Any = np.float32
        if None not in bounds and len(set(bounds)) == 1:
            ranges = [(dtype, np.iinfo(dtype)) for dtype in _DTYPES]
            self._dtype = next(dtype for dtype, r in ranges if low.min() >= r.min and high.max() <= r.max)
        else:
            divisors = [np.full(part.shape, 1.0 if b is None else b) for part, b in zip(parts, bounds, strict=True)]
            self._divisor = np.concatenate(divisors)
            low, high = low / self._divisor, high / self._divisor
        shape = space.shape if isinstance(space, spaces.Box) and space.shape else low.shape
        with np.errstate(over="ignore"):  # a bound beyond float32 becomes infinite
            low, high = low.astype(self._dtype).reshape(shape), high.astype(self._dtype).reshape(shape)
        self.observation_space = spaces.Box(low, high, dtype=self._dtype)

    def observation(self, observation: Any) -> NDArray[Any]:
        """Return `observation` as one new array."""
        flat = np.asarray(spaces.flatten(self._source, observation))
        if self._divisor is not None:
            flat = flat / self._divisor
        with np.errstate(over="ignore"):
            return flat.astype(self._dtype).reshape(self.observation_space.shape)

    def as_torch(self, moments: Moments) -> Any:
        """See `cartpole_dqn.wrappers.moments`. Raises `NotImplementedError` unless the observations are a `Box`."""
        import torch

        if not isinstance(self._source, spaces.Box):
            raise NotImplementedError(f"it turns {self._source} into numbers")
        numbers = moments.observation().reshape(-1)
        if self._divisor is not None:
            numbers = numbers.double() / torch.from_numpy(self._divisor)
        dtype = torch.from_numpy(np.zeros(0, self._dtype)).dtype
        return numbers.to(dtype).reshape(self.observation_space.shape or ())


def is_numeric(space: spaces.Space[Any]) -> bool:
    """Whether networks can read the observations without a wrapper."""
    if not isinstance(space, spaces.Box) or not space.shape or space.dtype not in _PLAIN:
        return False
    return np.issubdtype(space.dtype, np.floating) or _bound(space) is not None


def unreadable_parts(space: spaces.Space[Any]) -> list[str]:
    """Describe each part that does not fit in an array: ["`mission` is text"]."""
    problems = []
    for place, part in _leaves(space):
        name = f"`{place}`" if place else "the observation"
        if isinstance(part, spaces.Text):
            problems.append(f"{name} is text")
        elif isinstance(part, spaces.Sequence | spaces.Graph):
            problems.append(f"{name} ({type(part).__name__}) varies in shape from step to step")
        elif not _is_flattenable(part):
            problems.append(f"{name} ({type(part).__name__}) has no form as numbers")
    return problems


def _leaves(space: spaces.Space[Any], place: str = "") -> Iterator[tuple[str, spaces.Space[Any]]]:
    """Yield the spaces inside dicts and tuples, each with its dotted place, in the order in which they flatten."""
    if isinstance(space, spaces.Dict | spaces.Tuple):
        inner: Any = space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces)
        for key, part in inner:
            yield from _leaves(part, f"{place}.{key}" if place else str(key))
    else:
        yield place, space


def _is_flattenable(space: spaces.Space[Any]) -> bool:
    try:
        return space.is_np_flattenable
    except NotImplementedError:
        return False


def _bound(space: spaces.Box) -> float | None:
    """Return the largest absolute value of integers, at least 1; None for floats and unbounded integers."""
    if np.issubdtype(space.dtype, np.floating) or not space.is_bounded("both"):
        return None
    bound = max(abs(int(space.low.min())), abs(int(space.high.max())), 1)
    return None if bound >= _UNBOUNDED else float(bound)
