"""Checks of the wrappers' arguments. Each error says which wrapper, what it expected and what it got.

* `whole_number`, `one_of`, `yes_or_no`: plain values.
* `length`, `span`: a size or a range on an axis, in pixels or as fractions.
* `plain`: an argument in a form that JSON can hold, for `env.spec`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np


def whole_number(who: str, name: str, value: Any, *, least: int) -> int:
    """Return `value` as an int of at least `least`; booleans don't count as numbers."""
    if not is_whole(value):
        raise TypeError(f"{who}: {name} must be a whole number, got {value_and_type(value)}.")
    if value < least:
        raise ValueError(f"{who}: {name} must be at least {least}, got {value}.")
    return int(value)


def yes_or_no(who: str, name: str, value: Any) -> bool:
    """Return `value` if it is a boolean."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{who}: {name} must be true or false, got {value_and_type(value)}.")
    return bool(value)


def one_of(who: str, name: str, value: Any, names: Iterable[str]) -> str:
    """Return `value` if it is one of `names`."""
    allowed = list(names)
    if not isinstance(value, str):
        raise TypeError(f"{who}: {name} must be one of {', '.join(allowed)}, got {value_and_type(value)}.")
    if value not in allowed:
        hint = nearest_name(value, allowed)
        raise ValueError(f"{who}: {name} must be one of {', '.join(allowed)}, got {value!r}.{hint}")
    return value


def nearest_name(value: str, names: Iterable[str]) -> str:
    """Return a hint at a known name close to `value`, or an empty string."""
    matches = difflib.get_close_matches(value, names, n=1)
    return f" Did you mean {matches[0]!r}?" if matches else ""


def length(who: str, name: str, value: Any, size: int) -> int:
    """Return a length in pixels. An int is in pixels, a float in (0, 1] is a fraction of `size`."""
    if is_whole(value):
        return whole_number(who, name, value, least=1)
    if not isinstance(value, float | np.floating):
        raise TypeError(
            f"{who}: {name} must be a whole number of pixels or a fraction such as 0.5, got {value_and_type(value)}."
        )
    if not 0.0 < value <= 1.0:
        raise ValueError(
            f"{who}: {name} as a fraction must be above 0.0 and at most 1.0, got {value}. "
            f"Write a whole number without a decimal point for pixels."
        )
    return max(1, round(float(value) * size))


def span(who: str, name: str, value: Any, size: int) -> slice:
    """Return [first, last) in pixels on an axis of `size`, with at least one pixel.

    Two ints are pixels, two floats are fractions of `size`, and None is the whole axis.
    """
    if value is None:
        return slice(0, size)
    expected = f"two whole numbers (pixels, 0 <= first < last <= {size}) or two fractions such as [0.4, 0.8]"
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise TypeError(f"{who}: {name} must be {expected}, got {value_and_type(value)}.")
    first, last = value
    if is_whole(first) and is_whole(last):
        if not 0 <= first < last <= size:
            raise ValueError(f"{who}: {name} must be {expected}; the picture has {size}, got {list(value)}.")
        return slice(int(first), int(last))
    if isinstance(first, float | np.floating) and isinstance(last, float | np.floating):
        if not 0.0 <= first < last <= 1.0:
            raise ValueError(f"{who}: {name} must be {expected}, got {list(value)}.")
        begin, end = round(first * size), round(last * size)
        if begin >= end:
            raise ValueError(f"{who}: {name} {list(value)} leaves none of {size} pixels; move them apart.")
        return slice(begin, end)
    raise TypeError(f"{who}: {name} must be {expected}, both of the same kind, got {list(value)}.")


def plain(value: Any) -> Any:
    """Return `value` with tuples as lists and NumPy scalars as Python numbers, for a spec in JSON."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple):
        return [plain(element) for element in value]
    if isinstance(value, Mapping):
        return {key: plain(element) for key, element in value.items()}
    return value


def is_whole(value: Any) -> bool:
    """Whether `value` is an integer and not a boolean."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether `value` is an integer or a float, and not a boolean."""
    return is_whole(value) or isinstance(value, float | np.floating)


def value_and_type(value: Any) -> str:
    """Return `value` and its type, for messages."""
    return f"{value!r} ({type(value).__name__})"
