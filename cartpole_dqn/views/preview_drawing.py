"""What agents see as one picture.

* `draw_previews`: the stages of a preview, or two previews and more side by side.

Pixels are enlarged without smoothing, differences are drawn around the page's colour, edges number rows and columns, a
dashed line encloses what the next stage keeps, and a bar shows what colours mean.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from cartpole_dqn.contracts.pictures import Kind, Panel
from cartpole_dqn.envs.stages import Stage
from cartpole_dqn.files import replace_file, require_suffix, writing
from cartpole_dqn.views import panels as paint
from cartpole_dqn.views.colours import Theme
from cartpole_dqn.views.panels import Canvas
from cartpole_dqn.views.preview import Preview

Sized = tuple[Panel, tuple[int, int]]
"""A picture, and the width and height to draw it in."""

_MARGIN, _GAP, _LABEL, _PICTURES, _RULER = 24, 34, 180, 920, 30  # pixels
_SHARED, _LEAST = 430, 240
"""Width of the pictures where two previews stand side by side, and the least one."""
_TALLEST, _SPACE, _TITLE, _FACT, _BAR, _HEADING, _MOST_SCALES = 300, 12, 26, 19, 30, 62, 3
_NUMBERED = 64
"""Least distance of a ruler's numbers in pixels across; half of it down."""


def draw_previews(previews: Sequence[Preview], out: Path | str, *, theme: Theme = "light") -> None:
    """Draw previews side by side into the picture `out`, complete or not at all, in the format of its ending.

    The stages of two previews or more stand below each other. Those of a single one share lines where they fit.

    Raises:
        ValueError: there is no preview, or one without a stage.
        UserError: the name does not end like a picture's, or the file cannot be written.
    """
    require_suffix(path := Path(out), "a picture", (".png", ".jpg", ".jpeg", ".webp"))
    if not previews or not all(preview.stages for preview in previews):
        raise ValueError("draw_previews: expected one preview or more, with a stage or more each.")
    several = len(previews) > 1
    wide = _SHARED if several else _PICTURES
    columns = [
        _lines([_Row(preview.stages, i, wide) for i in range(len(preview.stages))], _LABEL + wide + _RULER)
        for preview in previews
    ]
    above = _MARGIN + (_HEADING if several else 0)
    height = above + max(sum(_height(line) + _GAP for line in lines) for lines in columns)
    column = max(_width(line) for lines in columns for line in lines)
    canvas = Canvas(_MARGIN + (column + _MARGIN) * len(columns), height, theme)
    for i, (preview, lines) in enumerate(zip(previews, columns, strict=True)):
        start, top = _MARGIN + i * (column + _MARGIN), above
        if several:
            canvas.write((start, _MARGIN), preview.title, room=column, size=20, bold=True)
            colour = "green" if preview.good else "red"
            canvas.write((start, _MARGIN + 28), preview.finding, size=16, colour=colour, bold=True)
        for line in lines:
            left = start
            for row in line:
                row.draw(canvas, left, top)
                left += row.width + _MARGIN
            top += _height(line) + _GAP
    picture = io.BytesIO()
    canvas.image.save(picture, format=Image.registered_extensions()[path.suffix.lower()])
    with writing(path):
        replace_file(path, picture.getvalue())


def _lines(rows: Sequence[_Row], room: int) -> list[list[_Row]]:
    """Return the rows in lines of at most `room` pixels."""
    lines: list[list[_Row]] = []
    for row in rows:
        if lines and _width([*lines[-1], row]) <= room:
            lines[-1].append(row)
        else:
            lines.append([row])
    return lines


def _width(line: Sequence[_Row]) -> int:
    return sum(row.width + _MARGIN for row in line) - _MARGIN


def _height(line: Sequence[_Row]) -> int:
    return max(row.height for row in line)


class _Row:
    """A stage's label and its pictures, with width and height known before drawing.

    Its pictures stand side by side. In a comparison they stand below each other, to be large.
    """

    def __init__(self, stages: Sequence[Stage], number: int, wide: int) -> None:
        self._stage, last = stages[number], number == len(stages) - 1
        self._title = f"{number}  {self._stage.name}"
        panels = self._stage.panels()
        shown = panels[: paint.MOST_PANELS]
        across = 1 if wide == _SHARED else max(1, len(shown))
        share = (wide - _SPACE * (across - 1)) // across
        sizes = [
            (min(share, _SHARED), paint.numbers_height(len(panel.values)))
            if panel.kind == "numbers"
            else paint.size_within(panel.values.shape, share, _TALLEST)
            for panel in shown
        ]
        sized = list(zip(shown, sizes, strict=True))
        self._pictures = [sized[i : i + across] for i in range(0, len(sized), across)]
        self._drop = paint.CAPTION + 2 if any(panel.caption for panel in shown) else 0
        self._lines = [(line, "ink") for fact in self._stage.facts() for line in textwrap.wrap(fact, 26)[:3]]
        if len(panels) > paint.MOST_PANELS:
            self._lines.append((f"and {len(panels) - paint.MOST_PANELS} more pictures", "ink"))
        if last:
            self._lines.append(("what the agent sees", "red"))
        scales = [(panel.kind, *panel.span()) for panel in shown if panel.kind in ("grey", "difference")]
        self._scales = list(dict.fromkeys(scales))[:_MOST_SCALES]
        tall = [max(size[1] for _, size in line) for line in self._pictures]
        self._tops = [sum(tall[:i]) + i * (self._drop + _RULER) for i in range(len(tall))]
        pictures = self._tops[-1] + tall[-1] + self._drop if tall else 0
        line_widths = [sum(max(size[0], 90) + _SPACE for _, size in line) for line in self._pictures]
        pictures_width = max(_LEAST, *line_widths) - _SPACE if line_widths else _PICTURES
        self.width = _LABEL + (_SHARED if wide == _SHARED else pictures_width) + _RULER
        self.height = max(pictures, _TITLE + _FACT * len(self._lines) + _BAR * len(self._scales))

    def draw(self, canvas: Canvas, start: int, top: int) -> None:
        """Draw the label at `start`, and the pictures beside it."""
        end = start + self.width
        canvas.write((start, top), self._title, room=_LABEL - _SPACE, size=16)
        for i, (line, colour) in enumerate(self._lines):
            canvas.write((start, top + _TITLE + _FACT * i), line, colour=colour)
        for i, scale in enumerate(self._scales):
            _draw_scale(canvas, *scale, (start, top + _TITLE + _FACT * len(self._lines) + _BAR * i + 4))
        for pictures, above in zip(self._pictures, self._tops, strict=True):
            self._draw_line(canvas, pictures, (start + _LABEL, top + above), end)
        if not self._pictures:
            for i, line in enumerate(textwrap.wrap(repr(self._stage.obs), (end - start - _LABEL) // 8)[:5]):
                canvas.write((start + _LABEL, top + _FACT * i), line)

    def _draw_line(self, canvas: Canvas, pictures: Sequence[Sized], place: tuple[int, int], end: int) -> None:
        """Draw pictures side by side."""
        left, top = place
        for i, (panel, size) in enumerate(pictures):
            is_last = i == len(pictures) - 1
            room = end - left if is_last else size[0]
            canvas.write((left, top), panel.caption, room=room, size=12)
            corner = (left, top + self._drop)
            if panel.kind == "numbers":
                paint.draw_numbers(canvas, panel, (*corner, left + size[0], corner[1] + size[1]))
            else:
                crop = self._stage.kept if panel.is_cut(self._stage.kept) else None
                canvas.paste(canvas.colours_of(panel), corner, size, kept=crop)
                _draw_rulers(canvas, panel, corner, size, across=i == 0, down=is_last)
            left += max(size[0], 90) + _SPACE


def _draw_scale(canvas: Canvas, kind: Kind, low: float, high: float, place: tuple[int, int]) -> None:
    """Draw a bar with the colours of the values from `low` to `high`."""
    middle = (low + high) / 2
    values = np.linspace(low, high, _LABEL - 2 * _SPACE)[None].repeat(8, axis=0)
    width = values.shape[1]
    colours = canvas.colours_of(Panel("", values, kind, low, high, middle))
    canvas.paste(colours, place, (width, 8))
    for anchor, value in (("la", low), ("ra", high), *([("ma", middle)] if kind == "difference" else [])):
        x = place[0] + {"l": 0, "m": width // 2, "r": width}[anchor[0]]
        canvas.write((x, place[1] + 10), f"{value:.4g}", size=10, colour="faint", anchor=anchor)


def _draw_rulers(
    canvas: Canvas, panel: Panel, place: tuple[int, int], size: tuple[int, int], *, across: bool, down: bool
) -> None:
    """Number columns below and rows beside a picture at `place`, `size` in pixels on paper."""
    rows, columns = panel.values.shape[:2]
    right, bottom = place[0] + size[0], place[1] + size[1]
    for mark in _marks(columns, size[0], _NUMBERED) if across else ():
        x = place[0] + round(mark * size[0] / columns)
        canvas.draw.line((x, bottom, x, bottom + 3), fill=canvas.palette.line)
        canvas.write((x, bottom + 4), str(mark), size=10, colour="faint", anchor="ma")
    for mark in _marks(rows, size[1], _NUMBERED // 2) if down else ():
        y = place[1] + round(mark * size[1] / rows)
        canvas.draw.line((right, y, right + 3, y), fill=canvas.palette.line)
        canvas.write((right + 6, y), str(mark), size=10, colour="faint", anchor="lm")


def _marks(count: int, pixels: int, apart: int) -> range:
    """Return round numbers up to `count` at least `apart` pixels from each other on a line of `pixels`."""
    steps = (digit * 10**power for power in range(12) for digit in (1, 2, 5))
    return range(0, count + 1, next(step for step in steps if step * pixels >= apart * count))
