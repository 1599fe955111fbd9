"""`Crop` and `CenteredCrop` against slices written out by hand."""

from __future__ import annotations

import math
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import FrameStackObservation
from hypothesis import given
from hypothesis import strategies as st

from cartpole_dqn.wrappers import CenteredCrop, Channel, Crop, FrameDifference, RenderObservation, Resize
from cartpole_dqn.wrappers.locators import FOLLOW

DTYPES = st.sampled_from([np.uint8, np.int16, np.float32])
PLACES = st.floats(-0.5, 1.5)
FRACTION: Any = 0.5


def told_fraction(env: gymnasium.Env[Any, Any], picture: Any) -> Any:
    """A locator for the tests: says what FRACTION is at the moment."""
    return FRACTION


def say(fraction: Any) -> None:
    global FRACTION
    FRACTION = fraction


TOLD = f"{__name__}:told_fraction"


@st.composite
def shapes(draw: st.DrawFn) -> tuple[tuple[int, ...], int]:
    """A picture's shape and the axis of its rows; stacks are such that their axes can be told apart."""
    kind = draw(st.sampled_from(["hw", "hw1", "hw3", "shw", "shwc"]))
    if kind == "shw":
        return (3, draw(st.integers(6, 12)), draw(st.integers(6, 12))), 1
    height, width = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    if kind == "shwc":
        return (draw(st.integers(1, 3)), height, width, draw(st.integers(1, 3))), 1
    return (height, width, *{"hw": (), "hw1": (1,), "hw3": (3,)}[kind]), 0


# Crop -----------------------------------------------------------------------------------------------------------------


def test_crop_keeps_bounds_pixel_by_pixel(pictures: Any) -> None:
    low = np.arange(12, dtype=np.int16).reshape(3, 4)
    env: Any = Crop(pictures((3, 4), np.int16, low, low + 100), rows=[1, 3], columns=[0.0, 0.5])
    assert np.array_equal(env.observation_space.low, low[1:3, :2])
    assert np.array_equal(env.observation_space.high, low[1:3, :2] + 100)
    assert env.observation(low).base is None, "a copy"


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({}, ValueError, "Crop: expected rows, columns or both, got neither"),
        ({"rows": [0, 9]}, ValueError, r"Crop: rows .*the picture has 8, got \[0, 9\]"),
        ({"columns": [0.2, 2.0]}, ValueError, "Crop: columns"),
        ({"columns": [1.0, 3]}, TypeError, "both of the same kind"),
    ],
)
def test_crops_that_are_refused(pictures: Any, arguments: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Crop(pictures((8, 9, 3)), **arguments)


def test_observations_that_are_no_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape of the observations before it is \(4,\).*RenderObservation before"):
        Crop(gymnasium.make("CartPole-v1"), rows=[0, 1])
    with pytest.raises(TypeError, match=r"observations before it are Discrete.*RenderObservation before"):
        CenteredCrop(gymnasium.make("FrozenLake-v1"), width=3)


# CenteredCrop against a slow reference --------------------------------------------------------------------------------


def window_by_hand(picture: Any, rows: slice, top: int, left: int, height: int, width: int) -> Any:
    """Pixel by pixel, for pictures [H, W] or [H, W, C] of which `rows` and all columns are left."""
    window = np.empty((height, width, *picture.shape[2:]), picture.dtype)
    for i in range(height):
        for j in range(width):
            row, column = top + i, left + j
            inside = rows.start <= row < rows.stop and 0 <= column < picture.shape[1]
            window[i, j] = picture[row, column] if inside else picture[rows.start, 0]
    return window


def start_by_hand(first: int, last: int, length: int, fraction: float | None, pad: bool) -> int:
    """Where a window that follows begins, of what is left from `first` to `last`."""
    middle = (first + last) // 2
    centre = middle if fraction is None else first + int(min(max(fraction, 0.0), 1.0) * (last - first))
    start = centre - length // 2
    return start if pad else max(first, min(start, last - length))


@given(
    shapes(), DTYPES, st.booleans(), st.one_of(st.none(), st.tuples(PLACES, PLACES)), st.sampled_from(FOLLOW), st.data()
)
def test_windows(
    pictures: Any,
    play: Any,
    case: Any,
    dtype: Any,
    pad: bool,
    place: tuple[float, float] | None,
    follow: str,
    data: st.DataObject,
) -> None:
    shape, axis = case
    rows_before, columns_before = shape[axis : axis + 2]
    top = data.draw(st.integers(0, rows_before - 1))
    rows = slice(top, data.draw(st.integers(top + 1, rows_before)))
    across, down = follow != "rows", follow != "columns"
    width = data.draw(st.integers(1, columns_before + (5 if pad and across else 0)))
    height = data.draw(st.integers(1, rows.stop - rows.start + (5 if pad and down else 0)))
    x, y = place or (None, None)
    say(None if place is None else {"columns": x, "rows": y, "both": place}[follow])
    env = CenteredCrop(
        pictures(shape, dtype),
        width,
        TOLD,
        height,
        [rows.start, rows.stop],
        edges="pad" if pad else "clamp",
        follow=follow,
    )
    left = start_by_hand(0, columns_before, width, x, pad) if across else (columns_before - width) // 2
    upper = start_by_hand(top, rows.stop, height, y, pad) if down else top + (rows.stop - top - height) // 2
    seen = [picture.copy() for picture in play(pictures(shape, dtype))]
    for picture, part in zip(seen, play(env), strict=True):
        stack = picture if axis else [picture]
        expected = np.stack([window_by_hand(one, rows, upper, left, height, width) for one in stack])
        assert np.array_equal(part, expected if axis else expected[0])
        assert part.dtype == dtype
        assert not np.shares_memory(part, picture)
        assert env.window == (slice(upper, upper + height), slice(left, left + width))


@given(
    columns=st.integers(1, 12),
    width=st.integers(1, 14),
    edges=st.sampled_from(["clamp", "pad"]),
    place=st.integers(0, 97),
)
def test_the_nearest_window_of_a_mirror_image_is_the_mirror_image(
    columns: int, width: int, edges: str, place: int, pictures: Any
) -> None:
    if edges == "clamp":
        width = min(width, columns)
    env = CenteredCrop(pictures((2, columns)), width, TOLD, edges=edges, snap="nearest")
    picture = np.arange(1, 2 * columns + 1, dtype=np.uint8).reshape(2, columns)
    picture[0, 0] = picture[0, -1] = 0  # what lies outside looks like the top left corner
    # Not halfway between two pixels, where either is as near.
    fraction = (place + 0.5 + 1e-3) / 98
    say(fraction)
    window = env.observation(picture)
    middle = (env.window[1].start + env.window[1].stop) / 2
    if edges == "pad":
        assert abs(middle - fraction * columns) <= 0.5 + 1e-9
    say(1 - fraction)
    assert np.array_equal(env.observation(picture[:, ::-1].copy()), window[:, ::-1])


def test_fractions_are_of_the_rows_and_columns_that_are_kept(pictures: Any) -> None:
    picture = np.arange(200, dtype=np.uint8).reshape(20, 10)
    half = CenteredCrop(pictures((20, 10)), width=0.5, height=0.5, rows=[4, 18])
    assert np.array_equal(half.observation(picture), picture[7:14, 3:8])
    cut = CenteredCrop(pictures((20, 10)), width=3, columns=[4, 10], locator=TOLD)
    for fraction, first in ((None, 6), (0.0, 4), (0.75, 7)):
        say(fraction)
        assert np.array_equal(cut.observation(picture), picture[:, first : first + 3])


# The cart -------------------------------------------------------------------------------------------------------------


def test_the_cart_of_another_size_and_after_resizing() -> None:
    from gymnasium.envs.classic_control import CartPoleEnv

    class Wide(CartPoleEnv):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.screen_width, self.x_threshold = 900, 3.0

    base = Wide(render_mode="rgb_array")
    base.reset(seed=0)
    small = Resize(RenderObservation(base, rows=[290, 300]), height=10, width=300)
    env = CenteredCrop(small, width=100, locator="cart")
    env.reset(seed=0)
    base.state = np.array([1.2, 0.0, 0.0, 0.0])
    observation = env.step(0)[0]
    dark = np.flatnonzero(observation[5].max(axis=-1) < 128)
    assert abs(dark.mean() - 50) <= 1


# Arguments and order --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"width": 10}, ValueError, "width must be at most the picture's 9 columns, got 10. Use edges='pad'"),
        ({"width": 0}, ValueError, "width must be at least 1, got 0"),
        ({"width": 1.5}, ValueError, "width as a fraction must be above 0.0 and at most 1.0, got 1.5"),
        ({"width": 3, "height": 9}, ValueError, "height must be at most the picture's 8 rows, got 9"),
        ({"width": 3, "columns": [0, 2]}, ValueError, "at most the picture's 2 columns"),
        ({"width": 3, "edges": "wrap"}, ValueError, "edges must be one of clamp, pad, got 'wrap'"),
        ({"width": 3, "edges": "clamped"}, ValueError, "Did you mean 'clamp'"),
        ({"width": 3, "follow": "row"}, ValueError, "follow must be one of columns, rows, both, got 'row'.*'rows'"),
        ({"width": 3, "follow": "both"}, ValueError, "to follow 'both' it needs a height"),
        ({"width": 10, "height": 3, "follow": "rows", "edges": "pad"}, ValueError, "at most the picture's 9 columns"),
        ({"width": 3, "height": 3, "follow": "both", "locator": "cart"}, ValueError, "follow 'columns'"),
        ({"width": 3, "locator": "cart"}, ValueError, "reads state.* has no x_threshold and no state"),
        ({"width": 3, "locator": "center"}, ValueError, "Did you mean 'centre'"),
        ({"width": 3, "locator": told_fraction}, TypeError, "Give your own function as 'module:attr'"),
        ({"width": 3, "locator": "math:no_such"}, ValueError, "cannot import the locator"),
        ({"width": 3, "locator": "math:pi"}, TypeError, "must be a callable"),
    ],
)
def test_windows_that_are_refused(pictures: Any, arguments: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=f"CenteredCrop: .*{words}"):
        CenteredCrop(pictures((8, 9, 3)), **arguments)


@pytest.mark.parametrize(
    ("follow", "answers", "error"),
    [
        ("columns", ["left", True], TypeError),
        ("columns", [math.nan, math.inf], ValueError),
        ("both", [0.5, "ab", (0.5,), (0.5, 0.5, 0.5), (0.5, "top"), (0.5, None)], TypeError),
    ],
)
def test_what_a_locator_must_not_return(pictures: Any, follow: str, answers: list[Any], error: type[Exception]) -> None:
    env = CenteredCrop(pictures((8, 9, 3)), width=3, height=3, locator=TOLD, follow=follow)
    for answer in answers:
        say(answer)
        with pytest.raises(error, match=f"locator '{TOLD}' must return .*fraction"):
            env.reset(seed=0)
    say(np.array([0.5, 0.5]) if follow == "both" else 0)
    env.reset(seed=0)


def test_an_error_names_the_side_of_the_wrong_fraction(pictures: Any) -> None:
    env = CenteredCrop(pictures((8, 9, 3)), width=3, height=3, locator=TOLD, follow="both")
    for answer, side in (((math.nan, 0.5), "width"), ((0.5, math.nan), "height")):
        say(answer)
        with pytest.raises(ValueError, match=f"a finite fraction of the picture's {side}"):
            env.reset(seed=0)


def test_a_window_that_nothing_is_found_for_is_in_the_middle_whatever_came_before(pictures: Any) -> None:
    env = CenteredCrop(pictures((8, 9, 3)), width=3, locator={"color": [1, 2, 3]})
    seen, nothing = np.zeros((8, 9, 3), np.uint8), np.zeros((8, 9, 3), np.uint8)
    seen[2:4, 0:2] = (1, 2, 3)
    assert np.array_equal(env.observation(seen), seen[:, 0:3])
    assert np.array_equal(env.observation(nothing), nothing[:, 3:6])
    assert env.window == (slice(0, 8), slice(3, 6))


@pytest.mark.parametrize("locator", ["brightest", "darkest", {"color": [0]}])
@pytest.mark.parametrize("encoding", ["int16", "uint8"])
def test_blobs_refuse_a_pure_difference(pictures: Any, locator: Any, encoding: str) -> None:
    difference = FrameDifference(pictures((8, 9, 1)), encoding=encoding)
    for env in (difference, Resize(difference, height=4), FrameStackObservation(difference, 2)):
        with pytest.raises(ValueError, match=r"only differences reach it\. Put CenteredCrop before FrameDifference"):
            CenteredCrop(env, width=3, locator=locator)
    for other in ("centre", TOLD):
        CenteredCrop(difference, width=3, locator=other)


@pytest.mark.parametrize("encoding", ["int16", "uint8"])
def test_locators_see_the_newest_picture_and_the_present(pictures: Any, encoding: str, monkeypatch: Any) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(sys.modules[__name__], "told_fraction", lambda env, picture: seen.append(picture.copy()))
    both = FrameDifference(pictures((8, 9, 3)), keep_current=True, encoding=encoding)
    env = CenteredCrop(FrameStackObservation(both, 2), width=4, locator=TOLD, rows=[2, 6], columns=[1, 9])
    plain = pictures((8, 9, 3))
    env.reset(seed=1)
    assert np.array_equal(seen[-1], plain.reset(seed=1)[0][2:6, 1:9])
    env.step(0)
    assert np.array_equal(seen[-1], plain.step(0)[0][2:6, 1:9])
    only_change = Channel(both, 4)
    with pytest.raises(ValueError, match="only differences"):
        CenteredCrop(only_change, width=4, locator="darkest")
    env = CenteredCrop(Channel(both, 2), width=4, locator=TOLD)
    env.reset(seed=1)
    assert seen[-1].shape == (8, 9, 1)


def test_the_cart_in_a_picture_that_was_narrowed_is_refused(cartpole: gymnasium.Env[Any, Any]) -> None:
    whole = RenderObservation(cartpole)
    for cut in (
        Crop(whole, columns=[100, 500]),
        CenteredCrop(whole, width=300),
        CenteredCrop(whole, width=600, edges="pad"),
        RenderObservation(cartpole, columns=[0.0, 0.5]),
    ):
        words = f"needs the picture of the whole track, but {type(cut).__name__} before it cut columns away"
        with pytest.raises(ValueError, match=words):
            CenteredCrop(cut, width=80, locator="cart")
    CenteredCrop(Crop(whole, rows=[100, 200], columns=[0.0, 1.0]), width=80, locator="cart")
