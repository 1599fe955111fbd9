"""Small curves of braille characters: each cell is 2 dots wide and 4 high.

* `Curve`: draws points and lines in dots, then gives the cells.
* `curve_lines`: returns as dim dots, their running mean as a line, with the range at the left.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from rich.text import Text

# The bit of each dot of a cell, by row (from the top) and column.
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_EMPTY = 0x2800


class Curve:
    """A canvas of `width` x `height` cells; coordinates are dots, x from the left and y from the bottom.

    >>> curve = Curve(2, 1)
    >>> curve.line([0.0, 1.0], low=0.0, high=1.0)
    >>> curve.rows()
    ['⡠⠊']
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._cells = [[0] * width for _ in range(height)]

    def dot(self, x: int, y: int) -> None:
        """Set one dot."""
        row = self.height * 4 - 1 - y
        self._cells[row // 4][x // 2] |= _DOTS[row % 4][x % 2]

    def points(self, values: Sequence[float], *, low: float, high: float) -> None:
        """Set a dot for each value, spread over the whole width; values outside `low`..`high` are moved to its ends."""
        for i, value in enumerate(values):
            self.dot(self._x(i, len(values)), self._y(value, low, high))

    def line(self, values: Sequence[float], *, low: float, high: float) -> None:
        """Join the values by straight lines, spread over the whole width."""
        dots = [(self._x(i, len(values)), self._y(value, low, high)) for i, value in enumerate(values)]
        for (x, y), (next_x, next_y) in itertools.pairwise(dots):
            steps = max(next_x - x, abs(next_y - y), 1)
            for k in range(steps + 1):
                self.dot(x + round((next_x - x) * k / steps), y + round((next_y - y) * k / steps))
        if len(dots) == 1:
            self.dot(*dots[0])

    def masks(self) -> list[list[int]]:
        """Return the dots of each cell as bits, from the top left; 0 where there are none."""
        return self._cells

    def rows(self) -> list[str]:
        """Return the characters, from the top."""
        return ["".join(chr(_EMPTY + cell) for cell in row) for row in self._cells]

    def _x(self, i: int, count: int) -> int:
        return round(i * (self.width * 2 - 1) / max(1, count - 1))

    def _y(self, value: float, low: float, high: float) -> int:
        share = (value - low) / (high - low) if high > low else 0.5
        return round(min(1.0, max(0.0, share)) * (self.height * 4 - 1))


def curve_lines(values: Sequence[float], means: Sequence[float], width: int, height: int) -> list[Text]:
    """Draw `values` as dots and `means` as a line over them in `height` lines of `width` cells.

    The range of the finite values stands at the left; it begins at 0 where none is negative. Returns no lines where
    there is nothing to draw or no room.
    """
    values = [v for v in values if math.isfinite(v)]
    means = [v for v in means if math.isfinite(v)]
    if height < 2 or not values:
        return []
    low, high = min([*values, *means]), max([*values, *means])
    low = min(low, 0.0)
    if low == high:
        high = low + 1.0
    labels = [_label(high), *[""] * (height - 2), _label(low)]
    gutter = max(len(label) for label in labels)
    columns = width - gutter - 1
    if columns < 4:
        return []
    dots, line = Curve(columns, height), Curve(columns, height)
    dots.points(values, low=low, high=high)
    line.line(means, low=low, high=high)
    return [
        _row(label.rjust(gutter), dot_row, line_row)
        for label, dot_row, line_row in zip(labels, dots.masks(), line.masks(), strict=True)
    ]


def _row(label: str, dots: Sequence[int], line: Sequence[int]) -> Text:
    text = Text.assemble((label + " ", "dim"), no_wrap=True, end="")
    cells = zip(dots, line, strict=True)
    # A span for each run of cells in one style, not for each cell: drawing takes time that the run could use.
    for on_line, run in itertools.groupby(cells, key=lambda cell: bool(cell[1])):
        masks = [dot | stroke for dot, stroke in run]
        characters = "".join(chr(_EMPTY + mask) if mask else " " for mask in masks)
        text.append(characters, style="bold green" if on_line else "dim")
    return text


def _label(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}" if abs(value) < 1e6 else f"{value:.1e}"
