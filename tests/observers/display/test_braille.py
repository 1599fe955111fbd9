from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from rich.segment import Segment

from cartpole_dqn.observers.display.braille import Chart, Curve, Line, chart_lines

points = st.lists(st.tuples(st.floats(0, 1e6), st.floats(-1e9, 1e9)), min_size=1, max_size=80)


def dots_of(curve: Curve) -> set[tuple[int, int]]:
    """(x, y) of each dot, y from the bottom, by the braille block's own numbering."""
    order = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3)]
    return {
        (2 * column + x, 4 * curve.height - 1 - (4 * row + y))
        for row, cells in enumerate(curve.cells)
        for column, cell in enumerate(cells)
        for bit, (x, y) in enumerate(order)
        if cell >> bit & 1
    }


def words_of(lines: list[Line]) -> list[str]:
    return ["".join(segment.text for segment in line) for line in lines]


def canvas(drawn: list[tuple[float, float]], width: int, height: int) -> Curve:
    across, up = ([p[axis] for p in drawn] for axis in (0, 1))
    return Curve(width, height, x=(min(across), max(across)), y=(min(up), max(up)))


@given(points, st.integers(1, 30), st.integers(1, 8))
def test_points_lie_where_their_values_say(drawn: list[tuple[float, float]], width: int, height: int) -> None:
    curve = canvas(drawn, width, height)
    curve.points(tuple(drawn))
    sides = []
    for axis, dots in ((0, 2 * width), (1, 4 * height)):
        low, high = min(p[axis] for p in drawn), max(p[axis] for p in drawn)
        sides.append([round(((p[axis] - low) / (high - low) if high > low else 0.5) * (dots - 1)) for p in drawn])
    assert dots_of(curve) == set(zip(*sides, strict=True))
    assert {(height - 1 - y // 4, x // 2) for x, y in zip(*sides, strict=True)} == set(curve.cells_of(tuple(drawn)))


@given(points, st.integers(2, 30), st.integers(1, 8))
def test_a_line_has_no_gaps_and_meets_its_points(drawn: list[tuple[float, float]], width: int, height: int) -> None:
    drawn = sorted(drawn)
    line, dots = canvas(drawn, width, height), canvas(drawn, width, height)
    line.line(tuple(drawn))
    dots.points(tuple(drawn))
    marks = dots_of(line)
    assert dots_of(dots) <= marks
    if len({x for x, _ in drawn}) > 1:
        assert {x for x, _ in marks} == set(range(2 * width))
    for x, y in marks:  # each dot touches another one
        near = {(x + i, y + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} - {(x, y)}
        assert len(marks) == 1 or near & marks


values = st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=40)


@given(values, st.integers(0, 60), st.integers(0, 12), st.integers(0, 30), st.booleans())
def test_a_chart_keeps_to_its_room(numbers: list[float], columns: int, rows: int, right: int, needed: bool) -> None:
    drawn = tuple((float(100 * i), v) for i, v in enumerate(numbers))
    chart = Chart(drawn, drawn, drawn[::3], float(max(1, 100 * len(numbers))), 475.0 if needed else None)
    lines = chart_lines(chart, columns, rows, right)
    assert len(lines) in (0, rows)
    assert all(Segment.get_line_length(line) <= chart.gutter + columns + right for line in lines)
    if rows >= 3 and columns >= 8:
        assert lines


def test_a_chart_says_what_it_shows() -> None:
    returns = tuple((float(step), step / 10) for step in range(0, 5001, 100))
    chart = Chart(returns, returns, ((2500.0, 60.0), (5000.0, 500.0)), 10_000.0, 475.0)
    lines = chart_lines(chart, 40, 9, 16)
    text = words_of(lines)
    assert text[0].startswith("500 ")
    assert text[0].endswith("  needs 475")
    assert text[-2].startswith("  0 ")
    assert text[-1].split() == ["0", "5k", "10k"]
    assert any(line.startswith("250 ") for line in text)
    legend = "\n".join(text)
    for words in ("◆ evaluation", "━ mean of 20", "⠄ return"):
        assert words in legend
    # Half of the budget is used: the last evaluation stands in the middle, above the tick of its step.
    at = text[0].index("◆")
    assert abs(at - text[-1].index("5k")) <= 1
    assert not text[0][at + 1 : 40].replace("⠤", "").strip()
    styles = {str(segment.style) for line in lines for segment in line}
    assert {"bold green", "cyan", "color(166)", "dim"} <= styles


def test_values_below_zero_and_none_at_all() -> None:
    low = Chart(((0.0, -200.0), (9.0, -110.0)), (), (), 10.0)
    assert low.range == (-200.0, -100.0)
    assert words_of(chart_lines(low, 20, 5, 0))[0].startswith("-100 ")
    assert not "".join(words_of(chart_lines(Chart(((0.0, math.nan),), (), (), 1.0), 20, 5, 0))).strip()


def test_no_label_is_cut_and_the_axis_has_an_end() -> None:
    chart = Chart(((0.0, 0.0), (9.0, 0.341)), (), (), 40_000.0)
    text = words_of(chart_lines(chart, 18, 9, 0))
    assert [line.split()[0] for line in (text[0], text[3], text[7])] == ["0.35", "0.175", "0"]
    assert text[-1].split() == ["0", "40k"]
