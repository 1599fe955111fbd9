"""`draw_preview`: a preview's stages as one picture.

Pixels are enlarged without smoothing, differences are drawn around white, edges number rows and columns, and a broken
line encloses what the next stage keeps.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from cartpole_dqn.contracts.pictures import PAPER, RED, Panel
from cartpole_dqn.envs.stages import Stage
from cartpole_dqn.files import replace_file
from cartpole_dqn.views import panels as paint

_MARGIN, _GAP, _LABEL, _PICTURES, _RULER = 24, 34, 180, 920, 30  # pixels
_TALLEST, _SPACE, _TITLE, _FACT = 300, 12, 26, 19
_NUMBERED = 64
"""Least distance of a ruler's numbers in pixels across; half of it down."""


def draw_preview(stages: Sequence[Stage], out: Path | str) -> None:
    """Draw the stages below each other into the picture `out`, complete or not at all, in the format of its ending.

    Raises:
        ValueError: there is no stage, or Pillow cannot write this format.
        OSError: the picture cannot be written.
    """
    if not stages:
        raise ValueError("draw_preview: expected one stage or more, got none.")
    rows = [_Row(stage, f"{i}  {stage.title}", last=i == len(stages) - 1) for i, stage in enumerate(stages)]
    height = _MARGIN + sum(row.height + _GAP for row in rows)
    image = Image.new("RGB", (_MARGIN * 2 + _LABEL + _PICTURES + _RULER, height), PAPER)
    top = _MARGIN
    for row in rows:
        row.draw(image, top)
        top += row.height + _GAP
    path, picture = Path(out), io.BytesIO()
    suffix = path.suffix.lower() or ".png"
    if suffix not in Image.registered_extensions():
        raise ValueError(f"{path}: expected a picture's name, such as one ending in .png.")
    image.save(picture, format=Image.registered_extensions()[suffix])
    replace_file(path, picture.getvalue())


class _Row:
    """A stage's label and its pictures side by side, with its height known before drawing."""

    def __init__(self, stage: Stage, title: str, *, last: bool) -> None:
        self._stage, self._title = stage, title
        panels = stage.panels()
        self._panels = panels[: paint.MOST_PANELS]
        share = (_PICTURES - _SPACE * (len(self._panels) - 1)) // max(1, len(self._panels))
        self._sizes = [
            (share, paint.numbers_height(len(panel.values)))
            if panel.kind == "numbers"
            else paint.size_within(panel.values.shape, share, _TALLEST)
            for panel in self._panels
        ]
        self._drop = paint.CAPTION + 2 if any(panel.caption for panel in self._panels) else 0
        self._lines = [(line, paint.INK) for fact in stage.facts() for line in textwrap.wrap(fact, 26)[:3]]
        if len(panels) > paint.MOST_PANELS:
            self._lines.append((f"and {len(panels) - paint.MOST_PANELS} more pictures", paint.INK))
        if last:
            self._lines.append(("what the agent sees", RED))
        tallest = max((size[1] for size in self._sizes), default=0)
        self.height = max(tallest + self._drop, _TITLE + _FACT * len(self._lines))

    def draw(self, image: Image.Image, top: int) -> None:
        draw = ImageDraw.Draw(image)
        paint.write(draw, (_MARGIN, top), paint.shortened(self._title, _LABEL - _SPACE, 16), size=16)
        for i, (line, colour) in enumerate(self._lines):
            paint.write(draw, (_MARGIN, top + _TITLE + _FACT * i), line, colour=colour)
        left = _MARGIN + _LABEL
        for panel, size in zip(self._panels, self._sizes, strict=True):
            first, final = panel is self._panels[0], panel is self._panels[-1]
            room = image.width - left - _MARGIN if final else size[0]
            paint.write(draw, (left, top), paint.shortened(panel.caption, room, 12), size=12)
            place = (left, top + self._drop)
            if panel.kind == "numbers":
                paint.draw_numbers(draw, panel.values, (*place, left + size[0], place[1] + size[1]), (), None)
            else:
                paint.paste(image, panel, place, size, kept=self._stage.kept)
                _draw_rulers(draw, panel, place, size, across=first, down=final)
            left += max(size[0], 90) + _SPACE
        if not self._panels:
            for i, line in enumerate(textwrap.wrap(repr(self._stage.obs), 120)[:5]):
                paint.write(draw, (left, top + _FACT * i), line)


def _draw_rulers(
    draw: ImageDraw.ImageDraw, panel: Panel, place: tuple[int, int], size: tuple[int, int], *, across: bool, down: bool
) -> None:
    """Number columns below and rows beside a picture at `place`, `size` in pixels on paper."""
    rows, columns = panel.values.shape[:2]
    right, bottom = place[0] + size[0], place[1] + size[1]
    for mark in _marks(columns, size[0], _NUMBERED) if across else ():
        x = place[0] + round(mark * size[0] / columns)
        draw.line((x, bottom, x, bottom + 3), fill=paint.LINE)
        paint.write(draw, (x, bottom + 4), str(mark), size=10, colour=paint.FAINT, anchor="ma")
    for mark in _marks(rows, size[1], _NUMBERED // 2) if down else ():
        y = place[1] + round(mark * size[1] / rows)
        draw.line((right, y, right + 3, y), fill=paint.LINE)
        paint.write(draw, (right + 6, y), str(mark), size=10, colour=paint.FAINT, anchor="lm")


def _marks(count: int, pixels: int, apart: int) -> range:
    """Return round numbers up to `count` at least `apart` pixels from each other on a line of `pixels`."""
    steps = (digit * 10**power for power in range(12) for digit in (1, 2, 5))
    return range(0, count + 1, next(step for step in steps if step * pixels >= apart * count))
