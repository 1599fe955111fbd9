"""The built-in locators find what is drawn."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cartpole_dqn.wrappers import CenteredCrop, Channel, RenderObservation
from cartpole_dqn.wrappers.locators import brightest, colour, darkest, find_locator


def blob_by_hand(mask: Any) -> float | None:
    """The heaviest run of columns above the least count, its mean column; pixel by pixel."""
    height, width = mask.shape
    counts = [sum(bool(mask[y, x]) for y in range(height)) for x in range(width)]
    weights = [count - min(counts) for count in counts]
    runs: list[list[int]] = []
    for x in range(width):
        if weights[x] > 0:
            if x > 0 and weights[x - 1] > 0:
                runs[-1].append(x)
            else:
                runs.append([x])
    if not runs:
        return None
    best = max(runs, key=lambda run: sum(weights[x] for x in run))
    return float(sum(weights[x] * (x + 0.5) for x in best) / sum(weights[x] for x in best) / width)


ENV: Any = None


@given(st.integers(1, 8), st.integers(1, 20), st.integers(0, 2**32), st.sampled_from([np.uint8, np.float32, np.int16]))
@settings(max_examples=80, deadline=None)
def test_blobs(height: int, width: int, seed: int, dtype: Any) -> None:
    picture = np.random.default_rng(seed).integers(0, 4, (height, width, 2)).astype(dtype) * dtype(20)
    light = picture.astype(float).sum(axis=-1)
    edge = (light.max() - light.min()) / 10
    for find, mask in [
        (darkest, light < light.min() + edge),
        (brightest, light > light.max() - edge),
        (colour((20.0, 40.0), 20.0), (abs(picture.astype(float) - [20, 40]) <= 20).all(axis=-1)),
    ]:
        found, expected = find(ENV, picture), blob_by_hand(mask)
        assert (found is None) == (expected is None)
        assert found is None or abs(found - expected) < 1e-6  # type: ignore[operator]
    one = picture[..., 0]
    assert darkest(ENV, one) == darkest(ENV, picture[..., :1])
    assert colour((20.0,), 0.0)(ENV, one) == blob_by_hand(one == 20)


def test_the_cart_is_the_darkest_blob_and_the_track_does_not_disturb(cartpole: gymnasium.Env[Any, Any]) -> None:
    strip = RenderObservation(cartpole, rows=[160, 320])
    strip.reset(seed=0)
    base: Any = cartpole.unwrapped
    for x in (-1.7, -0.4, 0.0, 0.9, 1.6):
        base.state = np.array([x, 0.0, 0.05, 0.0])
        place = x / 4.8 + 0.5
        found = darkest(cartpole, strip.observation(None))
        assert found is not None
        assert abs(found - place) * 600 < 2
    base.state = np.array([1.0, 0.0, 0.0, 0.0])
    pole = colour((202.0, 152.0, 101.0), 0.0)(cartpole, strip.observation(None))
    assert pole is not None
    assert abs(pole - (1.0 / 4.8 + 0.5)) * 600 < 2


def test_nothing_stands_out() -> None:
    flat = np.full((4, 6, 3), 9, np.uint8)
    assert darkest(ENV, flat) is None
    assert brightest(ENV, flat) is None
    assert colour((1.0, 2.0, 3.0), 2.0)(ENV, flat) is None


def test_the_range_of_a_color_may_reach_beyond_the_dtype() -> None:
    picture = np.array([[[0], [255], [7]]], np.uint8)
    assert colour((250.0,), 300.0)(ENV, picture) is None, "all of it"
    assert colour((250.0,), 20.5)(ENV, picture) == 0.5
    assert colour((-5.0,), 5.0)(ENV, picture) == pytest.approx(1 / 6)


@pytest.mark.parametrize(
    ("locator", "error", "words"),
    [
        ({}, ValueError, "has a 'color'"),
        ({"colour": [1, 2, 3]}, ValueError, "has a 'color'"),
        ({"color": [1, 2, 3], "tol": 1}, ValueError, "may have a 'tolerance'"),
        ({"color": [1, 2]}, ValueError, "needs 3 numbers"),
        ({"color": "red"}, TypeError, "list of numbers"),
        ({"color": [1, 2, True]}, TypeError, "list of numbers"),
        ({"color": [1, 2, float("nan")]}, ValueError, "finite"),
        ({"color": [1, 2, 3], "tolerance": -1}, ValueError, "at least 0"),
        ({"color": [1, 2, 3], "tolerance": "10"}, TypeError, "must be a number"),
        (5, TypeError, "must be a name"),
        (None, TypeError, "must be a name"),
    ],
)
def test_locators_that_are_refused(locator: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=f"Who: .*{words}"):
        find_locator("Who", locator, ENV, 3)


def test_own_locators_by_name() -> None:
    found = find_locator("Who", "operator:add", ENV, 3)
    assert found.find(1, 2) == 3  # type: ignore[arg-type]
    assert found.looks
    nested = find_locator("Who", "pathlib:Path.exists", ENV, 3)
    assert callable(nested.find)


def test_the_number_of_channels_of_a_color(cartpole: gymnasium.Env[Any, Any]) -> None:
    green = Channel(RenderObservation(cartpole), 1)
    with pytest.raises(ValueError, match="needs 1 numbers"):
        CenteredCrop(green, width=100, locator={"color": [202, 152, 101]})
    env = CenteredCrop(green, width=100, locator={"color": [152], "tolerance": 2})
    assert env.reset(seed=0)[0].shape == (400, 100, 1)
