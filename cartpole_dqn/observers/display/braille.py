"""Small curves of braille characters: each cell is 2 dots wide and 4 high.

* `Curve`: a canvas for points and lines.
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
    """A canvas of `width` x `height` cells.

    Values are spread over the whole width. Those outside `low`..`high` are moved to the nearer end.

    >>> curve = Curve(2, 1)
    >>> curve.line([0.0, 1.0], low=0.0, high=1.0)
    >>> curve.rows()
    ['⡠⠊']
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.cells = [[0] * width for _ in range(height)]
        """The dots of each cell as bits, from the top left."""

    def points(self, values: Sequence[float], *, low: float, high: float) -> None:
        """Draw a dot for each value."""
        for x, y in self._places(values, low, high):
            self._dot(x, y)

    def line(self, values: Sequence[float], *, low: float, high: float) -> None:
        """Join the values by straight lines."""
        places = self._places(values, low, high)
        for (x, y), (next_x, next_y) in itertools.pairwise(places if len(places) != 1 else places * 2):
            steps = max(next_x - x, abs(next_y - y), 1)
            for k in range(steps + 1):
                self._dot(x + round((next_x - x) * k / steps), y + round((next_y - y) * k / steps))

    def rows(self) -> list[str]:
        """Return the characters of each row, from the top."""
        return ["".join(chr(_EMPTY + cell) for cell in row) for row in self.cells]

    def _dot(self, x: int, y: int) -> None:
        row = self.height * 4 - 1 - y
        self.cells[row // 4][x // 2] |= _DOTS[row % 4][x % 2]

    def _places(self, values: Sequence[float], low: float, high: float) -> list[tuple[int, int]]:
        """Return the values' dots: x from the left, y from the bottom."""
        shares = [(value - low) / (high - low) if high > low else 0.5 for value in values]
        apart = (self.width * 2 - 1) / max(1, len(shares) - 1)
        top = self.height * 4 - 1
        return [(round(i * apart), round(min(1.0, max(0.0, share)) * top)) for i, share in enumerate(shares)]


def curve_lines(values: Sequence[float], means: Sequence[float], width: int, height: int) -> list[Text]:
    """Draw `values` as dots and `means` as a line over them, in `height` lines of `width` cells.

    The range of the finite values stands at the left and includes 0 from below. Without values or room there are no
    lines.
    """
    values = [v for v in values if math.isfinite(v)]
    means = [v for v in means if math.isfinite(v)]
    if height < 2 or not values:
        return []
    low, high = min([*values, *means, 0.0]), max([*values, *means])
    if low == high:
        high = low + 1.0
    labels = [_label(high), *[""] * (height - 2), _label(low)]
    gutter = max(map(len, labels))
    columns = width - gutter - 1
    if columns < 4:
        return []
    dots, line = Curve(columns, height), Curve(columns, height)
    dots.points(values, low=low, high=high)
    line.line(means, low=low, high=high)
    rows = zip(labels, dots.cells, line.cells, strict=True)
    return [_row(label.rjust(gutter), *cells) for label, *cells in rows]


def _row(label: str, dots: Sequence[int], line: Sequence[int]) -> Text:
    text = Text.assemble((label + " ", "dim"), no_wrap=True, end="")
    cells = zip(dots, line, strict=True)
    # One span for each run of cells in one style instead of one per cell: drawing takes time from the run.
    for on_line, run in itertools.groupby(cells, key=lambda cell: bool(cell[1])):
        characters = "".join(chr(_EMPTY + mask) if (mask := dot | stroke) else " " for dot, stroke in run)
        text.append(characters, style="bold green" if on_line else "dim")
    return text


def _label(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}" if abs(value) < 1e6 else f"{value:.1e}"
