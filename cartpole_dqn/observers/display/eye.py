"""What an agent sees, drawn in a terminal.

* `eye_lines`: a `Glimpse`: its pictures in half blocks, and a bar for the value of each action.
* `half_blocks`: a picture as lines, two pixels in each cell.
"""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
from PIL import Image
from rich.cells import set_cell_size
from rich.color import Color
from rich.segment import Segment
from rich.style import Style

from cartpole_dqn.contracts.events import Glimpse
from cartpole_dqn.contracts.pictures import Panel, Picture, colours_of
from cartpole_dqn.text.figures import number

Line = list[Segment]

_MOST_PICTURES, _MOST_ACTIONS, _MOST_NUMBERS = 4, 6, 12
_LABEL = 17
_DIM, _BOLD, _TAKEN = Style(dim=True), Style(bold=True), Style(color="green", bold=True)
_SHADES = " .:-=+*#%@"
"""Darker from left to right, for terminals without colours."""


def eye_lines(glimpse: Glimpse, width: int, height: int, *, colour: bool = True) -> list[Line]:
    """Return at most `height` lines of at most `width` cells, which are 24 or more."""
    values = _values(glimpse, width)
    lines = [[Segment("what the agent sees", _BOLD), Segment(f"  {glimpse.observed}", _DIM)]]
    pictures = [panel for panel in glimpse.panels if panel.kind != "numbers"][-_MOST_PICTURES:]
    numbers = [panel for panel in glimpse.panels if panel.kind == "numbers"]
    room = height - len(values) - 2
    for panel in numbers:
        lines += _numbers(panel, width, room // 2 if pictures else room)
        room -= len(lines) - 1
    changed = "what changed: red more, blue less" if colour else "what changed"
    pair = [panel.kind for panel in pictures] == ["grey", "difference"]
    for panel in pictures:
        caption = changed if panel.kind == "difference" else "now" if pair else panel.caption
        lines += [[Segment(caption, _DIM)]] * bool(caption)
        rows = max(1, room // len(pictures) - bool(caption))
        lines += half_blocks(colours_of(panel, moving=True), width, rows, colour=colour)
    return [Segment.adjust_line_length(line, width, pad=False) for line in [*lines, [], *values][:height]]


def half_blocks(picture: Picture, width: int, rows: int, *, colour: bool = True) -> list[Line]:
    """Draw a picture [H, W, 3] in at most `rows` lines of `width` cells. Without `colour` characters shade it."""
    high, wide = picture.shape[:2]
    zoom = min(width / wide, 2 * rows / high)
    columns, pixels = max(1, int(wide * zoom)), max(2, 2 * math.ceil(high * zoom / 2))
    # The mean of the pixels in each place, or the nearest one.
    small = np.asarray(Image.fromarray(picture).resize((columns, pixels), Image.Resampling.BOX))
    if not colour:
        # Red and blue differences have little green: so has black.
        dark = (255 - small.reshape(-1, 2, columns, 3).mean(axis=1)[..., 1]) * (len(_SHADES) - 1) / 255
        return [[Segment("".join(_SHADES[round(float(d))] for d in row))] for row in dark]
    # 32 levels are enough to look at, and repeat more often. Each cell's two colours are one whole number, which Python
    # compares faster than tuples.
    levels = (small & 0xF8 | small >> 5).astype(np.int64)
    cells = np.concatenate([levels[::2], levels[1::2]], axis=2) @ (256 ** np.arange(5, -1, -1, dtype=np.int64))
    return [
        [Segment("▀" * len(list(run)), _style(cell)) for cell, run in itertools.groupby(row)] for row in cells.tolist()
    ]


def _numbers(panel: Panel, width: int, rows: int) -> list[Line]:
    values = panel.values[: max(0, min(rows, _MOST_NUMBERS))].tolist()
    return [_bar(panel.name(i), v, max(1.0, abs(v)), width, is_chosen=False) for i, v in enumerate(values)]


def _values(glimpse: Glimpse, width: int) -> list[Line]:
    """Return a bar for the value of each action."""
    if glimpse.q_values is None:
        return []
    values = glimpse.q_values[:_MOST_ACTIONS].tolist()
    most = max(1e-9, *(abs(value) for value in values if math.isfinite(value)), 0.0)
    names = [*glimpse.actions, *(f"action {i}" for i in range(len(glimpse.actions), len(values)))]
    bars = [
        _bar(name, v, most, width, is_chosen=i == glimpse.action)
        for i, (name, v) in enumerate(zip(names, values, strict=False))
    ]
    return [[Segment("value of each action", _BOLD)], *bars]


def _bar(name: str, value: float, most: float, width: int, *, is_chosen: bool) -> Line:
    figure = number(value, 3)
    label = set_cell_size(name, min(_LABEL, width - 10))
    columns = max(0, width - _LABEL - 10)
    share = abs(value) / most if math.isfinite(value) else 0.0
    length = round(columns * min(1.0, share))
    style = _TAKEN if is_chosen else Style()
    return [
        Segment(label, style),
        Segment("━" * length, Style(color="green") if is_chosen else Style(color="cyan")),
        Segment(" " * (columns - length)),
        Segment(figure.rjust(10)[-10:], style),
    ]


@functools.lru_cache(maxsize=4096)
def _style(cell: int) -> Style:
    return Style.from_color(_colour(cell >> 24), _colour(cell & 0xFFFFFF))


@functools.lru_cache(maxsize=1024)
def _colour(code: int) -> Color:
    return Color.from_rgb(*code.to_bytes(3, "big"))
