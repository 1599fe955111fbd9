from __future__ import annotations

import json
import math
import warnings
from collections import OrderedDict, namedtuple
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bits import differences
from cartpole_dqn.errors import CheckpointError
from cartpole_dqn.runs.state_tree import MAX_DEPTH, bytes_of, find_not_finite, pack, unpack
from cartpole_dqn.runs.tensors import CODES

Point = namedtuple("Point", "x")
DTYPES = ["?", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8", "c8"]


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    dtype = draw(st.sampled_from(list(CODES)))
    size = math.prod(shape) * dtype.itemsize
    data = draw(st.binary(min_size=size, max_size=size))
    if dtype is torch.bool:
        data = bytes(byte & 1 for byte in data)
    flat = torch.frombuffer(bytearray(data), dtype=dtype) if size else torch.empty(0, dtype=dtype)
    tensor = flat.reshape(shape)
    tensor = tensor.transpose(0, 1) if len(shape) > 1 and draw(st.booleans()) else tensor
    return tensor[..., :: draw(st.integers(1, 3))] if shape else tensor


arrays = st.sampled_from(DTYPES).flatmap(lambda d: hnp.arrays(d, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0)))
scalars = st.sampled_from(DTYPES).flatmap(lambda d: hnp.arrays(d, ())).map(lambda a: a[()])
plain = st.none() | st.booleans() | st.integers() | st.integers(0, 2**128) | st.floats() | st.text(max_size=8)
keys = st.text(max_size=4) | st.integers() | st.sampled_from(["$", "$tuple", "__metadata__", "a/b", "../x"])
states = st.dictionaries(
    keys,
    st.recursive(
        plain | scalars | arrays | tensors(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.lists(inner, max_size=3).map(tuple)
            | st.dictionaries(keys, inner, max_size=3)
        ),
        max_leaves=8,
    ),
    max_size=4,
)


def test_differences_are_found() -> None:
    assert differences({"a": [1, (2.0, np.int8(3))]}, {"a": [1, (2.0, np.int8(3))]}) == []
    for a, b in [(1, 1.0), (0.0, -0.0), ([1], (1,)), (np.int8(1), np.int16(1)), ({1: 2}, {"1": 2}), (True, 1)]:
        assert differences({"x": a}, {"x": b})
    assert differences(torch.zeros(2), torch.zeros(2, 1))


def assert_same(a: Any, b: Any) -> None:
    assert differences(a, b) == []


@given(states)
def test_a_state_comes_back_as_it_was(state: dict[str, Any]) -> None:
    tree, parts = pack(state)
    text = json.dumps(tree, allow_nan=False)
    assert_same(unpack(json.loads(text), parts), state)


def test_numbers_keep_every_digit() -> None:
    state = {"pcg": np.random.PCG64(3).state, "long": -(3**2_000), "tiny": 5e-324, "third": 1 / 3, "minus": -0.0}
    tree, _ = pack(state)
    assert_same(unpack(json.loads(json.dumps(tree)), {}), state)


def test_arrays_that_torch_cannot_view_are_copied() -> None:
    frozen = np.arange(4)
    frozen.flags.writeable = False
    state = {"frozen": frozen, "reversed": np.arange(4)[::-1], "every other": np.arange(9)[::2], "0-d": np.array(2.5)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tree, parts = pack(state)
    assert_same(unpack(tree, parts), state)


def test_gradients_and_other_dict_classes_are_left_behind() -> None:
    module = torch.nn.Linear(2, 1)
    tree, parts = pack({"module": module.state_dict(), "weight": module.weight, "ordered": OrderedDict(b=1, a=2)})
    state = unpack(tree, parts)
    assert type(state["module"]) is dict
    assert not state["weight"].requires_grad
    assert list(state["ordered"]) == ["b", "a"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (object(), r"state\['a'\]\[1\] is a builtins.object"),
        ({1, 2}, "builtins.set"),
        (Point(1), "Point"),
        (torch.float32, "torch.dtype"),
        (np.array(["text"]), "<U4"),
        (np.array([1.0], dtype=">f8"), ">f8"),
        (np.longdouble(1), "longdouble"),
        (np.ma.masked_array([1]), "MaskedArray"),
        (torch.zeros(2, dtype=torch.complex128), "complex128"),
        (torch.zeros(2).to_sparse(), "sparse"),
        (torch.zeros(2, device="meta"), "meta"),
        ({(1, 2): 3}, "key"),
        ({None: 3}, "key None"),
        (1 << 4096, "builtins.int"),
    ],
)
def test_anything_else_is_refused_with_its_place(value: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        pack({"a": [0, value]})


def test_a_state_is_a_dict() -> None:
    with pytest.raises(TypeError, match="expected a state as a dict, got a list"):
        pack([1])  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="expected a state as a table, got a list"):
        unpack([1], {})


def test_endless_nesting_is_refused_and_the_deepest_state_survives_json() -> None:
    loop: dict[str, Any] = {}
    loop["again"] = loop
    with pytest.raises(TypeError, match="contains itself"):
        pack(loop)
    tree: Any = 1
    for _ in range(MAX_DEPTH + 1):
        tree = [tree]
    with pytest.raises(CheckpointError, match="nested deeper"):
        unpack({"a": tree}, {})
    deep: Any = 1
    for _ in range(MAX_DEPTH - 1):
        deep = {1: deep}
    state = {"a": deep}
    assert_same(unpack(json.loads(json.dumps(pack(state)[0])), {}), state)


ONE = {"x": {"$tensor": "x", "dtype": "F32", "shape": [2]}}


@pytest.mark.parametrize(
    "tree",
    [
        {"x": {"$nothing": 1}},
        *({"x": {"$dict": value}} for value in ({}, [[1]], [[1, 2], [1, 3]], [[[1], 3]], [[True, 3]])),
        *({"x": {"$float": value}} for value in ("1.5", ["inf"])),
        {"x": {"$scalar": "float64", "bytes": "00"}},
        {"x": {"$scalar": "object", "bytes": "0000000000000000"}},
        {"x": float("nan")},
        {"x": {"$tensor": "y", "dtype": "F32", "shape": [2]}},
        {"x": {"$tensor": "x", "dtype": "F64", "shape": [2]}},
        {"x": {"$tensor": "x", "dtype": "F32", "shape": [1, 2]}},
        {"x": ONE["x"], "y": ONE["x"]},
        {},
    ],
)
def test_a_tree_that_pack_never_makes_is_refused(tree: Any) -> None:
    with pytest.raises(CheckpointError):
        unpack(tree, {"x": torch.zeros(2)})
    assert_same(unpack(ONE, {"x": torch.zeros(2)}), {"x": torch.zeros(2)})
    with pytest.raises(CheckpointError, match="NumPy lacks"):
        unpack({"x": {"$array": "x", "dtype": "BF16", "shape": [2]}}, {"x": torch.zeros(2, dtype=torch.bfloat16)})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_tensor_that_is_not_finite_is_found_wherever_it_is(value: float, dtype: torch.dtype) -> None:
    sound = {"w": torch.ones(3, dtype=dtype), "n": torch.arange(3), "deep": [{"b": (torch.zeros(0), math.nan)}]}
    assert find_not_finite(sound) is None
    assert find_not_finite({**sound, "array": np.array([value]), "number": value}) is None
    bad = torch.ones(2, 2, dtype=dtype)
    bad[1, 0] = value
    assert find_not_finite({**sound, "more": {0: [bad]}}) == "state['more'][0][0]"


def test_the_bytes_of_a_state_are_those_of_its_arrays_and_tensors() -> None:
    assert bytes_of({}) == 0
    state = {"a": np.zeros((2, 3), np.int16), "b": [torch.zeros(5), {"c": np.float64(1)}], "d": "text", "e": 7}
    assert bytes_of(state) == 12 + 20
