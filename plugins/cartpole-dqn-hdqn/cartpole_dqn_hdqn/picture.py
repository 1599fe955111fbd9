"""`draw`: the decision process as a picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_CELL, _HEIGHT, _MARGIN = 72, 112, 12  # pixels
_FINE = 3  # drawn so many times larger, then reduced: smooth edges
_PAPER, _INK, _FAINT = "#ffffff", "#24292f", "#c4cad1"
_HERE, _GOLD, _GREY = "#1f5fa8", "#e0a100", "#eef1f4"


def draw(length: int, state: int, visited_last: bool) -> NDArray[np.uint8]:
    """Return the row of states, uint8 [H, W, 3].

    The agent's state is blue. The last state's ring is golden, and so is its inside once it was visited; the first
    state, where episodes end, is square.

    Args:
        length: states in the row.
        state: the agent's, from 0.
        visited_last: whether the episode was at the last one.
    """
    size = (length * _CELL + 2 * _MARGIN, _HEIGHT)
    image = Image.new("RGB", (size[0] * _FINE, size[1] * _FINE), _PAPER)
    pen = ImageDraw.Draw(image)
    font, small = (ImageFont.load_default(size=points * _FINE) for points in (20, 13))
    middle, radius = size[1] / 2, 0.36 * _CELL
    centres = [_MARGIN + (i + 0.5) * _CELL for i in range(length)]
    pen.line(_scaled(centres[0], middle, centres[-1], middle), fill=_FAINT, width=3 * _FINE)
    for i, x in enumerate(centres):
        last = i == length - 1
        inside = _HERE if i == state else _GOLD if last and visited_last else _GREY
        shape = pen.rectangle if i == 0 else pen.ellipse
        box = _scaled(x - radius, middle - radius, x + radius, middle + radius)
        shape(box, fill=inside, outline=_GOLD if last else _INK, width=(5 if last else 2) * _FINE)
        ink = _PAPER if i == state else _INK
        pen.text((x * _FINE, middle * _FINE), f"s{i + 1}", fill=ink, font=font, anchor="mm")
    if visited_last:
        words = f"s{length} was visited: s1 pays 1"
        pen.text((_MARGIN * _FINE, (size[1] - 12) * _FINE), words, fill=_INK, font=small, anchor="lm")
    return np.asarray(image.resize(size, Image.Resampling.LANCZOS), dtype=np.uint8)


def _scaled(*numbers: float) -> tuple[float, ...]:
    return tuple(number * _FINE for number in numbers)
