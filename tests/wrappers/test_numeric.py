from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from cartpole_dqn.testing import check_wrapper
from cartpole_dqn.wrappers.numeric import NumericObservation, is_numeric, unreadable_parts


class Shows(gymnasium.Env[Any, Any]):
    """Observes a space, whatever one does."""

    action_space = spaces.Discrete(2)
    render_mode = None

    def __init__(self, space: spaces.Space[Any]) -> None:
        self.observation_space = space

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}


class Riddle(spaces.Space[Any]):
    """Something that Gymnasium cannot flatten."""


def boxes() -> st.SearchStrategy[spaces.Box]:
    def box(kind: tuple[Any, float, float], shape: tuple[int, ...]) -> spaces.Box:
        dtype, low, high = kind
        return spaces.Box(low, high, shape, dtype)

    kinds = [
        (np.uint8, 0, 255),
        (np.uint8, 0, 10),
        (np.int16, -300, 20),
        (np.int64, -np.inf, np.inf),
        (np.float32, -1, 1),
        (np.float64, -np.inf, np.inf),
    ]
    return st.builds(box, st.sampled_from(kinds), st.sampled_from([(), (2,), (2, 3)]))


def plain_spaces() -> st.SearchStrategy[spaces.Space[Any]]:
    sizes = st.integers(1, 4)
    leaves = (
        boxes()
        | st.builds(lambda n, start: spaces.Discrete(n, start=start), sizes, st.integers(-2, 2))
        | st.builds(spaces.MultiDiscrete, st.lists(sizes, min_size=1, max_size=3))
        | st.builds(spaces.MultiBinary, sizes)
    )
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, min_size=1, max_size=3).map(spaces.Tuple)
            | st.dictionaries(st.sampled_from("cab"), inner, min_size=1).map(spaces.Dict)
        ),
        max_leaves=5,
    )


def slowly(space: spaces.Space[Any], value: Any) -> list[tuple[float, float | None]]:
    """(number, bound of its part) one by one; None for floats and what has no bound."""
    if isinstance(space, spaces.Dict):
        return [pair for key in space.spaces for pair in slowly(space.spaces[key], value[key])]
    if isinstance(space, spaces.Tuple):
        return [pair for part, v in zip(space.spaces, value, strict=True) for pair in slowly(part, v)]
    if isinstance(space, spaces.Discrete):
        return [(float(i == value - space.start), 1.0) for i in range(int(space.n))]
    if isinstance(space, spaces.MultiDiscrete):
        return [(float(i == v), 1.0) for n, v in zip(space.nvec, value, strict=True) for i in range(int(n))]
    numbers = np.asarray(value).reshape(-1).tolist()
    if isinstance(space, spaces.MultiBinary):
        return [(float(v), 1.0) for v in numbers]
    assert isinstance(space, spaces.Box)
    bounded = np.issubdtype(space.dtype, np.integer) and space.is_bounded("both")
    bound = float(max(1, abs(int(space.low.min())), abs(int(space.high.max())))) if bounded else None
    return [(float(v), bound) for v in numbers]


@given(plain_spaces(), st.integers(0, 1000))
def test_it_says_what_a_slow_walk_says(space: spaces.Space[Any], seed: int) -> None:
    env = NumericObservation(Shows(space))
    raw, _ = Shows(space).reset(seed=seed)
    obs, _ = env.reset(seed=seed)
    expected = slowly(space, raw)
    bounds = {bound for _, bound in expected}
    whole = len(bounds) == 1 and None not in bounds
    numbers = [value if whole or bound is None else value / bound for value, bound in expected]
    assert obs.dtype == env.observation_space.dtype
    assert np.issubdtype(obs.dtype, np.integer) == whole
    assert np.array_equal(obs.reshape(-1), np.array(numbers).astype(obs.dtype))
    assert obs in env.observation_space
    assert is_numeric(env.observation_space)
    if isinstance(space, spaces.Box) and space.shape:
        assert obs.shape == space.shape


@pytest.mark.parametrize(
    ("space", "dtype", "shape"),
    [
        (spaces.Discrete(500), np.uint8, (500,)),
        (spaces.Tuple((spaces.Discrete(32), spaces.Discrete(11), spaces.Discrete(2))), np.uint8, (45,)),
        (spaces.Box(0, 60_000, (2, 2), np.uint16), np.int32, (2, 2)),
        (spaces.Box(-300, 20, (), np.int64), np.int16, (1,)),
        (spaces.Box(-np.inf, np.inf, (4,), np.float64), np.float32, (4,)),
        (spaces.Box(-np.inf, np.inf, (4,), np.int64), np.float32, (4,)),
    ],
)
def test_dtypes_are_small(space: spaces.Space[Any], dtype: Any, shape: tuple[int, ...]) -> None:
    found = NumericObservation(Shows(space)).observation_space
    assert (found.dtype, found.shape) == (dtype, shape)


def test_what_is_no_number_is_named() -> None:
    inside = spaces.Dict(name=spaces.Text(5), all=spaces.Sequence(spaces.Discrete(3)), riddle=Riddle())
    space = spaces.Tuple((spaces.Discrete(3), inside))
    wrong = ["`1.all` (Sequence) varies in shape from step to step", "`1.name` is text"]
    wrong.append("`1.riddle` (Riddle) has no form as numbers")
    assert sorted(unreadable_parts(space)) == wrong
    assert unreadable_parts(spaces.Text(5)) == ["the observation is text"]
    with pytest.raises(TypeError, match="is text"):
        NumericObservation(Shows(space))


def test_the_contract_of_wrappers() -> None:
    def blackjack() -> gymnasium.Env[Any, Any]:
        return NumericObservation(gymnasium.make("Blackjack-v1"))

    check_wrapper(blackjack)
    check_wrapper(NumericObservation)
