"""The kinds of frames that environments render, as bytes of red, green and blue."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]


def as_colours(rendered: Any) -> Frame | None:
    """Return a rendered frame as red, green and blue, without copying; None if it is not a frame of bytes."""
    if not isinstance(rendered, np.ndarray):
        rendered = _as_array(rendered)
    if rendered is None or rendered.dtype != np.uint8 or rendered.ndim not in (2, 3) or 0 in rendered.shape:
        return None
    channels = 1 if rendered.ndim == 2 else rendered.shape[2]
    if channels in (3, 4):
        frame: Frame = rendered[..., :3]
        return frame
    return (
        np.broadcast_to(rendered.reshape(*rendered.shape[:2], 1), (*rendered.shape[:2], 3)) if channels == 1 else None
    )


def kind_of(rendered: Any) -> str:
    """Return the dtype and shape of what was rendered, or its type."""
    if hasattr(rendered, "get_size"):
        return f"uint8 {[*reversed(rendered.get_size()), 3]}"
    array = _as_array(rendered)
    return type(rendered).__name__ if array is None else f"{array.dtype} {list(array.shape)}"


def remedy(rendered: Any) -> str:
    """Return what `render` should return instead."""
    if isinstance(rendered, list | tuple):
        return "the last frame of the list, as an array"
    array = _as_array(rendered)
    if array is None or array.ndim not in (2, 3) or 0 in array.shape:
        return "such an array"
    if array.ndim == 3 and array.shape[0] in (1, 3, 4) and array.shape[2] > 4:
        return "np.moveaxis(frame, 0, -1)"
    needs_channel = array.ndim == 3 and array.shape[2] not in (1, 3, 4)
    picture = "frame[..., 0]" if needs_channel else "frame"  # or another of its channels
    if array.dtype == np.uint8:
        return f"one of the channels, such as {picture}"
    if array.dtype.kind in "bf":
        return f"(255 * {picture}).astype(np.uint8), if its values are from 0 to 1"
    return f"{picture}.astype(np.uint8), if its values are from 0 to 255"


def mend(returned: str) -> str:
    """Return how to change an environment's frames."""
    return f"put a gymnasium.Wrapper around it whose render() returns {returned}."


def _as_array(rendered: Any) -> NDArray[Any] | None:
    """Return another library's array as NumPy's; None for lists and other objects."""
    if not (hasattr(rendered, "__array__") or hasattr(rendered, "__array_interface__")):
        return None
    try:
        return np.asarray(rendered)
    except Exception:  # For example a tensor on a GPU, whose library chooses the exception.
        return None
