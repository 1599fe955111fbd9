"""`Channel` keeps one channel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cartpole_dqn.wrappers import Channel, FrameDifference


def test_the_bounds_of_that_channel(pictures: Any) -> None:
    both = FrameDifference(pictures((4, 4, 1)), keep_current=True)
    spaces: list[Any] = [Channel(both, 0).observation_space, Channel(both, 1).observation_space]
    assert [space.low.min() for space in spaces] == [0, -255]
    assert Channel(both, 1).observation(np.zeros((4, 4, 2), np.int16)).base is None, "a copy"


@pytest.mark.parametrize(
    ("shape", "channel", "error", "words"),
    [
        ((5, 6, 3), 3, ValueError, "channel must be from 0 to 2, since the pictures have 3 channels, got 3"),
        ((5, 6, 3), True, TypeError, r"channel must be a whole number, got True \(bool\)"),
        ((5, 6, 3), "green", TypeError, r"got 'green' \(str\)"),
        ((5, 6), 0, ValueError, r"pictures with channels, but their shape is \(5, 6\)"),
        ((3, 9, 8), 0, ValueError, "pictures with channels"),
    ],
)
def test_what_is_refused(pictures: Any, shape: Any, channel: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=f"Channel: .*{words}"):
        Channel(pictures(shape), channel)
