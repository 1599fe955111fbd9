"""`FrameDifference` against subtraction written out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartpole_dqn.wrappers import FrameDifference


def expected(pictures: list[Any], gap: int, keep_current: bool, encoding: str, channelled: bool) -> Any:
    """What one episode's pictures give at its last one, in plain Python numbers."""
    now, before = pictures[-1], pictures[max(0, len(pictures) - 1 - gap)]
    difference = np.empty(now.shape, now.dtype if now.dtype.kind == "f" else encoding)
    for index in np.ndindex(now.shape):
        if now.dtype.kind == "f":
            difference[index] = now[index] - before[index]
        elif encoding == "int16":
            difference[index] = int(now[index]) - int(before[index])
        else:
            difference[index] = (256 + int(now[index]) - int(before[index])) // 2
    if not keep_current:
        return difference
    both = [now.astype(difference.dtype), difference]
    return np.concatenate(both, axis=-1) if channelled else np.stack(both, axis=-1)


@given(
    st.sampled_from([(5, 4), (3, 5, 1), (2, 3, 3), (3, 7, 8), (2, 3, 2, 2)]),
    st.sampled_from([(np.uint8, "int16"), (np.uint8, "uint8"), (np.int8, "int16"), (np.float32, "int16")]),
    st.integers(1, 4),
    st.booleans(),
    st.integers(0, 100),
)
def test_differences(
    pictures: Any, shape: tuple[int, ...], kind: tuple[Any, str], gap: int, keep_current: bool, seed: int
) -> None:
    dtype, encoding = kind
    env = FrameDifference(pictures(shape, dtype), gap, keep_current, encoding)
    plain = pictures(shape, dtype)
    channelled = len(shape) == 4 or (len(shape) == 3 and shape[-1] <= 3)
    for episode in range(2):
        history = [plain.reset(seed=seed + episode)[0]]
        observation, _ = env.reset(seed=seed + episode)
        for _ in range(7):
            assert observation in env.observation_space
            assert observation.dtype == env.observation_space.dtype
            assert np.array_equal(observation, expected(history, gap, keep_current, encoding, channelled))
            history.append(plain.step(0)[0])
            observation = env.step(0)[0]


def test_bounds_are_the_spaces_own(pictures: Any) -> None:
    space: Any = FrameDifference(pictures((4, 4), np.uint8, 10, 60)).observation_space
    assert (space.low.min(), space.high.max(), space.dtype) == (-50, 50, np.int16)
    space = FrameDifference(pictures((4, 4), np.uint8, 10, 60), encoding="uint8").observation_space
    assert (space.low.min(), space.high.max(), space.dtype) == (103, 153, np.uint8)
    space = FrameDifference(pictures((4, 4)), encoding="uint8").observation_space
    assert (space.low.min(), space.high.max()) == (0, 255)
    space = FrameDifference(FrameDifference(pictures((4, 4)))).observation_space
    assert (space.low.min(), space.high.max(), space.dtype) == (-510, 510, np.int16)
    space = FrameDifference(pictures((4, 4), np.float32, 0.0, np.inf)).observation_space
    assert (space.low.min(), space.high.max(), space.dtype) == (-np.inf, np.inf, np.float32)
    space = FrameDifference(pictures((4, 4, 1), np.uint8, 10, 60), keep_current=True).observation_space
    assert space.low[0, 0].tolist() == [10, -50]
    assert space.high[0, 0].tolist() == [60, 50]


def test_every_eight_bit_code_is_near_its_difference(pictures: Any) -> None:
    env = FrameDifference(pictures((256, 256)), encoding="uint8")
    first = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 256, axis=1)
    env.observation(first)
    codes = env.observation(first.T.copy()).astype(int)
    difference = first.T.astype(int) - first.astype(int)
    slack = difference - 2 * (codes - 128)
    assert set(slack.ravel().tolist()) == {0, 1}
    assert set(np.unique(codes).tolist()) == set(range(256))


@pytest.mark.parametrize("gap", [1, 3])
def test_an_environment_that_reuses_its_array(pictures: Any, gap: int) -> None:
    class Reusing(gymnasium.ObservationWrapper[Any, Any, Any]):
        def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
            super().__init__(env)
            self.buffer = np.zeros((5, 4, 1), np.uint8)

        def observation(self, observation: Any) -> Any:
            self.buffer[...] = observation
            return self.buffer

    env = FrameDifference(Reusing(pictures((5, 4, 1))), gap, keep_current=True)
    plain = FrameDifference(pictures((5, 4, 1)), gap, keep_current=True)
    kept = [env.reset(seed=2)[0]]
    fresh = [plain.reset(seed=2)[0]]
    for _ in range(5):
        kept.append(env.step(0)[0])
        fresh.append(plain.step(0)[0])
    assert np.array_equal(np.stack(kept), np.stack(fresh))


def test_what_is_given_out_may_be_written_on(pictures: Any, play: Callable[..., list[Any]]) -> None:
    env = FrameDifference(pictures((5, 4, 3)), keep_current=True, encoding="uint8")
    plain = FrameDifference(pictures((5, 4, 3)), keep_current=True, encoding="uint8")
    env.reset(seed=2)[0][...] = 9
    plain.reset(seed=2)
    assert np.array_equal(env.step(0)[0], plain.step(0)[0])


@pytest.mark.parametrize(
    ("dtype", "arguments", "error", "words"),
    [
        (np.uint8, {"gap": 0}, ValueError, "gap must be at least 1, got 0"),
        (np.uint8, {"gap": 1.0}, TypeError, r"gap must be a whole number, got 1.0 \(float\)"),
        (np.uint8, {"gap": True}, TypeError, "gap must be a whole number"),
        (np.uint8, {"keep_current": 1}, TypeError, r"keep_current must be true or false, got 1 \(int\)"),
        (np.uint8, {"encoding": "int8"}, ValueError, "encoding must be one of int16, uint8, got 'int8'"),
        (np.uint8, {"encoding": None}, TypeError, "encoding"),
        (np.int16, {"encoding": "uint8"}, TypeError, r"is for pictures of uint8, but they are int16"),
        (np.float32, {"encoding": "uint8"}, TypeError, "which keeps floats"),
        (np.int16, {}, ValueError, r"fit in int16, but the pictures are int16 from -32768 to 32767"),
        (np.int32, {}, ValueError, "DtypeObservation"),
    ],
)
def test_what_is_refused(pictures: Any, dtype: Any, arguments: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=f"FrameDifference: .*{words}"):
        FrameDifference(pictures((4, 4, 1), dtype), **arguments)
