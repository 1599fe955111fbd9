"""The kinds of frames that environments render, as bytes of red, green and blue."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]


def as_colours(drawn: Any) -> Frame | None:
    """Return a rendered frame as red, green and blue, without copying; None if it is not a frame of bytes."""
    if not isinstance(drawn, np.ndarray):
        drawn = _as_array(drawn)
    if drawn is None or drawn.dtype != np.uint8 or drawn.ndim not in (2, 3) or 0 in drawn.shape:
        return None
    channels = 1 if drawn.ndim == 2 else drawn.shape[2]
    if channels in (3, 4):
        frame: Frame = drawn[..., :3]
        return frame
    return np.broadcast_to(drawn.reshape(*drawn.shape[:2], 1), (*drawn.shape[:2], 3)) if channels == 1 else None


def kind_of(drawn: Any) -> str:
    """Return the dtype and shape of what was rendered, or its type."""
    if hasattr(drawn, "get_size"):
        return f"uint8 {[*reversed(drawn.get_size()), 3]}"
    array = _as_array(drawn)
    return type(drawn).__name__ if array is None else f"{array.dtype} {list(array.shape)}"


def remedy(drawn: Any) -> str:
    """Return what `render` should return instead."""
    if isinstance(drawn, list | tuple):
        return "the last frame of the list, as an array"
    array = _as_array(drawn)
    if array is None or array.ndim not in (2, 3) or 0 in array.shape:
        return "such an array"
    if array.ndim == 3 and array.shape[0] in (1, 3, 4) and array.shape[2] > 4:
        return "np.moveaxis(frame, 0, -1)"
    one = array.ndim == 3 and array.shape[2] not in (1, 3, 4)
    picture = "frame[..., 0]" if one else "frame"  # or another of its channels
    if array.dtype == np.uint8:
        return f"one of the channels, such as {picture}"
    if array.dtype.kind in "bf":
        return f"(255 * {picture}).astype(np.uint8), if its values are from 0 to 1"
    return f"{picture}.astype(np.uint8), if its values are from 0 to 255"


def mend(returned: str) -> str:
    """Return how to change an environment's frames."""
    return f"put a gymnasium.Wrapper around it whose render() returns {returned}."


def _as_array(drawn: Any) -> NDArray[Any] | None:
    """Return another library's array as NumPy's; None for lists and other objects."""
    if not (hasattr(drawn, "__array__") or hasattr(drawn, "__array_interface__")):
        return None
    try:
        return np.asarray(drawn)
    except Exception:  # For example a tensor on a GPU, whose library chooses the exception.
        return None
