from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cartpole_dqn.contracts.pictures import Panel
from cartpole_dqn.observers.display.eye import eye_lines, half_blocks


def colours_of(lines: Any) -> Any:
    """[rows, columns, 3]: the colours of half blocks, read back from their styles."""
    rows = []
    for line in lines:
        cells = [s.style for s in line for _ in s.text]
        for side in ("color", "bgcolor"):
            rows.append([tuple(getattr(style, side).triplet) for style in cells])
    return np.array(rows)


@given(st.integers(1, 30), st.integers(2, 30), st.integers(1, 3))
def test_half_blocks_show_every_pixel(wide: int, high: int, zoom: int) -> None:
    picture = np.random.default_rng(wide * 31 + high).integers(0, 256, (2 * high, wide, 3), dtype=np.uint8)
    lines = half_blocks(picture, wide * zoom, high * zoom)
    apart = colours_of(lines).astype(int) - picture.repeat(zoom, 0).repeat(zoom, 1)
    assert (abs(apart) < 8).all(), "32 levels"


def test_a_picture_that_is_too_large_is_averaged() -> None:
    picture = np.zeros((8, 8, 3), dtype=np.uint8)
    picture[:, ::2] = 200
    assert (abs(colours_of(half_blocks(picture, 4, 2)).astype(int) - 100) < 8).all()
    white = half_blocks(np.full((4, 4, 3), 255, np.uint8), 4, 2)
    assert (colours_of(white) == 255).all()
    grey = "".join(s.text for s in half_blocks(picture, 4, 2, colour=False)[0])
    assert len(set(grey)) == 1
    assert not grey.isspace()
    assert half_blocks(np.full((4, 4, 3), 255, np.uint8), 4, 2, colour=False)[0][0].text.isspace()


@given(st.integers(24, 60), st.integers(8, 40), st.booleans())
def test_it_keeps_to_its_room(events: Any, width: int, height: int, colour: bool) -> None:
    many = events.glimpse(q_values=np.arange(-8.0, 10.0, dtype=np.float32), actions=("a very long name of an action",))
    for seen in (events.glimpse(), many, events.glimpse(panels=[Panel("", np.arange(300.0), "numbers")])):
        lines = eye_lines(seen, width, height, colour=colour)
        assert len(lines) <= height
        assert max(sum(s.cell_length for s in line) for line in lines) <= width


def test_values_have_bars_and_the_taken_action_stands_out(events: Any) -> None:
    lines = eye_lines(events.glimpse(), 50, 30)
    text = ["".join(s.text for s in line) for line in lines]
    left, right = (next(i for i, row in enumerate(text) if row.startswith(name)) for name in ("left", "right"))
    assert text[left].endswith("84.7")
    assert text[left].count("━") > text[right].count("━") > 0
    assert lines[left][0].style.color is not None
    two = events.glimpse(panels=[Panel("", np.array([0.5, -0.25]), "numbers", names=("x", "y"))], q_values=None)
    numbers = eye_lines(two, 50, 30)
    assert ["".join(s.text for s in line).split()[0::2] for line in numbers[1:3]] == [["x", "0.5"], ["y", "-0.25"]]
    assert "value of each" not in "".join(s.text for line in numbers for s in line)
