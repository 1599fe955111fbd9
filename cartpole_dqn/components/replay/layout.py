"""The arrays of a `TransitionRing`, and checks of what goes into them.

* `layout`: their names, shapes and dtypes.
* `check_obs`, `check_mask`: check parts of a transition.
* `check_state`: checks a whole saved state before a ring restores any of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from cartpole_dqn.contracts.parts import Obs, State

Form = tuple[tuple[int, ...], np.dtype[Any]]
"""Shape and dtype."""

FORBIDDEN = "forbidden"
"""Name of the array [slots, A] bool of forbidden actions. A ring creates it when it stores the first mask.

Zeros allow everything, and take no memory until they are written.
"""


def layout(space: spaces.Box, capacity: int, num_envs: int, n_step: int, frame_stack: int = 1) -> dict[str, Form]:
    """Return the shapes and dtypes of a ring's arrays; raise `ValueError` if the arguments don't fit."""
    if not isinstance(space, spaces.Box):
        raise ValueError(f"TransitionRing stores observations of a Box space, got {space}.")
    if num_envs < 1 or n_step < 1:
        raise ValueError(f"TransitionRing needs num_envs and n_step of 1 or more, got {num_envs} and {n_step}.")
    stacked = frame_stack != 1
    if stacked and not (frame_stack > 1 and len(space.shape) > 1 and space.shape[0] == frame_stack):
        raise ValueError(
            f"TransitionRing expected observations [{frame_stack}, ...] for a frame_stack of {frame_stack}, got "
            f"{list(space.shape)}."
        )
    # One valid transition with its frames, the end of its episode, and an episode whose first return is not complete
    # yet: its first frames and n_step - 1 more. With fewer slots, a ring could lose its only valid transition.
    least = n_step + 2 * frame_stack
    if capacity // num_envs < least:
        raise ValueError(
            f"a capacity of {capacity} slots gives each of {num_envs} lanes {capacity // num_envs}, but {n_step}-step "
            f"returns{f' of {frame_stack} frames' if stacked else ''} need {least} or more: set a capacity of at least "
            f"{least * num_envs}."
        )
    dtype = np.dtype(space.dtype)
    try:
        torch.from_numpy(np.zeros(0, dtype))
    except (TypeError, ValueError):
        raise ValueError(f"TransitionRing: torch has no tensors of dtype {dtype}; convert the observations.") from None
    slots = capacity // num_envs * num_envs
    int64, float32 = np.dtype(np.int64), np.dtype(np.float32)
    return {
        "obs": ((slots, *space.shape[1 if stacked else 0 :]), dtype),
        "actions": ((slots,), int64),
        "rewards": ((slots,), float32),
        "discounts": ((slots,), float32),
        "next_slots": ((slots,), int64),
        "stamps": ((slots,), int64),
        "queue": ((slots,), int64),
    }


def check_obs(obs: Obs, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Raise `ValueError` unless `obs` is an array of this shape and dtype."""
    if not isinstance(obs, np.ndarray) or obs.shape != shape or obs.dtype != dtype:
        actual = f"{obs.dtype} {list(obs.shape)}" if isinstance(obs, np.ndarray) else type(obs).__name__
        raise ValueError(f"TransitionRing expected {name} {dtype} {list(shape)}, got {actual}.")


def check_mask(mask: NDArray[np.bool_], forbidden: NDArray[np.bool_] | None) -> None:
    """Raise `ValueError` unless `mask` is [A] bool, with as many actions as `forbidden` [slots, A] if that exists."""
    is_array = isinstance(mask, np.ndarray)
    expected = None if forbidden is None else forbidden.shape[1:]
    if not is_array or mask.dtype != np.bool_ or mask.ndim != 1 or expected not in (None, mask.shape):
        actual = f"{mask.dtype} {list(mask.shape)}" if is_array else type(mask).__name__
        form = "[A]" if expected is None else list(expected)
        raise ValueError(f"TransitionRing expected next_mask bool {form}, got {actual}.")


def check_state(state: State, own: Mapping[str, float], arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the arrays of a saved state, or raise a `ValueError` that says why this ring cannot restore them.

    Args:
        state: what `TransitionRing.state_dict` returned.
        own: the ring's num_envs, capacity, n_step, gamma and frame_stack.
        arrays: the ring's arrays by name, with `FORBIDDEN` if the ring has it.
    """
    for name, value in own.items():
        # Older versions had no frame_stack: they stored whole observations.
        actual = state.get(name, 1 if name == "frame_stack" else None)
        if actual != value:
            raise ValueError(
                f"TransitionRing: the saved state has {name} {actual}, this ring {value}. Build the ring as it was "
                f"when the state was saved."
            )
    lanes, capacity, stack = int(own["num_envs"]), int(own["capacity"]), int(own["frame_stack"])
    _check_lanes(state, lanes, int(own["n_step"]), stack)
    most = min(max(state["numbers"]), capacity // lanes)
    saved = {name: np.asarray(array) for name, array in state["arrays"].items()}
    if saved.keys() - {FORBIDDEN} != arrays.keys() - {"queue", FORBIDDEN}:
        raise _damaged(f"has the arrays {sorted(saved)}")
    for name, array in saved.items():
        if name == FORBIDDEN and FORBIDDEN not in arrays:
            shape, dtype = (lanes, most, *(array.shape[2:3] or (1,))), np.dtype(np.bool_)
        else:
            shape, dtype = (lanes, most, *arrays[name].shape[1:]), arrays[name].dtype
        if array.shape != shape or array.dtype != dtype:
            raise ValueError(
                f"TransitionRing: the saved array {name} should be {dtype} {list(shape)}, but is {array.dtype} "
                f"{list(array.shape)}. It was saved with other observations, or is damaged."
            )
    _check_stamps(saved["stamps"], saved["next_slots"], state["numbers"], capacity, stack)
    return saved


def _check_lanes(state: State, lanes: int, n_step: int, stack: int) -> None:
    parts = [state.get(name) for name in ("numbers", "open", "pending")]
    if not all(isinstance(part, list) and len(part) == lanes for part in parts) or "arrays" not in state:
        raise _damaged(f"lacks numbers, open and pending of {lanes} lanes, or its arrays")
    for number, is_open, pending in zip(*parts, strict=True):
        most = min(n_step - 1, number - stack) if is_open else 0
        if number < 0 or (is_open and number <= stack) or len(pending) > most:
            raise _damaged(f"has a lane at slot {number} with {len(pending)} incomplete transitions")


def _check_stamps(
    stamps: NDArray[np.int64], next_slots: NDArray[np.int64], numbers: list[int], capacity: int, stack: int
) -> None:
    """Raise `ValueError` unless each index in `stamps` is of its slot's lane, complete and still held."""
    count = len(numbers)
    length = capacity // count
    lanes, places = np.nonzero(stamps >= 0)
    index_lanes, indices = stamps[lanes, places] % count, stamps[lanes, places] // count
    newest = np.asarray(numbers, np.int64)[lanes] - 1
    sound = (index_lanes == lanes) & (indices % length == places)
    sound &= (indices < newest) & (indices - stack >= newest - length) & (next_slots[lanes, places] // length == lanes)
    if not sound.all():
        raise _damaged("names transitions that it cannot hold")


def _damaged(problem: str) -> ValueError:
    return ValueError(f"TransitionRing: the saved state {problem}; it is damaged.")
