"""The built-in locators find what is drawn."""

from __future__ import annotations

import functools
from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartpole_dqn.wrappers import CenteredCrop, Channel, RenderObservation
from cartpole_dqn.wrappers.locators import FOLLOW, brightest, coloured, darkest, find_locator


def run_by_hand(counts: list[int]) -> list[int]:
    """The heaviest run of places above the least count."""
    runs: list[list[int]] = []
    for place, count in enumerate(counts):
        if count > min(counts):
            if place > 0 and counts[place - 1] > min(counts):
                runs[-1].append(place)
            else:
                runs.append([place])
    return max(runs, key=lambda run: sum(counts[place] - min(counts) for place in run), default=[])


def centre_by_hand(counts: list[int]) -> float | None:
    """The mean place of the heaviest run, as a fraction."""
    run = run_by_hand(counts)
    weights = [counts[place] - min(counts) for place in run]
    if not run:
        return None
    return sum(w * (place + 0.5) for w, place in zip(weights, run, strict=True)) / sum(weights) / len(counts)


def blob_by_hand(mask: Any, follow: str = "columns") -> Any:
    """Pixel by pixel."""
    height, width = mask.shape
    columns = [sum(bool(mask[y, x]) for y in range(height)) for x in range(width)]
    rows = [sum(bool(mask[y, x]) for x in range(width)) for y in range(height)]
    if follow == "rows":
        return centre_by_hand([0 if count == width else count for count in rows])
    across = centre_by_hand(columns)
    if follow == "columns" or across is None:
        return across
    run = run_by_hand(columns)
    here = [0 if rows[y] == width else sum(bool(mask[y, x]) for x in run) for y in range(height)]
    down = centre_by_hand(here)
    return across, 0.5 if down is None else down


ENV: Any = None


@given(
    st.integers(1, 8),
    st.integers(1, 20),
    st.integers(0, 2**32),
    st.sampled_from([np.uint8, np.float32, np.int16]),
    st.sampled_from(FOLLOW),
)
def test_blobs(height: int, width: int, seed: int, dtype: Any, follow: str) -> None:
    picture = np.random.default_rng(seed).integers(0, 4, (height, width, 2)).astype(dtype) * dtype(20)
    light = picture.astype(float).sum(axis=-1)
    edge = (light.max() - light.min()) / 10
    cases: list[tuple[Any, Any]] = [
        (functools.partial(darkest, follow=follow), light < light.min() + edge),
        (functools.partial(brightest, follow=follow), light > light.max() - edge),
        (
            functools.partial(coloured, color=(20.0, 40.0), tolerance=20.0, follow=follow),
            (abs(picture.astype(float) - [20, 40]) <= 20).all(axis=-1),
        ),
    ]
    for find, mask in cases:
        seen, expected = find(ENV, picture), blob_by_hand(mask, follow)
        assert (seen is None) == (expected is None)
        assert seen is None or np.allclose(seen, expected, rtol=0, atol=1e-6)
    one = picture[..., 0]
    assert darkest(ENV, one, follow) == darkest(ENV, picture[..., :1], follow)
    assert coloured(ENV, one, (20.0,), 0.0, follow) == blob_by_hand(one == 20, follow)


def test_the_cart_is_the_darkest_blob_and_the_track_does_not_disturb(cartpole: gymnasium.Env[Any, Any]) -> None:
    strip = RenderObservation(cartpole, rows=[160, 320])
    strip.reset(seed=0)
    base: Any = cartpole.unwrapped
    for x in (-1.7, -0.4, 0.0, 0.9, 1.6):
        base.state = np.array([x, 0.0, 0.05, 0.0])
        place = x / 4.8 + 0.5
        seen: Any = darkest(cartpole, strip.observation(None))
        assert seen is not None
        assert abs(seen - place) * 600 < 2
    base.state = np.array([1.0, 0.0, 0.0, 0.0])
    pole: Any = coloured(cartpole, strip.observation(None), (202.0, 152.0, 101.0), 0.0)
    assert pole is not None
    assert abs(pole - (1.0 / 4.8 + 0.5)) * 600 < 2


def test_the_range_of_a_color_may_reach_beyond_the_dtype() -> None:
    picture = np.array([[[0], [255], [7]]], np.uint8)
    assert coloured(ENV, picture, (250.0,), 300.0) is None, "all of it"
    assert coloured(ENV, picture, (250.0,), 20.5) == 0.5
    assert coloured(ENV, picture, (-5.0,), 5.0) == pytest.approx(1 / 6)


@pytest.mark.parametrize(
    ("locator", "error", "words"),
    [
        ({}, ValueError, "has a 'color'"),
        ({"color": [1, 2, 3], "tol": 1}, ValueError, "may have a 'tolerance'"),
        ({"color": [1, 2]}, ValueError, "needs 3 numbers"),
        ({"color": "red"}, TypeError, "list of numbers"),
        ({"color": [1, 2, True]}, TypeError, "list of numbers"),
        ({"color": [1, 2, float("nan")]}, ValueError, "finite"),
        ({"color": [1, 2, 3], "tolerance": -1}, ValueError, "at least 0"),
        (5, TypeError, "must be a name"),
    ],
)
def test_locators_that_are_refused(locator: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=f"Who: .*{words}"):
        find_locator("Who", locator, ENV, 3)


def test_own_locators_by_name() -> None:
    locator = find_locator("Who", "operator:add", ENV, 3)
    assert locator.find(1, 2) == 3  # type: ignore[arg-type]
    assert locator.looks
    nested = find_locator("Who", "pathlib:Path.exists", ENV, 3)
    assert callable(nested.find)


def test_the_number_of_channels_of_a_color(cartpole: gymnasium.Env[Any, Any]) -> None:
    green = Channel(RenderObservation(cartpole), 1)
    with pytest.raises(ValueError, match="needs 1 numbers"):
        CenteredCrop(green, width=100, locator={"color": [202, 152, 101]})
    env = CenteredCrop(green, width=100, locator={"color": [152], "tolerance": 2})
    assert env.reset(seed=0)[0].shape == (400, 100, 1)
