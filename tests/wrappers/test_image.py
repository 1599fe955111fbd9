"""Which axis is which, and which channels show the present."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import FrameStackObservation, GrayscaleObservation

from cartpole_dqn.wrappers import Channel, Crop, FrameDifference, Resize


def cropped(env: gymnasium.Env[Any, Any]) -> Crop:
    return Crop(env, rows=[0, 1])


@pytest.mark.parametrize(
    ("shape", "size", "channels", "stacked"),
    [
        ((7, 9), (7, 9), 1, False),
        ((7, 9, 1), (7, 9), 1, False),
        ((1, 1, 3), (1, 1), 3, False),
        ((40, 80, 6), (40, 80), 6, False),
        ((4, 40, 80), (40, 80), 1, True),
        ((4, 84, 84), (84, 84), 1, True),
        ((9, 9, 9), (9, 9), 9, False),
        ((4, 7, 9, 3), (7, 9), 3, True),
    ],
)
def test_layouts(pictures: Any, shape: Any, size: tuple[int, int], channels: int, stacked: bool) -> None:
    layout = cropped(pictures(shape)).layout
    assert ((layout.height, layout.width), layout.channels, layout.stacked) == (size, channels, stacked)


def test_a_frame_stack_settles_it(pictures: Any) -> None:
    few_columns = FrameStackObservation(pictures((9, 3)), 12)
    assert cropped(few_columns).layout.stacked
    assert cropped(few_columns).observation_space.shape == (12, 1, 3)


def test_wrappers_of_this_package_settle_it(pictures: Any) -> None:
    # Alone, (5, 6, 6) looks like a stack of five; here it is three channels and their differences.
    both = FrameDifference(pictures((5, 6, 3)), keep_current=True)
    assert both.observation_space.shape == (5, 6, 6)
    assert cropped(both).observation_space.shape == (1, 6, 6)
    assert cropped(gymnasium.wrappers.TimeLimit(both, 5)).layout.channels == 6
    assert cropped(pictures((5, 6, 6))).layout.stacked
    stack = FrameStackObservation(Crop(pictures((9, 3)), rows=[0, 8]), 12)
    assert Resize(cropped(stack), height=4).observation_space.shape == (12, 4, 12)


def test_what_shows_the_present(pictures: Any) -> None:
    picture = pictures((9, 8, 3))
    assert cropped(picture).shows_now == (True, True, True)
    assert cropped(pictures((9, 8, 2), np.int16)).shows_now == (False, False)
    both = FrameDifference(picture, keep_current=True, encoding="uint8")
    assert both.shows_now == (True, True, True, False, False, False)
    assert Channel(Resize(FrameStackObservation(both, 2), height=4), 3).shows_now == (False,)
    assert FrameDifference(both, encoding="uint8").shows_now == (False,) * 6
    grey = GrayscaleObservation(FrameDifference(picture, encoding="uint8"))
    assert cropped(grey).shows_now == (False,)
    assert cropped(GrayscaleObservation(cropped(picture), keep_dim=True)).shows_now == (True,)
