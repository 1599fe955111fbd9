"""`FrameDifference`: `test_orders.py` and `test_moments.py` compare it with subtraction written out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gymnasium.wrappers import TransformObservation

from cartpole_dqn.wrappers import FrameDifference


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
    buffer = np.zeros((5, 4, 1), np.uint8)

    def reuse(observation: Any) -> Any:
        buffer[...] = observation
        return buffer

    inner = pictures((5, 4, 1))
    env = FrameDifference(TransformObservation(inner, reuse, inner.observation_space), gap, keep_current=True)
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
        (np.uint8, {"keep_current": 1}, TypeError, r"keep_current must be true or false, got 1 \(int\)"),
        (np.uint8, {"encoding": "int8"}, ValueError, "encoding must be one of int16, uint8, got 'int8'"),
        (np.int16, {"encoding": "uint8"}, TypeError, r"is for pictures of uint8, but they are int16"),
        (np.float32, {"encoding": "uint8"}, TypeError, "which keeps floats"),
        (np.int16, {}, ValueError, r"fit in int16, but the pictures are int16 from -32768 to 32767"),
        (np.int32, {}, ValueError, "DtypeObservation"),
    ],
)
def test_what_is_refused(pictures: Any, dtype: Any, arguments: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=f"FrameDifference: .*{words}"):
        FrameDifference(pictures((4, 4, 1), dtype), **arguments)
