"""`differences`: compares nested states to the bit."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import numpy as np
import torch


def differences(one: Any, other: Any, place: str = "state", *, ignored: Container[Any] = ()) -> list[str]:
    """Return the places in which two values differ in kind, order or bits, apart from the keys in `ignored`."""
    if type(one) is not type(other):
        return [f"{place} is a {type(one).__name__} and a {type(other).__name__}"]
    if isinstance(one, dict):
        if list(one) != list(other):
            return [f"{place} has {sorted(map(str, one.keys() ^ other.keys()))} in one of them only, or another order"]
        return [
            text
            for key in one
            if key not in ignored
            for text in differences(one[key], other[key], f"{place}/{key}", ignored=ignored)
        ]
    if isinstance(one, list | tuple):
        if len(one) != len(other):
            return [f"{place} has {len(one)} and {len(other)} entries"]
        pairs = enumerate(zip(one, other, strict=True))
        return [text for i, pair in pairs for text in differences(*pair, f"{place}/{i}", ignored=ignored)]
    return [] if _bits(one) == _bits(other) else [f"{place} differs"]


def _bits(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        whole = value.clone(memory_format=torch.contiguous_format).reshape(-1).view(torch.uint8)
        return value.dtype, value.shape, whole.numpy().tobytes()
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype, value.shape, value.tobytes()
    return value.hex() if isinstance(value, float) else value
