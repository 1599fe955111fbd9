"""Nested states as JSON and tensors, and back.

* `pack`: a state -> (tree, tensors). `unpack`: (tree, tensors) -> the state.
* `find_not_finite`: the place of a tensor with NaN or infinity. `bytes_of`: total size of arrays and tensors.

A state holds nested dicts (string or integer keys), lists and tuples of strings, numbers, booleans, None, NumPy arrays
and scalars, and tensors. In the tree, an object whose key begins with "$" stands for what JSON lacks:

    {"$tuple": [...]}                                        {"$dict": [[key, value], ...]}
    {"$float": "inf" | "-inf" | "nan"}
    {"$tensor": name, "dtype": "F32", "shape": [2, 3]}       {"$array": name, "dtype": "U8", "shape": []}
    {"$scalar": "float64", "bytes": "000000000000f03f"}
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cartpole_dqn.contracts.parts import State
from cartpole_dqn.errors import CheckpointError
from cartpole_dqn.runs.tensors import CODES, MAX_DIMS

Place = tuple[str | int, ...]

MAX_DEPTH = 64
"""Maximum nesting, in both directions."""

_LONGEST_INT = 4096
"""Bits. Python refuses to parse decimal integers of more than 4,300 digits."""
_FLOATS = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}
_NOT_IN_NUMPY = ("BF16", "F8_E4M3", "F8_E5M2")
_ARRAYS = {np.dtype(str(d).removeprefix("torch.")) for d, code in CODES.items() if code not in _NOT_IN_NUMPY}
_SCALARS = {dtype.name: dtype for dtype in _ARRAYS}


def pack(state: State) -> tuple[Any, dict[str, Tensor]]:
    """Return `state` as a tree for JSON and the tensors in it, which share memory with the state.

    Numbers keep their type and every bit, arrays and tensors their dtype and shape. Device, strides and shared memory
    are not kept. Dict subclasses come back as plain dicts.

    Raises:
        TypeError: the state holds something else; the message names its place.
    """
    if not isinstance(state, dict):
        raise TypeError(f"expected a state as a dict, got a {type(state).__name__}.")
    packer = _Packer()
    return packer.pack(state, ()), packer.tensors


def unpack(tree: Any, tensors: dict[str, Tensor]) -> State:
    """Return the state that `pack` took apart; arrays share memory with `tensors`.

    Raises:
        CheckpointError: `pack` never makes such a tree, or it does not fit the tensors.
    """
    unpacker = _Unpacker(tensors)
    state = unpacker.unpack(tree, ())
    if not isinstance(state, dict):
        raise CheckpointError(f"expected a state as a table, got a {type(state).__name__}.")
    if unpacker.tensors:
        raise CheckpointError(f"no place in the tree names the tensor {min(unpacker.tensors)[:100]!r}.")
    return state


def find_not_finite(state: State) -> str | None:
    """Return the place of the first tensor with NaN or infinity. Arrays and numbers may hold them."""
    for place, value in _leaves(state):
        if isinstance(value, Tensor) and value.is_floating_point() and not bool(torch.isfinite(value).all()):
            return _place(place)
    return None


def bytes_of(state: State) -> int:
    """Return the total size of the arrays and tensors in `state`, in bytes."""
    return sum(value.nbytes for _, value in _leaves(state) if isinstance(value, Tensor | np.ndarray))


def _leaves(value: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    if isinstance(value, dict | list | tuple):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(item, (*place, key))
    else:
        yield place, value


class _Packer:
    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}

    def pack(self, value: Any, path: Place) -> Any:
        if len(path) > MAX_DEPTH:
            raise TypeError(f"{_place(path[:4])}... is nested deeper than {MAX_DEPTH} levels, or contains itself.")
        kind = type(value)
        if value is None or kind is bool or kind is str:
            return value
        if kind is int and value.bit_length() <= _LONGEST_INT:
            return value
        if kind is float:
            return value if math.isfinite(value) else {"$float": str(value)}
        if kind is list:
            return [self.pack(item, (*path, i)) for i, item in enumerate(value)]
        if kind is tuple:
            return {"$tuple": [self.pack(item, (*path, i)) for i, item in enumerate(value)]}
        if isinstance(value, dict):
            return self._dict(value, path)
        if isinstance(value, Tensor):
            return self._tensor(value, path)
        if isinstance(value, np.ndarray):
            return self._array(value, path)
        if isinstance(value, np.generic) and value.dtype in _ARRAYS:
            return {"$scalar": value.dtype.name, "bytes": value.tobytes().hex()}
        raise TypeError(f"{_place(path)} is a {kind.__module__}.{kind.__qualname__}, which a checkpoint cannot hold.")

    def _dict(self, value: dict[Any, Any], path: Place) -> Any:
        for key in value:
            if type(key) not in (str, int):
                raise TypeError(
                    f"{_place(path)} has the key {key!r}, a {type(key).__name__}; a checkpoint holds str and int keys."
                )
        if all(isinstance(key, str) and not key.startswith("$") for key in value):
            return {key: self.pack(item, (*path, key)) for key, item in value.items()}
        return {"$dict": [[self.pack(key, path), self.pack(item, (*path, key))] for key, item in value.items()]}

    def _tensor(self, value: Tensor, path: Place) -> Any:
        plain = value.layout is torch.strided and not value.is_quantized and value.device.type != "meta"
        if not plain or value.dtype not in CODES or value.dim() > MAX_DIMS:
            raise TypeError(
                f"{_place(path)} is a {value.dtype} tensor with {value.dim()} dimensions ({value.layout}, "
                f"{value.device.type}), which safetensors cannot hold."
            )
        return self._keep("$tensor", value.detach(), path)

    def _array(self, value: np.ndarray[Any, Any], path: Place) -> Any:
        if value.dtype not in _ARRAYS or not value.dtype.isnative or type(value) is not np.ndarray:
            raise TypeError(f"{_place(path)} is a {type(value).__name__} of {value.dtype}, which safetensors lacks.")
        if value.ndim > MAX_DIMS:
            raise TypeError(f"{_place(path)} has {value.ndim} dimensions; a checkpoint holds up to {MAX_DIMS}.")
        # torch supports neither negative or odd strides nor read-only memory.
        if not value.flags.c_contiguous or not value.flags.writeable or not value.flags.aligned:
            value = value.copy(order="C")
        return self._keep("$array", torch.from_numpy(value), path)

    def _keep(self, tag: str, tensor: Tensor, path: Place) -> Any:
        stem = name = re.sub(r"[^\w.-]", "_", ".".join(map(str, path)), flags=re.ASCII)[:200]
        count = 1
        while name in self.tensors or name == "__metadata__":
            count += 1
            name = f"{stem}~{count}"
        self.tensors[name] = tensor
        return {tag: name, "dtype": CODES[tensor.dtype], "shape": list(tensor.shape)}


class _Unpacker:
    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.tensors = dict(tensors)

    def unpack(self, node: Any, path: Place) -> Any:
        if len(path) > MAX_DEPTH:
            raise CheckpointError(f"{_place(path[:4])}... is nested deeper than {MAX_DEPTH} levels.")
        if isinstance(node, list):
            return [self.unpack(item, (*path, i)) for i, item in enumerate(node)]
        if not isinstance(node, dict):
            if node is None or isinstance(node, str | int) or (isinstance(node, float) and math.isfinite(node)):
                return node
            raise CheckpointError(f"{_place(path)} is the number {node}, which a state stores differently.")
        marks = [key for key in node if key.startswith("$")]
        if not marks:
            return {key: self.unpack(item, (*path, key)) for key, item in node.items()}
        match node:
            case {"$tuple": list(items)} if len(node) == 1:
                return tuple(self.unpack(items, path))
            case {"$dict": list(pairs)} if len(node) == 1:
                return self._dict(pairs, path)
            case {"$float": str(text)} if len(node) == 1 and text in _FLOATS:
                return _FLOATS[text]
            case {"$scalar": str(name), "bytes": str(text)} if len(node) == 2:
                return self._scalar(name, text, path)
            case {"$tensor": str(name), "dtype": dtype, "shape": shape} if len(node) == 3:
                return self._take(name, dtype, shape, path)
            case {"$array": str(name), "dtype": dtype, "shape": shape} if len(node) == 3:
                return self._array(self._take(name, dtype, shape, path), path)
        raise CheckpointError(f"{_place(path)} has the mark {marks[0][:100]!r} in a form that no state has.")

    def _dict(self, pairs: list[Any], path: Place) -> dict[str | int, Any]:
        result: dict[str | int, Any] = {}
        for pair in pairs:
            if not isinstance(pair, list) or len(pair) != 2:
                raise CheckpointError(f"{_place(path)} has an entry that is not a pair of key and value.")
            key = self.unpack(pair[0], path)
            if type(key) not in (str, int) or key in result:
                raise CheckpointError(f"{_place(path)} has a key that is not a string or integer, or a duplicate one.")
            result[key] = self.unpack(pair[1], (*path, key))
        return result

    def _scalar(self, name: str, text: str, path: Place) -> Any:
        dtype = _SCALARS.get(name)
        if dtype is None or not re.fullmatch(r"[0-9a-f]*", text, flags=re.ASCII) or len(text) != 2 * dtype.itemsize:
            raise CheckpointError(f"{_place(path)} is not a NumPy scalar of a known dtype.")
        return np.frombuffer(bytes.fromhex(text), dtype)[0]

    def _array(self, tensor: Tensor, path: Place) -> Any:
        if CODES[tensor.dtype] in _NOT_IN_NUMPY:
            raise CheckpointError(f"{_place(path)} is an array of {tensor.dtype}, which NumPy lacks.")
        return tensor.numpy()

    def _take(self, name: str, dtype: Any, shape: Any, path: Place) -> Tensor:
        tensor = self.tensors.pop(name, None)
        if tensor is None:
            raise CheckpointError(f"{_place(path)} names a tensor that is missing from the file or was used before.")
        actual = CODES.get(tensor.dtype), list(tensor.shape)
        if actual != (dtype, shape):
            raise CheckpointError(f"{_place(path)} does not fit its tensor, which is {actual[0]} {actual[1]}.")
        return tensor


def _place(path: Place) -> str:
    return "state" + "".join(f"[{repr(key)[:100]}]" for key in path)
