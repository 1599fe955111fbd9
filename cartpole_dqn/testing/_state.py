"""Copies and comparisons of states, and a watch on the global generators.

* `snapshot`: a copy of a state, as a checkpoint returns it.
* `difference`: the first place where two states, results or batches differ. `assert_same`: there is none.
* `kind_of`, `assert_kind`: dtype and shape of an array or a tensor. `assert_in_space`: an observation and its space.
* `global_randomness_untouched`: a block that must not use Python's, NumPy's or torch's global generators.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces


def snapshot(state: Any, place: str = "state") -> Any:
    """Return a copy that shares nothing with `state`.

    Raises:
        AssertionError: a checkpoint cannot hold it: see `cartpole_dqn.contracts.parts.State`.
    """
    if isinstance(state, dict):
        for key in state:
            assert isinstance(key, str | int), f"{place} has the key {key!r}: expected a string or an integer."
        return {key: snapshot(value, f"{place}[{key!r}]") for key, value in state.items()}
    if isinstance(state, list | tuple):
        copies = [snapshot(value, f"{place}[{i}]") for i, value in enumerate(state)]
        return copies if isinstance(state, list) else tuple(copies)
    if isinstance(state, torch.Tensor):
        return state.detach().clone()
    if isinstance(state, np.ndarray):
        assert state.dtype.kind in "biufc", f"{place} is an array of {state.dtype}: expected numbers."
        return state.copy()
    assert state is None or isinstance(state, bool | int | float | str | np.generic), (
        f"{place} is a {type(state).__name__}, which no checkpoint can hold: expected nested dicts and lists of "
        f"numbers, strings, None, NumPy arrays and tensors."
    )
    return state


def difference(left: Any, right: Any, place: str = "") -> str:
    """Return the first place where `left` and `right` differ in a bit, type or length, or "". NaN equals NaN."""
    label = place or "the value"
    if dataclasses.is_dataclass(left) and type(left) is type(right) and not isinstance(left, type):
        pairs = ((f.name, getattr(left, f.name), getattr(right, f.name)) for f in dataclasses.fields(left))
        return _first(difference(a, b, f"{place}.{name}") for name, a, b in pairs)
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        if left.keys() != right.keys():
            return f"{label} (keys {sorted(map(str, left.keys() ^ right.keys()))})"
        return _first(difference(left[key], right[key], f"{place}[{key!r}]") for key in left)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        if len(left) != len(right):
            return f"{label} (lengths {len(left)} and {len(right)})"
        return _first(difference(a, b, f"{place}[{i}]") for i, (a, b) in enumerate(zip(left, right, strict=True)))
    if isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor):
        if left.dtype != right.dtype or left.shape != right.shape:
            return label
        left, right = left.detach().cpu(), right.detach().cpu()
        return "" if bool(((left == right) | ((left != left) & (right != right))).all()) else label
    if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
        nan = bool(np.issubdtype(left.dtype, np.inexact))
        return "" if left.dtype == right.dtype and np.array_equal(left, right, equal_nan=nan) else label
    if isinstance(left, float) and isinstance(right, float) and math.isnan(left) and math.isnan(right):
        return ""
    return "" if type(left) is type(right) and left == right else f"{label} ({left!r} and {right!r})"


def assert_same(left: Any, right: Any, problem: str, place: str = "", *, hint: str = "") -> None:
    """Fail if there is a `difference`: with the `problem`, where it is, and a `hint`."""
    where = difference(left, right, place)
    assert not where, f"{problem}: {where}.{hint}"


def kind_of(value: Any) -> str:
    """Return "int64 [4]" of an array, "torch.int64 [4] on cpu" of a tensor, and the type of anything else."""
    if isinstance(value, torch.Tensor):
        return f"{value.dtype} {list(value.shape)} on {value.device.type}"
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, np.ndarray) else type(value).__name__


def assert_kind(value: Any, expected: str, who: str) -> None:
    """Fail unless `kind_of` says what is `expected`."""
    assert kind_of(value) == expected, f"{who}: expected {expected}, got {kind_of(value)}."


def assert_in_space(obs: Any, space: spaces.Space[Any], who: str) -> None:
    """Fail unless an observation fits its space exactly, dtype included."""
    if isinstance(space, spaces.Box):
        assert_kind(obs, f"{space.dtype} {list(space.shape)}", f"{who}, by its space")
        assert obs in space, (
            f"{who} goes from {obs.min()} to {obs.max()}: outside the space's bounds, {space.low.min()} to "
            f"{space.high.max()}."
        )
    assert obs in space, f"{who} ({kind_of(obs)}) is not in {space}."


@contextlib.contextmanager
def global_randomness_untouched(doing: str) -> Iterator[None]:
    """Fail if the block changes the state of a global generator."""
    before = _global_states()
    yield
    for name, state in _global_states().items():
        assert not difference(before[name], state), (
            f"{doing} moved the global random state of {name}: draw from a generator of context.seeds, or from the "
            f"generator argument."
        )


def _global_states() -> dict[str, Any]:
    states: dict[str, Any] = {
        "Python (random)": random.getstate(),
        "NumPy (np.random)": np.random.get_state(),  # noqa: NPY002  # the state to watch
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        states["torch.cuda"] = torch.cuda.get_rng_state()
    return states


def _first(places: Iterator[str]) -> str:
    return next((place for place in places if place), "")
