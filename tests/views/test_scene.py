"""A scene's picture: the environment's own pixels, the agent's enlarged, its values as bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cartpole_dqn.contracts.pictures import Panel, colours_of
from cartpole_dqn.views.colours import COLOURS, rgb
from cartpole_dqn.views.scene import Scene, draw_scene, picture_of

BLUE, RED, PAPER = (31, 95, 168), (179, 38, 30), (255, 255, 255)


def frame(height: int = 400, width: int = 600, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def scene(**changes: Any) -> Scene:
    given: dict[str, Any] = {
        "frame": frame(),
        "panels": [Panel("", np.array([0.5, -0.25], np.float32), "numbers")],
        "q_values": np.array([1.0, 2.0], np.float32),
        "actions": ("left", "right"),
        "action": 1,
    }
    return Scene(**{**given, **changes})


def beside(picture: NDArray[np.uint8], width: int = 600) -> NDArray[np.uint8]:
    """What stands to the right of the environment's picture."""
    return picture[:, width + 5 :]


def count(picture: NDArray[np.uint8], colour: Sequence[int]) -> int:
    return int((picture == np.array(colour, dtype=np.uint8)).all(axis=-1).sum())


def test_the_environments_picture_is_shown_as_it_is() -> None:
    for height, width in ((400, 600), (500, 500), (210, 160), (40, 700)):
        shown = frame(height, width)
        picture = draw_scene(scene(frame=shown))
        left = (max(width, 320) - width) // 2
        assert picture.dtype == np.uint8
        assert picture.shape[0] >= height
        assert (picture[:height, left : left + width] == shown).all()


def test_what_the_agent_sees_is_enlarged_pixel_for_pixel() -> None:
    values = np.random.default_rng(1).integers(0, 256, (40, 80), dtype=np.uint8)
    panels = [Panel("channel 0", values, "grey", 0.0, 255.0), Panel("channel 1", values[::-1], "grey", 0.0, 255.0)]
    side = beside(draw_scene(scene(panels=panels)))
    for panel in panels:
        enlarged = np.repeat(np.repeat(panel.values, 3, axis=0), 3, axis=1)
        assert contains(side, np.repeat(enlarged[..., None], 3, axis=2))
    shown = frame(20, 30, seed=3)
    side = beside(draw_scene(scene(panels=[Panel("", shown, "colour")])))
    assert contains(side, np.repeat(np.repeat(shown, 10, axis=0), 10, axis=1))


def contains(picture: NDArray[np.uint8], part: NDArray[np.uint8]) -> bool:
    """Whether `part` stands somewhere in `picture`, to the rounding of one shade."""
    rows, columns = part.shape[:2]
    for top in range(picture.shape[0] - rows + 1):
        for left in np.flatnonzero(abs(picture[top, :, 0].astype(int) - int(part[0, 0, 0])) <= 1):
            window = picture[top : top + rows, left : left + columns]
            if window.shape == part.shape and (abs(window.astype(int) - part) <= 1).all():
                return True
    return False


@pytest.mark.parametrize(("dtype", "zero", "most"), [(np.uint8, 128, 127), (np.int16, 0, 255), (np.float32, 0, 1)])
def test_differences_are_blue_and_red_around_white(dtype: Any, zero: int, most: int) -> None:
    values = np.full((10, 10), zero, dtype)
    values[0], values[-1] = zero + most, zero - most
    panel = Panel("difference", values, "difference", zero=zero)
    # The action is left out: what is taken is blue too.
    without = scene(panels=[panel], action=None, q_values=None)
    side = beside(draw_scene(without))
    assert count(side, RED) == count(side, BLUE) > 0
    still = beside(draw_scene(replace(without, panels=[replace(panel, values=np.full_like(values, zero))])))
    assert count(still, RED) == count(still, BLUE) == 0
    halved = colours_of(replace(panel, values=((values.astype(float) - zero) / 2 + zero).astype(dtype)))
    assert (halved[-1] == BLUE).all(), "in a picture that stands alone the greatest difference has full colour"


def test_the_same_difference_looks_the_same_beside_a_larger_one() -> None:
    small = np.full((10, 10), 128, np.uint8)
    small[0] = 138
    both = small.copy()
    both[5] = 255
    share = np.sqrt(10 / 127)
    pink = [int(paper + share * (red - paper)) for paper, red in zip(PAPER, RED, strict=True)]
    for values in (small, both):
        side = beside(draw_scene(scene(panels=[Panel("", values, "difference", zero=128)])))
        assert count(side, pink) >= 100


def bar(picture: NDArray[np.uint8], colour: Sequence[int]) -> int:
    """The longest run of a colour in any row."""
    hits = (picture == np.array(colour, dtype=np.uint8)).all(axis=-1)
    return max((len(run) for row in hits for run in "".join("x" if h else " " for h in row).split()), default=0)


def test_bars_are_as_long_as_the_values_and_the_action_stands_out() -> None:
    picture = beside(draw_scene(scene(panels=[], q_values=np.array([30.0, 60.0], np.float32))))
    taken, other = bar(picture, BLUE), bar(picture, (168, 197, 230))
    assert taken > 100
    assert abs(other - taken / 2) <= 1.5
    turned = beside(draw_scene(scene(panels=[], q_values=np.array([30.0, 60.0], np.float32), action=0)))
    assert abs(bar(turned, BLUE) - other) <= 1
    lower = beside(draw_scene(scene(panels=[], q_values=np.array([-60.0, 60.0], np.float32), action=None)))
    assert bar(lower, (168, 197, 230)) < taken


def test_forbidden_actions_are_grey() -> None:
    mask = np.array([False, True])
    picture = beside(draw_scene(scene(panels=[], q_values=np.array([60.0, 30.0], np.float32), allowed=mask)))
    assert bar(picture, (208, 215, 222)) > bar(picture, BLUE) > 0
    assert bar(picture, (168, 197, 230)) == 0


def test_numbers_with_a_bound_fill_their_line_and_others_never_quite() -> None:
    values = np.array([0.4, 0.0], np.float32)
    plain = scene(panels=[Panel("", values, "numbers")], q_values=None, action=None)
    bounded = bar(beside(draw_scene(replace(plain, reaches=np.array([0.4, np.nan])))), BLUE)
    unbounded = bar(beside(draw_scene(plain)), BLUE)
    assert bounded > 2 * unbounded > 0


def test_all_that_is_said_of_a_moment_is_in_its_picture() -> None:
    named = Panel("", np.array([0.5, -0.25], np.float32), "numbers", names=("x", "y"))
    variants: list[dict[str, Any]] = [{}, {"panels": [named]}, {"step": 7}, {"total": 7.5}, {"episode": 2}]
    variants += [{"ending": "terminated", "action": None}, {"observed": "4  float32"}, {"actions": ("up", "down")}]
    assert len({draw_scene(scene(**changes)).tobytes() for changes in variants}) == len(variants)


kinds = st.sampled_from(["numbers", "grey", "colour", "difference"])
floats = st.floats(width=32, allow_nan=True, allow_infinity=True)


@given(
    kind=kinds,
    sides=st.tuples(st.integers(1, 90), st.integers(1, 120)),
    panels=st.integers(0, 11),
    size=st.tuples(st.integers(1, 300), st.integers(1, 400)),
    q=st.lists(floats, min_size=1, max_size=30),
    numbers=st.lists(floats, min_size=4, max_size=4),
    data=st.data(),
)
def test_any_moment_can_be_drawn_and_its_size_depends_on_shapes_alone(
    kind: Any,
    sides: tuple[int, int],
    panels: int,
    size: tuple[int, int],
    q: list[float],
    numbers: list[float],
    data: st.DataObject,
) -> None:
    rng = np.random.default_rng(0)

    def panel(fill: float) -> Panel:
        if kind == "numbers":
            return Panel("", np.full(sides[0], fill, np.float32), kind)
        shape = (*sides, 3) if kind == "colour" else sides
        if kind == "colour":
            return Panel("x", rng.integers(0, 256, shape, dtype=np.uint8), kind)
        return Panel("a rather long caption of a panel", np.full(shape, fill, np.float32), kind)

    def moment(fill: float, values: list[float], total: float) -> NDArray[np.uint8]:
        action = data.draw(st.one_of(st.none(), st.integers(0, len(values) - 1)))
        return draw_scene(
            scene(
                frame=frame(*size),
                panels=[panel(fill)] * panels,
                q_values=np.array(values, np.float32),
                actions=[f"action number {i}" for i in range(len(values))],
                action=action,
                total=total,
                step=abs(int(total)) if np.isfinite(total) else 0,
            )
        )

    first = moment(numbers[0], q, numbers[1])
    second = moment(numbers[2], q[::-1], numbers[3])
    assert first.dtype == np.uint8
    assert first.shape == second.shape
    assert first.shape[1] == max(size[1], 320) + 328


@pytest.mark.parametrize(
    ("changes", "words", "colour"),
    [
        ({"ending": "terminated", "terminated_is": "fell"}, "fell", "red"),
        ({"ending": "terminated"}, "terminated", "ink"),
        ({"ending": "truncated", "step": 500, "limit": 500}, "500 / 500, time limit", "green"),
        ({"ending": "truncated", "step": 90, "limit": 500}, "truncated", "ink"),
        ({"ending": "cut off", "step": 500, "limit": 500}, "cut off", "ink"),
        ({}, "", "ink"),
    ],
)
def test_only_a_fall_is_red_and_the_time_limit_is_green(changes: dict[str, Any], words: str, colour: str) -> None:
    moment = scene(panels=[], action=None, **changes)
    assert moment.verdict == (words, colour)
    red, green = (count(draw_scene(moment), rgb(getattr(COLOURS["light"], name))) for name in ("red", "green"))
    assert (red > 0, green > 0) == (colour == "red", colour == "green")


def test_empty_rows_are_left_out_and_values_stand_below_a_low_picture() -> None:
    panels = [Panel("", np.zeros((40, 80), np.uint8), "grey", 0.0, 255.0)] * 2
    whole, low = scene(panels=panels), scene(panels=panels, shown=slice(150, 340))
    assert (picture_of(low) == low.frame[150:340]).all()
    assert draw_scene(low).shape[0] < draw_scene(whole).shape[0] - 80
    assert bar(draw_scene(low)[220:, :600], BLUE) > 100
    assert bar(beside(draw_scene(low)), BLUE) == 0


def test_a_dark_page_is_dark_and_a_dark_frame_stays_as_it_is() -> None:
    white = np.full((200, 600, 3), 255, np.uint8)
    white[50:90, 100:140] = 0
    drawn = draw_scene(scene(frame=white), "dark")
    assert drawn[0, 0].tolist() == [21, 25, 30]
    assert drawn[70, 120].min() > 200, "what was black is light"
    assert drawn[-1, -1].tolist() == [21, 25, 30]
    black = np.zeros((200, 600, 3), np.uint8)
    assert (picture_of(scene(frame=black), "dark") == black).all()
