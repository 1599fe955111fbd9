from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from cartpole_dqn.observers.display.braille import Curve, curve_lines

values = st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=80)


def dots_of(rows: list[str]) -> set[tuple[int, int]]:
    """(x, y) of each dot, y from the bottom, read back from the characters by the braille block's own numbering."""
    order = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3)]
    height = 4 * len(rows)
    return {
        (2 * column + x, height - 1 - (4 * row + y))
        for row, text in enumerate(rows)
        for column, character in enumerate(text)
        for bit, (x, y) in enumerate(order)
        if (ord(character) - 0x2800) >> bit & 1
    }


@given(values, st.integers(1, 30), st.integers(1, 8))
def test_points_lie_where_their_values_say(numbers: list[float], width: int, height: int) -> None:
    low, high = min(numbers), max(numbers)
    curve = Curve(width, height)
    curve.points(numbers, low=low, high=high)
    expected = set()
    for i, value in enumerate(numbers):
        x = round(i * (2 * width - 1) / max(1, len(numbers) - 1))
        share = (value - low) / (high - low) if high > low else 0.5
        expected.add((x, round(share * (4 * height - 1))))
    assert dots_of(curve.rows()) == expected


@given(values, st.integers(2, 30), st.integers(1, 8))
def test_a_line_has_no_gaps_and_meets_its_points(numbers: list[float], width: int, height: int) -> None:
    low, high = min(numbers), max(numbers)
    line, points = Curve(width, height), Curve(width, height)
    line.line(numbers, low=low, high=high)
    points.points(numbers, low=low, high=high)
    drawn = dots_of(line.rows())
    assert dots_of(points.rows()) <= drawn
    if len(numbers) > 1:
        assert {x for x, _ in drawn} == set(range(2 * width))
    for x, y in drawn:  # each dot touches another one
        near = {(x + i, y + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} - {(x, y)}
        assert len(drawn) == 1 or near & drawn


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=40), st.integers(0, 60), st.integers(0, 10))
def test_curve_lines_keep_to_their_room(numbers: list[float], width: int, height: int) -> None:
    lines = curve_lines(numbers, numbers, width, height)
    assert len(lines) in (0, height)
    assert all(line.cell_len <= width for line in lines)
    if height >= 2 and width >= 20 and any(math.isfinite(v) for v in numbers):
        assert lines


def test_curve_says_its_range_and_marks_the_mean() -> None:
    lines = curve_lines([0.0, 500.0, 100.0], [0.0, 250.0, 200.0], 20, 4)
    assert lines[0].plain.startswith("500 ")
    assert lines[-1].plain.startswith("  0 ")
    assert any("bold" in str(span.style) for line in lines for span in line.spans)
    below_zero = curve_lines([-200.0, -110.0], [], 20, 3)
    assert below_zero[0].plain.startswith("-110")
    assert below_zero[-1].plain.startswith("-200")
