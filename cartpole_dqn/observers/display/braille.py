"""A small chart of braille characters: each cell is 2 dots wide and 4 high.

* `Curve`: a canvas for points and lines.
* `Chart`: what a run's chart shows; `chart_lines` draws it, with ticks, its threshold and a legend.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass

from rich.segment import Segment
from rich.style import Style

from cartpole_dqn.text.figures import compact

Points = tuple[tuple[float, float], ...]
"""(step, value)."""

Line = list[Segment]

_MARKED = Style(color="color(166)")
"""Evaluations and the threshold: an orange that is readable on light and on dark."""
_MEAN, _RETURN, _DIM, _NONE = Style(color="green", bold=True), Style(color="cyan"), Style(dim=True), Style()
# The bit of each dot of a cell, by row (from the top) and column.
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_EMPTY = 0x2800
_LEGEND = [
    [Segment(mark, style), Segment(f" {words}")]
    for mark, style, words in (("◆", _MARKED, "evaluation"), ("━", _MEAN, "mean of 20"), ("⠄", _RETURN, "return"))
]
_TICK_CELLS = 12
"""Least distance of two ticks."""


class Curve:
    """A canvas of `width` x `height` cells, for points within `x` and `y`, each (lowest, highest).

    Values outside are moved to the nearer end.

    >>> curve = Curve(2, 1, x=(0, 1), y=(0, 1))
    >>> curve.line(((0, 0), (1, 1)))
    >>> "".join(chr(0x2800 + cell) for cell in curve.cells[0])
    '⡠⠊'
    """

    def __init__(self, width: int, height: int, *, x: tuple[float, float], y: tuple[float, float]) -> None:
        self.width, self.height = width, height
        self.cells = [[0] * width for _ in range(height)]
        """The dots of each cell as bits, from the top left."""
        self._x, self._y = x, y

    def points(self, points: Points) -> None:
        """Draw a dot for each point."""
        for x, y in self._places(points):
            self._dot(x, y)

    def line(self, points: Points) -> None:
        """Join the points by straight lines."""
        places = self._places(points)
        for (x, y), (next_x, next_y) in itertools.pairwise(places if len(places) != 1 else places * 2):
            steps = max(abs(next_x - x), abs(next_y - y), 1)
            for k in range(steps + 1):
                self._dot(x + round((next_x - x) * k / steps), y + round((next_y - y) * k / steps))

    def cells_of(self, points: Points) -> list[tuple[int, int]]:
        """Return the (row, column) of the cell of each point."""
        return [(self.height - 1 - y // 4, x // 2) for x, y in self._places(points)]

    def _dot(self, x: int, y: int) -> None:
        row = self.height * 4 - 1 - y
        self.cells[row // 4][x // 2] |= _DOTS[row % 4][x % 2]

    def _places(self, points: Points) -> list[tuple[int, int]]:
        """Return the points' dots: x from the left, y from the bottom."""
        across, up = self.width * 2 - 1, self.height * 4 - 1
        return [(round(_share(x, self._x) * across), round(_share(y, self._y) * up)) for x, y in points]


@dataclass(frozen=True)
class Chart:
    """Returns over environment steps."""

    returns: Points
    means: Points
    evaluations: Points
    end: float
    """The step at the right edge."""
    threshold: float | None = None

    @property
    def range(self) -> tuple[float, float]:
        """The lowest and the highest value, including 0 from below, in round figures."""
        values = [value for _, value in (*self.returns, *self.means, *self.evaluations) if math.isfinite(value)]
        marks = [] if self.threshold is None else [self.threshold]
        low, high = min([*values, *marks, 0.0]), max([*values, *marks], default=1.0)
        return _round_down(low), max(-_round_down(-high), low + 1.0 if high <= low else high)

    @property
    def gutter(self) -> int:
        """The cells that the labels at the left take."""
        low, high = self.range
        return max(len(compact(value)) for value in (low, (low + high) / 2, high)) + 1


@functools.lru_cache(maxsize=1)  # A long curve is drawn again only when it has changed.
def chart_lines(chart: Chart, columns: int, rows: int, right: int) -> list[Line]:
    """Draw a chart in `rows` lines, with the last one for ticks.

    Args:
        chart: what to draw.
        columns: cells for the plot, between `chart.gutter` and `right`.
        rows: lines. There are none below 3, or without room or values.
        right: cells for the threshold's name and the legend.
    """
    height = rows - 1
    if height < 2 or columns < 8:
        return []
    low, high = chart.range
    returns, means, marks = (_finite(p) for p in (chart.returns, chart.means, chart.evaluations))
    dots, line, level = (Curve(columns, height, x=(0.0, max(1.0, chart.end)), y=(low, high)) for _ in range(3))
    dots.points(returns)
    line.line(means)
    beside: dict[int, Line] = {}
    if chart.threshold is not None:
        ends = ((0.0, chart.threshold), (chart.end, chart.threshold))
        level.line(ends)
        beside[level.cells_of(ends)[0][0]] = [Segment(f"needs {compact(chart.threshold)}", _MARKED)]
    has_data = bool(returns or marks or chart.threshold is not None)
    free = [row for row in range(height - 1, -1, -1) if row not in beside]
    beside |= dict(zip(free, reversed(_LEGEND), strict=False))
    labels = {0: compact(high), height - 1: compact(low)} if has_data else {}
    if has_data and height >= 5:
        middle = (low + high) / 2
        labels[dots.cells_of(((0.0, middle),))[0][0]] = compact(middle)
    diamonds = set(dots.cells_of(marks))
    gutter = chart.gutter
    lines = []
    for row in range(height):
        layers = zip(dots.cells[row], line.cells[row], level.cells[row], strict=True)
        cells = [("◆", _MARKED) if (row, i) in diamonds else _cell(*bits) for i, bits in enumerate(layers)]
        segments = [Segment(labels.get(row, "").rjust(gutter - 1) + " ", _DIM)]
        for style, run in itertools.groupby(cells, key=lambda cell: cell[1]):
            segments.append(Segment("".join(character for character, _ in run), style))
        note = beside.get(row, [])
        if note and Segment.get_line_length(note) + 2 <= right:
            segments += [Segment("  "), *note]
        lines.append(segments)
    return [*lines, [Segment(" " * gutter + (_ticks(chart.end, columns) if has_data else ""), _DIM)]]


def legend(width: int) -> Line:
    """Return as much of the legend as fits in one line."""
    line: Line = []
    for part in _LEGEND:
        more = [Segment("  "), *part] if line else part
        if Segment.get_line_length([*line, *more]) <= width:
            line += more
    return line


def _cell(dot: int, stroke: int, level: int) -> tuple[str, Style]:
    """Return a cell's character and style: the mean's line over returns over the threshold."""
    style = _MEAN if stroke else _RETURN if dot else _MARKED if level else _NONE
    return chr(_EMPTY + (stroke or dot or level)) if style else " ", style


def _ticks(end: float, columns: int) -> str:
    """Return round numbers of steps below the places where they belong."""
    most = max(1, columns // _TICK_CELLS)
    power = 10.0 ** math.floor(math.log10(max(end, 1.0) / most))
    apart = max(1.0, next(f * power for f in (1, 2, 2.5, 5, 10, 20) if max(end, 1.0) / (f * power) <= most))
    row = [" "] * columns
    # Where no round number fits but 0, the end is one.
    for step in (k * apart for k in range(int(end / apart + 1e-9) + 1)) if apart <= end else (0.0, end):
        label = compact(step)
        at = round(step / max(end, 1.0) * (columns - 1))
        start = min(max(0, at - (len(label) // 2 if step else 0)), columns - len(label))
        row[start : start + len(label)] = label
    return "".join(row).rstrip()


def _round_down(value: float) -> float:
    """Return the next lower half of a power of ten: -500 for -475."""
    if value == 0:
        return 0.0
    apart = 10.0 ** math.floor(math.log10(abs(value))) / 2
    return math.floor(value / apart + 1e-9) * apart


def _share(value: float, limits: tuple[float, float]) -> float:
    low, high = limits
    return min(1.0, max(0.0, (value - low) / (high - low))) if high > low else 0.5


def _finite(points: Points) -> Points:
    return tuple((x, y) for x, y in points if math.isfinite(y))
