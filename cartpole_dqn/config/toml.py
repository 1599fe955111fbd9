"""TOML with bounded values: `load_toml`, `require_bounded`.

Python reads an integer of any length but refuses to print a long one, and cannot copy or compare what is nested deeply.
So such values are refused when they are read. This module imports quickly: shell completion waits for it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

_MOST_BITS = 128
"""Of an integer. A seed can use as many."""
_DEEPEST = 50
"""Levels of tables and lists."""


def load_toml(text: str) -> dict[str, Any]:
    """Parse TOML. Raises `ValueError` with the reason if it is invalid, or its values are not bounded."""
    try:
        table = tomllib.loads(text.removeprefix("\ufeff"))  # Some editors begin a file with a byte order mark.
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    require_bounded(table)
    return table


def require_bounded(value: Any, depth: int = 0) -> None:
    """Raise `ValueError` if an integer in `value` is too long, or `value` is nested too deeply."""
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise ValueError(f"it has an integer of more than {_MOST_BITS} bits")
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    if inner and depth == _DEEPEST:
        raise ValueError(f"it is nested more than {_DEEPEST} levels deep")
    for element in inner:
        require_bounded(element, depth + 1)
