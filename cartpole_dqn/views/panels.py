"""The pictures of an observation, as `preview`, `record`, `watch` and `report` draw them.

* `Canvas`: a picture to draw pictures and text on, in the colours of a page.
* `size_within`: the size to draw a panel in. `draw_numbers`, `draw_columns`: a vector as bars.
* `figure`, `decimals_of`: a number as text.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from cartpole_dqn.contracts.pictures import Kept, Panel, Picture, colours_of
from cartpole_dqn.views.colours import COLOURS, Colours, Theme, rgb

Box = tuple[int, int, int, int]

MOST_PANELS, MOST_ROWS = 8, 18
ROW, CAPTION, COLUMNS_HEIGHT = 18, 16, 90  # Heights in pixels: of a number, of a caption, of numbers as columns.
_NAME, _FIGURE, _BARS = 104, 166, 176  # Ends of a number's name and figure, and start of its bar.
_SHADES = 5


class Canvas:
    """A picture to draw on: `width` x `height` pixels of paper."""

    def __init__(self, width: int, height: int, theme: Theme = "light") -> None:
        self.theme = theme
        self.palette = COLOURS[theme]
        self.image = Image.new("RGB", (width, height), self.palette.paper)
        self.draw = ImageDraw.Draw(self.image)

    def colours_of(self, panel: Panel, *, moving: bool = False) -> Picture:
        """Return a panel's values as colours [H, W, 3], with differences around the page's own."""
        paper, more, less = map(rgb, (self.palette.paper, self.palette.red, self.palette.blue))
        return colours_of(panel, moving=moving, page=(paper, more, less))

    def paste(
        self, colours: Picture, place: tuple[int, int], size: tuple[int, int], *, kept: Kept | None = None
    ) -> None:
        """Draw a picture [H, W, 3] with a frame, `size` in pixels, and a dashed line around its `kept` part."""
        picture = Image.fromarray(np.ascontiguousarray(colours))
        # Enlarged pixels stay squares. Shrinking takes averages, so that thin lines stay visible.
        resampling = Image.Resampling.BOX if picture.width > size[0] else Image.Resampling.NEAREST
        resized = picture.resize(size, resampling)
        if kept is not None:
            zoom = size[0] / picture.width, size[1] / picture.height
            x, y = ([round(end * zoom[axis]) for end in (kept[1 - axis].start, kept[1 - axis].stop)] for axis in (0, 1))
            _outline(ImageDraw.Draw(resized), (x[0], y[0], x[1] - 1, y[1] - 1), self.palette)
        self.image.paste(resized, place)
        frame = (place[0] - 1, place[1] - 1, place[0] + size[0], place[1] + size[1])
        self.draw.rectangle(frame, outline=self.palette.line)

    def write(
        self,
        place: tuple[int, int],
        text: str,
        *,
        room: int | None = None,
        size: int = 13,
        colour: str = "ink",
        bold: bool = False,
        anchor: str = "la",
    ) -> None:
        """Write `text` in a colour of the palette, shortened to `room` pixels.

        `anchor` is its point at `place`: "l", "m" or "r" across, then "a" (top) or "m" down.
        """
        text = text if room is None else _shortened(text, room, size)
        if not text:
            return
        letters = _letters(text, size)
        x = place[0] - {"l": 0, "m": letters.width // 2, "r": letters.width}[anchor[0]]
        y = place[1] - (letters.height // 2 if anchor[1] == "m" else 0)
        for shift in range(1 + bold):  # Pillow's own font has one weight.
            self.draw.bitmap((x + shift, y), letters, fill=getattr(self.palette, colour))


def size_within(shape: Sequence[int], wide: float, high: float) -> tuple[int, int]:
    """Return width and height to draw an array [H, W, ...] in: its own times an integer, or less than its own."""
    rows, columns = shape[:2]
    zoom = min(wide / columns, high / rows)
    zoom = float(int(zoom)) if zoom >= 1 else zoom
    return max(1, round(columns * zoom)), max(1, round(rows * zoom))


def _outline(draw: ImageDraw.ImageDraw, box: Box, palette: Colours) -> None:
    """Draw a dashed line around `box` that is visible on any colour."""
    left, top, right, bottom = box
    draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=palette.paper, width=4)
    for x in range(left, right, 14):
        for y in (top, bottom - 1):
            draw.rectangle((x, y, min(x + 7, right), y + 1), fill=palette.kept)
    for y in range(top, bottom, 14):
        for x in (left, right - 1):
            draw.rectangle((x, y, x + 1, min(y + 7, bottom)), fill=palette.kept)


# Numbers --------------------------------------------------------------------------------------------------------------


def numbers_height(count: int) -> int:
    """Return the height in which `draw_numbers` draws `count` numbers."""
    return count * ROW if count <= MOST_ROWS else COLUMNS_HEIGHT


def draw_numbers(canvas: Canvas, panel: Panel, box: Box, shares: NDArray[np.float64] | None = None) -> None:
    """Draw numbers [n] in `box`, each as a row with name, number and bar; many as columns.

    `shares` [n] are the bars' lengths, -1 to 1, by default relative to the greatest value.
    """
    values, (left, top, right, _) = panel.values, box
    draw, page = canvas.draw, canvas.palette
    numbers = np.nan_to_num(values.astype(np.float64))
    if len(values) > MOST_ROWS:
        draw_columns(canvas, numbers, box, marked=None)
        return
    if shares is None:
        shares = numbers / max(float(np.abs(numbers).max(initial=0.0)), 1e-9)
    middle, reach = (left + _BARS + right) // 2, (right - left - _BARS) // 2
    for i, number in enumerate(values.tolist()):
        y = top + i * ROW + ROW // 2
        canvas.write((left, y), panel.name(i), room=_NAME, size=12, colour="faint", anchor="lm")
        canvas.write((left + _FIGURE, y), figure(number, decimals_of(values)), size=12, anchor="rm")
        end = middle + round(reach * float(shares[i]))
        draw.rectangle((min(middle, end), y - 5, max(middle, end), y + 5), fill=page.blue)
        draw.line((middle, y - ROW // 2, middle, y + ROW // 2), fill=page.line)


def draw_columns(canvas: Canvas, values: NDArray[np.float64], box: Box, *, marked: int | None) -> None:
    """Draw many numbers as columns around a line at zero."""
    left, top, right, bottom = box
    draw, page = canvas.draw, canvas.palette
    most = max(float(np.abs(values).max(initial=0.0)), 1e-9)
    negative = bool((values < 0).any())
    zero, reach = ((top + bottom) // 2, (bottom - top) // 2) if negative else (bottom, bottom - top)
    edges = np.linspace(left, right, len(values) + 1).round().astype(int)
    for i, value in enumerate(values):
        end = zero - round(reach * (value / most))
        colour = page.red if i == marked else page.blue if marked is None else page.pale
        draw.rectangle((edges[i], min(zero, end), max(edges[i], edges[i + 1] - 1), max(zero, end)), fill=colour)
    draw.line((left, zero, right, zero), fill=page.line)


# Words ----------------------------------------------------------------------------------------------------------------


def decimals_of(values: NDArray[Any]) -> int:
    """Return the number of decimals to show: 0 for integers and booleans, otherwise 4."""
    return 0 if values.dtype.kind in "biu" else 4


def figure(number: float, decimals: int) -> str:
    """Return a number with its sign in at most eight characters."""
    text = f"{number:+.{decimals}f}"
    return text if len(text) <= 8 else f"{number:+.1e}"


@functools.cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size)


@functools.lru_cache(maxsize=1024)
def _letters(text: str, size: int) -> Image.Image:
    """Return the text's coverage of each pixel in few shades: a GIF has 256 colours for everything."""
    font = _font(size)
    covered = Image.new("L", (max(1, math.ceil(font.getlength(text))), sum(font.getmetrics())))
    ImageDraw.Draw(covered).text((0, 0), text, fill=255, font=font)
    step = 255 // _SHADES
    return covered.point([round(value / step) * step for value in range(256)])


@functools.lru_cache(maxsize=512)
def _shortened(text: str, width: int, size: int) -> str:
    """Return the text, shortened to `width` pixels."""
    if _font(size).getlength(text) <= width:
        return text
    while text and _font(size).getlength(f"{text}..") > width:
        text = text[:-1]
    return f"{text.rstrip()}.."
