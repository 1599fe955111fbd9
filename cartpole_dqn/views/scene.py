"""One moment of play as a picture: what a human sees, and beside it what the agent makes of it.

* `Scene`: the moment, in arrays and words.
* `draw_scene`: a scene -> an array uint8 [H, W, 3]. Scenes of one environment and policy have pictures of one size.

Beside the environment's own picture stand the agent's observation, enlarged pixel for pixel and named as in a preview,
or its numbers as bars; then the value of each action, the one that was chosen marked; below it how the episode stands.
Nothing here plays, and nothing is kept from one scene to the next: a page or a notebook may draw any of them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from cartpole_dqn.views.preview import Panel

Picture = NDArray[np.uint8]
Box = tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A moment of an episode, before the action is taken."""

    frame: Picture
    """[H, W, 3], as a human sees the environment."""
    panels: Sequence[Panel] = ()
    """What the agent sees, as `views.preview.Stage.panels` gives it."""
    observed: str = ""
    """Shape and dtype of that."""
    names: Sequence[str] = ()
    """[n], where it is a vector whose numbers have names."""
    reaches: NDArray[np.float64] | None = None
    """[n]: how far from zero each number of a vector may be, NaN where nobody knows."""
    q_values: NDArray[np.float32] | None = None
    """[A]; None where the policy has none."""
    actions: Sequence[str] = ()
    """[A] names."""
    allowed: NDArray[np.bool_] | None = None
    """[A]; None where every action is."""
    action: int | None = None
    """The one that is taken now; None at the episode's end."""
    episode: int = 1
    step: int = 0
    """Actions taken before."""
    total: float = 0.0
    """The rewards so far, undiscounted."""
    ending: str = ""
    """Why the episode ends here: "terminated", "truncated", "cut off"; "" while it goes on."""


def draw_scene(scene: Scene) -> Picture:
    """Draw a scene: the human's view in its own size, the agent's beside it, the episode below."""
    height, width = scene.frame.shape[:2]
    left = max(width, _NARROWEST)
    values = _values_height(scene)
    grid = _grid(scene.panels, max(height + _FOOT, _LOWEST) - _HEAD - values)
    drop = _HEAD + _observation_height(scene.panels, grid)
    tall = max(height + _FOOT, drop + values)
    image = Image.new("RGB", (left + _MARGIN + _SIDE + _MARGIN, tall), _PAPER)
    draw = ImageDraw.Draw(image)
    image.paste(Image.fromarray(np.ascontiguousarray(scene.frame)), ((left - width) // 2, 0))
    draw.line((0, height, left, height, left, 0), fill=_LINE)
    _draw_standing(draw, scene, (8, height, left, height + _FOOT))
    x = left + _MARGIN
    _write(draw, (x, 7), "what the agent sees", size=13)
    _write(draw, (x + _SIDE, 8), scene.observed, size=11, colour=_FAINT, anchor="ra")
    if scene.panels and scene.panels[0].kind == "numbers":
        _draw_numbers(draw, scene, (x, _HEAD, x + _SIDE, drop - _GAP))
    else:
        _draw_pictures(image, scene.panels, grid, (x, _HEAD))
    _draw_values(draw, scene, (x, drop, x + _SIDE, drop + values))
    return np.array(image)


_PAPER, _INK, _FAINT, _LINE = (255, 255, 255), (36, 41, 47), (110, 118, 129), (208, 215, 222)
_BLUE, _RED, _PALE = (31, 95, 168), (179, 38, 30), (168, 197, 230)
_SIDE, _MARGIN, _NARROWEST, _LOWEST = 300, 14, 320, 430  # pixels
_HEAD, _FOOT, _ROW, _CAPTION, _GAP = 28, 30, 18, 16, 6
_MOST_PANELS, _MOST_ROWS = 8, 18
_CHART = 90
_SMALLEST_PICTURES = 120
_SHADES = 5


# The episode ----------------------------------------------------------------------------------------------------------


def _draw_standing(draw: ImageDraw.ImageDraw, scene: Scene, box: Box) -> None:
    """Draw the line below the environment's picture."""
    left, top, right, bottom = box
    name = "" if scene.action is None else _name(scene.actions, scene.action)
    total = f"{scene.total:.{0 if float(scene.total).is_integer() else 1}f}"
    words = (f"episode {scene.episode}", f"step {scene.step}", f"return {total}", scene.ending or name)
    share = (right - left) // 4
    for i, word in enumerate(words):
        colour = _RED if i == 3 and scene.ending else _INK
        _write(draw, (left + i * share, (top + bottom) // 2), _fitted(word, share - 8, 13), colour=colour, anchor="lm")


# What the agent sees --------------------------------------------------------------------------------------------------


class _Grid(NamedTuple):
    """In how many columns pictures stand, and their width and height."""

    columns: int
    wide: int
    high: int


def _grid(panels: Sequence[Panel], room: int) -> _Grid:
    """Choose the columns so that the pictures become as large as `room` pixels of height allow."""
    count = min(len(panels), _MOST_PANELS)
    if not count or panels[0].kind == "numbers":
        return _Grid(1, 0, 0)
    rows, columns = (max(panel.values.shape[axis] for panel in panels[:count]) for axis in (0, 1))
    room = max(room, _SMALLEST_PICTURES)

    def zoom(across: int) -> float:
        high = room / -(-count // across) - _CAPTION - _GAP
        return float(min((_SIDE + _GAP) / across - _GAP, high * columns / rows) / columns)

    across = max(range(1, count + 1), key=zoom)
    best = max(zoom(across), 1 / min(rows, columns))
    best = float(int(best)) if best >= 1 else best
    return _Grid(across, round(columns * best), round(rows * best))


def _observation_height(panels: Sequence[Panel], grid: _Grid) -> int:
    if not panels:
        return 0
    if panels[0].kind == "numbers":
        count = len(panels[0].values)
        return (count * _ROW if count <= _MOST_ROWS else _CHART) + _GAP
    return -(-min(len(panels), _MOST_PANELS) // grid.columns) * (grid.high + _CAPTION + _GAP)


def _draw_pictures(image: Image.Image, panels: Sequence[Panel], grid: _Grid, place: tuple[int, int]) -> None:
    draw = ImageDraw.Draw(image)
    share = (_SIDE + _GAP) // grid.columns
    for i, panel in enumerate(panels[:_MOST_PANELS]):
        x = place[0] + i % grid.columns * share
        y = place[1] + i // grid.columns * (grid.high + _CAPTION + _GAP)
        caption = panel.caption
        if i == _MOST_PANELS - 1 and len(panels) > _MOST_PANELS:
            caption = f"and {len(panels) - i - 1} more; {caption}"
        _write(draw, (x, y), _fitted(caption, share - _GAP, 11), size=11, colour=_FAINT)
        y += _CAPTION
        picture = Image.fromarray(_colours_of(panel))
        # Enlarged pixels stay squares; a picture that must shrink is averaged, or lines would vanish.
        how = Image.Resampling.BOX if picture.width > grid.wide else Image.Resampling.NEAREST
        image.paste(picture.resize((grid.wide, grid.high), how), (x, y))
        draw.rectangle((x - 1, y - 1, x + grid.wide, y + grid.high), outline=_LINE)


def _colours_of(panel: Panel) -> Picture:
    """Return a panel's values as colours [H, W, 3]: grey from low to high, differences from blue over white to red."""
    values = panel.values
    if panel.kind == "colour":
        return np.ascontiguousarray(values, dtype=np.uint8)
    numbers = np.nan_to_num(values.astype(np.float32))
    if panel.kind == "grey":
        grey = np.clip((numbers - panel.low) / max(panel.high - panel.low, 1e-9), 0, 1)
        return np.repeat((grey * 255).astype(np.uint8)[..., None], 3, axis=2)
    # One scale for the whole episode, or the same difference would look another way in the next picture; along the
    # root, or small ones would not be seen on it.
    share = np.clip((numbers - panel.zero) / _most(panel), -1, 1)[..., None]
    paper, more, less = (np.array(colour, dtype=np.float32) for colour in (_PAPER, _RED, _BLUE))
    mixed = paper + np.sqrt(np.abs(share)) * (np.where(share >= 0, more, less) - paper)
    return np.asarray(mixed, dtype=np.uint8)


def _most(panel: Panel) -> float:
    """Return the difference that is drawn in full colour."""
    if panel.values.dtype == np.uint8:
        return 127.0
    greatest = float(np.abs(np.nan_to_num(panel.values.astype(np.float32)) - panel.zero).max(initial=0.0))
    return next((bound for bound in (1.0, 255.0) if greatest <= bound), greatest)


def _draw_numbers(draw: ImageDraw.ImageDraw, scene: Scene, box: Box) -> None:
    """Draw a vector: a row each with its number, or as columns where there are many."""
    left, top, right, _ = box
    values = scene.panels[0].values
    numbers = np.nan_to_num(values.astype(np.float64))
    if len(values) > _MOST_ROWS:
        _draw_columns(draw, numbers, box, marked=None)
        return
    names = scene.names or [f"[{i}]" for i in range(len(values))]
    reaches = np.full(len(values), np.nan) if scene.reaches is None else scene.reaches
    # What has no bound is drawn as x / (1 + |x|): every number is on the line, the same in every picture.
    shares = np.where(np.isnan(reaches), numbers / (1 + np.abs(numbers)), np.clip(numbers / reaches, -1, 1))
    decimals = 0 if values.dtype.kind in "biu" else 4
    middle, reach = (left + 176 + right) // 2, (right - left - 176) // 2
    for i, number in enumerate(values.tolist()):
        y = top + i * _ROW + _ROW // 2
        _write(draw, (left, y), _fitted(names[i], 104, 12), size=12, colour=_FAINT, anchor="lm")
        _write(draw, (left + 166, y), _figure(number, decimals), size=12, anchor="rm")
        end = middle + round(reach * float(shares[i]))
        draw.rectangle((min(middle, end), y - 5, max(middle, end), y + 5), fill=_BLUE)
        draw.line((middle, y - _ROW // 2, middle, y + _ROW // 2), fill=_LINE)


# What it thinks of it -------------------------------------------------------------------------------------------------


def _values_height(scene: Scene) -> int:
    count = len(scene.actions)
    return _HEAD + (count * _ROW if count <= _MOST_ROWS else _CHART) + _GAP


def _draw_values(draw: ImageDraw.ImageDraw, scene: Scene, box: Box) -> None:
    """Draw a bar an action, from zero, and how far each is below the best; the one that is taken stands out."""
    left, top, right, bottom = box
    known = scene.q_values is not None
    _write(draw, (left, top + 7), "value of each action" if known else "actions", size=13)
    values = np.zeros(len(scene.actions)) if scene.q_values is None else scene.q_values.astype(np.float64)
    allowed = np.ones(len(values), dtype=np.bool_) if scene.allowed is None else scene.allowed
    finite = np.where(np.isfinite(values), values, 0.0)
    top += _HEAD
    if len(values) > _MOST_ROWS:
        _draw_columns(draw, finite, (left, top, right, bottom - _GAP), marked=scene.action)
        return
    best = finite[allowed].max() if allowed.any() else 0.0
    most = max(float(np.abs(finite).max(initial=0.0)), 1e-9)
    negative = bool((finite < 0).any())
    start, reach = left + 92, right - left - 92 - 96
    zero, reach = (start + reach // 2, reach // 2) if negative else (start, reach)
    for i, name in enumerate(scene.actions):
        y = top + i * _ROW + _ROW // 2
        taken = i == scene.action
        colour = _INK if allowed[i] else _LINE
        if taken:
            draw.rectangle((left - 4, y - _ROW // 2 + 1, right + 3, y + _ROW // 2 - 1), fill=(232, 240, 250))
        _write(draw, (left, y), _fitted(name, 86, 12), size=12, colour=_BLUE if taken else colour, anchor="lm")
        if not known:
            continue
        end = zero + round(reach * finite[i] / most)
        fill = _BLUE if taken else _PALE if allowed[i] else _LINE
        draw.rectangle((min(zero, end), y - 5, max(zero, end), y + 5), fill=fill)
        _write(draw, (right - 46, y), _figure(float(values[i]), 2), size=12, colour=colour, anchor="rm")
        if allowed[i] and finite[i] < best:
            _write(draw, (right, y), _figure(float(finite[i] - best), 2), size=11, colour=_FAINT, anchor="rm")


def _draw_columns(draw: ImageDraw.ImageDraw, values: NDArray[np.float64], box: Box, *, marked: int | None) -> None:
    """Draw many numbers as columns around the line of zero."""
    left, top, right, bottom = box
    most = max(float(np.abs(values).max(initial=0.0)), 1e-9)
    negative = bool((values < 0).any())
    zero, reach = ((top + bottom) // 2, (bottom - top) // 2) if negative else (bottom, bottom - top)
    edges = np.linspace(left, right, len(values) + 1).round().astype(int)
    for i, value in enumerate(values):
        end = zero - round(reach * value / most)
        colour = _RED if i == marked else _BLUE if marked is None else _PALE
        draw.rectangle((edges[i], min(zero, end), max(edges[i], edges[i + 1] - 1), max(zero, end)), fill=colour)
    draw.line((left, zero, right, zero), fill=_LINE)


# Words ----------------------------------------------------------------------------------------------------------------


def _name(names: Sequence[str], action: int) -> str:
    return names[action] if action < len(names) else str(action)


def _figure(number: float, decimals: int) -> str:
    """Return a number in at most eight characters."""
    text = f"{number:+.{decimals}f}"
    return text if len(text) <= 8 else f"{number:+.1e}"


@functools.cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def _write(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    text: str,
    *,
    size: int = 13,
    colour: tuple[int, int, int] = _INK,
    anchor: str = "la",
) -> None:
    """Write `text`: "l" or "r", `place` is at its left or right; "a" or "m", at its top or middle."""
    if not text:
        return
    letters = _letters(text, size)
    x = place[0] - (letters.width if anchor[0] == "r" else 0)
    y = place[1] - (letters.height // 2 if anchor[1] == "m" else 0)
    draw.bitmap((x, y), letters, fill=colour)


@functools.lru_cache(maxsize=1024)
def _letters(text: str, size: int) -> Image.Image:
    """Return how much of each pixel the text covers, in few steps: a GIF has 256 colours for everything."""
    font = _font(size)
    covered = Image.new("L", (max(1, math.ceil(font.getlength(text))), sum(font.getmetrics())))
    ImageDraw.Draw(covered).text((0, 0), text, fill=255, font=font)
    step = 255 // _SHADES
    return covered.point([round(value / step) * step for value in range(256)])


@functools.lru_cache(maxsize=512)
def _fitted(text: str, width: int, size: int) -> str:
    """Return as much of the text as fits into `width` pixels."""
    if _font(size).getlength(text) <= width:
        return text
    while text and _font(size).getlength(f"{text}..") > width:
        text = text[:-1]
    return f"{text.rstrip()}.."
