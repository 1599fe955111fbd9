"""One moment of an episode as a picture: the environment, and beside it the agent's observation and values.

* `Scene`: the moment as data, with what the agent sees as a `Glimpse`.
* `draw_scene`: a scene -> an array uint8 [H, W, 3]. Scenes of one environment and policy have pictures of one size.
* `picture_of`: the environment's part of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cartpole_dqn.contracts.events import Glimpse
from cartpole_dqn.contracts.pictures import Colour, Panel, Picture
from cartpole_dqn.views import panels as paint
from cartpole_dqn.views.attribution import Attribution, laid_over
from cartpole_dqn.views.colours import COLOURS, Theme, rgb
from cartpole_dqn.views.panels import Box, Canvas

CUT_OFF = "cut off"
"""How an episode ended that was not played to its end."""
HOLD = 0.7
"""Seconds to show an episode's last picture."""


@dataclass(frozen=True, kw_only=True)
class Scene(Glimpse):
    """A moment of an episode, before the action, which is None at the episode's end."""

    step: int = 0
    """Actions before this moment."""
    panels: Sequence[Panel] = ()
    frame: Picture
    """The environment's picture, [H, W, 3]."""
    reaches: NDArray[np.float64] | None = None
    """[n] greatest absolute values of a vector's numbers, NaN if unknown."""
    allowed: NDArray[np.bool_] | None = None
    """[A]; None if every action is allowed."""
    episode: int = 1
    total: float = 0.0
    """The undiscounted rewards so far."""
    ending: str = ""
    """Why the episode ends here: "terminated", "truncated" or `CUT_OFF`; "" before its end."""
    shown: slice = field(default_factory=lambda: slice(None))
    """The rows of the frame that are worth showing."""
    limit: int | None = None
    """The environment's own limit of steps."""
    terminated_is: str = ""
    """What it means to be terminated, if it means to fail: "fell"."""
    attribution: Attribution | None = None
    """Where the value of the action comes from."""

    @property
    def verdict(self) -> tuple[str, str]:
        """Return why the episode ended, and the colour to say it in: red for a fall, green for the time limit."""
        if self.ending == "terminated" and self.terminated_is:
            return self.terminated_is, "red"
        if self.ending == "truncated" and self.step == self.limit:
            return f"{self.step} / {self.limit}, time limit", "green"
        return self.ending, "ink"


def picture_of(scene: Scene, theme: Theme = "light") -> Picture:
    """Return the environment's picture [H, W, 3], without empty rows, with the attribution over it.

    A picture on white is drawn on a dark page's colour, with its lightness reversed.
    """
    frame = scene.frame
    if theme == "dark" and frame[0, 0].min() >= _WHITISH:
        frame = _reversed(frame, rgb(COLOURS[theme].paper))
    attribution = scene.attribution
    if attribution is not None and attribution.place is not None:
        frame = laid_over(frame, attribution, attribution.place, theme)
    return np.ascontiguousarray(frame[scene.shown])


def _reversed(frame: Picture, paper: Colour) -> Picture:
    """Return a picture with its lightness reversed and its hues kept, where white becomes `paper`."""
    share = frame.astype(np.float32) / 255
    share += 1 - (share.max(axis=-1, keepdims=True) + share.min(axis=-1, keepdims=True))
    dark = np.array(paper, dtype=np.float32)
    return np.asarray(dark + np.clip(share, 0, 1) * (235 - dark), dtype=np.uint8)


def draw_scene(scene: Scene, theme: Theme = "light") -> Picture:
    """Draw a scene: the environment in its own size, the agent's view beside it, the episode below it.

    The actions' values stand below the agent's view, or below a low environment.
    """
    picture = picture_of(scene, theme)
    height, width = picture.shape[:2]
    left = max(width, _NARROWEST)
    values = _HEAD + paint.numbers_height(len(scene.actions)) + _GAP
    grid = _grid(scene.panels, max(height + _FOOT, _LOWEST) - _HEAD - values)
    drop = _HEAD + _observation_height(scene.panels, grid)
    below = height + _FOOT + _GAP + values
    tall, under = min((max(height + _FOOT, drop + values), False), (max(below, drop), True))
    canvas = Canvas(left + _MARGIN + _SIDE + _MARGIN, tall, theme)
    canvas.image.paste(Image.fromarray(picture), ((left - width) // 2, 0))
    canvas.draw.line((0, height, left, height, left, 0), fill=canvas.palette.line)
    _draw_standing(canvas, scene, (8, height, left, height + _FOOT))
    x = left + _MARGIN
    canvas.write((x, 7), "what the agent sees", size=13)
    canvas.write((x + _SIDE, 8), scene.observed, size=11, colour="faint", anchor="ra")
    if scene.panels and scene.panels[0].kind == "numbers":
        numbers, box = scene.panels[0], (x, _HEAD, x + _SIDE, drop - _GAP)
        paint.draw_numbers(canvas, numbers, box, _shares(numbers.values, scene.reaches))
    else:
        _draw_pictures(canvas, scene, grid, (x, _HEAD))
    if under:
        _draw_values(canvas, scene, (8, height + _FOOT + _GAP, left - _MARGIN, below))
    else:
        _draw_values(canvas, scene, (x, drop, x + _SIDE, drop + values))
    return np.array(canvas.image)


_SIDE, _MARGIN, _NARROWEST, _LOWEST = 300, 14, 320, 430  # pixels
_HEAD, _FOOT, _GAP = 28, 30, 6
_SMALLEST_PICTURES = 120
_WHITISH = 200


# The episode ----------------------------------------------------------------------------------------------------------


def _draw_standing(canvas: Canvas, scene: Scene, box: Box) -> None:
    """Draw the line below the environment's picture."""
    left, top, right, bottom = box
    name = "" if scene.action is None else scene.actions[scene.action]
    total = f"{scene.total:.{0 if float(scene.total).is_integer() else 1}f}"
    ending, colour = scene.verdict
    words = (f"episode {scene.episode}", f"step {scene.step}", f"return {total}", ending or name)
    share = (right - left) // 4
    for i, word in enumerate(words):
        place, room = (left + i * share, (top + bottom) // 2), share - 8 if i < 3 else right - left - 3 * share
        last = i == 3 and bool(ending)
        canvas.write(place, word, room=room, colour=colour if last else "ink", anchor="lm", bold=last)


# What the agent sees --------------------------------------------------------------------------------------------------


class _Grid(NamedTuple):
    """In how many columns pictures stand, and their width and height."""

    columns: int
    wide: int
    high: int


def _grid(panels: Sequence[Panel], room: int) -> _Grid:
    """Choose the columns so that the pictures become as large as `room` pixels of height allow."""
    count = min(len(panels), paint.MOST_PANELS)
    if not count or panels[0].kind == "numbers":
        return _Grid(1, 0, 0)
    rows, columns = (max(panel.values.shape[axis] for panel in panels[:count]) for axis in (0, 1))
    room = max(room, _SMALLEST_PICTURES)

    def zoom(across: int) -> float:
        high = room / -(-count // across) - paint.CAPTION - _GAP
        return float(min((_SIDE + _GAP) / across - _GAP, high * columns / rows) / columns)

    across = max(range(1, count + 1), key=zoom)
    best = max(zoom(across), 1 / min(rows, columns))
    best = float(int(best)) if best >= 1 else best
    return _Grid(across, round(columns * best), round(rows * best))


def _observation_height(panels: Sequence[Panel], grid: _Grid) -> int:
    if not panels:
        return 0
    if panels[0].kind == "numbers":
        return paint.numbers_height(len(panels[0].values)) + _GAP
    return -(-min(len(panels), paint.MOST_PANELS) // grid.columns) * (grid.high + paint.CAPTION + _GAP)


def _draw_pictures(canvas: Canvas, scene: Scene, grid: _Grid, place: tuple[int, int]) -> None:
    panels, attribution = scene.panels, scene.attribution
    share = (_SIDE + _GAP) // grid.columns
    for i, panel in enumerate(panels[: paint.MOST_PANELS]):
        x = place[0] + i % grid.columns * share
        y = place[1] + i // grid.columns * (grid.high + paint.CAPTION + _GAP)
        caption = panel.caption
        if i == paint.MOST_PANELS - 1 and len(panels) > paint.MOST_PANELS:
            caption = f"and {len(panels) - i - 1} more; {caption}"
        canvas.write((x, y), caption, room=share - _GAP, size=11, colour="faint")
        colours = canvas.colours_of(panel, moving=True)
        if attribution is not None and attribution.place is None:
            colours = laid_over(colours, attribution, (0, 0, *colours.shape[:2]), canvas.theme)
        canvas.paste(colours, (x, y + paint.CAPTION), (grid.wide, grid.high))


def _shares(values: NDArray[np.generic], reaches: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Return the length of each number's bar, -1 to 1, on the same scale in every picture of an episode."""
    numbers = np.nan_to_num(values.astype(np.float64))
    reaches = np.full(len(values), np.nan) if reaches is None else reaches
    # A number without a bound is drawn as x / (1 + |x|), so that it always fits.
    return np.where(np.isnan(reaches), numbers / (1 + np.abs(numbers)), np.clip(numbers / reaches, -1, 1))


# Its values -----------------------------------------------------------------------------------------------------------


def _draw_values(canvas: Canvas, scene: Scene, box: Box) -> None:
    """Draw each action's value as a bar from zero, with its distance to the best; the chosen one is highlighted."""
    left, top, right, bottom = box
    has_values = scene.q_values is not None
    page = canvas.palette
    canvas.write((left, top + 7), "value of each action" if has_values else "actions", size=13)
    if scene.attribution is not None:
        words = "red raises it, blue lowers it"
        room = right - left - 132
        canvas.write((right, top + 8), words, room=room, size=11, colour="faint", anchor="ra")
    values = np.zeros(len(scene.actions)) if scene.q_values is None else scene.q_values.astype(np.float64)
    allowed = np.ones(len(values), dtype=np.bool_) if scene.allowed is None else scene.allowed
    finite = np.where(np.isfinite(values), values, 0.0)
    top += _HEAD
    if len(values) > paint.MOST_ROWS:
        paint.draw_columns(canvas, finite, (left, top, right, bottom - _GAP), marked=scene.action)
        return
    best = finite[allowed].max() if allowed.any() else 0.0
    most = max(float(np.abs(finite).max(initial=0.0)), 1e-9)
    negative = bool((finite < 0).any())
    start, reach = left + 92, right - left - 92 - 96
    zero, reach = (start + reach // 2, reach // 2) if negative else (start, reach)
    for i, name in enumerate(scene.actions):
        y = top + i * paint.ROW + paint.ROW // 2
        chosen = i == scene.action
        colour = "ink" if allowed[i] else "line"
        if chosen:
            edges = (left - 4, y - paint.ROW // 2 + 1, right + 3, y + paint.ROW // 2 - 1)
            canvas.draw.rectangle(edges, fill=page.chosen)
        canvas.write((left, y), name, room=86, size=12, colour="blue" if chosen else colour, anchor="lm")
        if not has_values:
            continue
        end = zero + round(reach * finite[i] / most)
        fill = page.blue if chosen else page.pale if allowed[i] else page.line
        canvas.draw.rectangle((min(zero, end), y - 5, max(zero, end), y + 5), fill=fill)
        canvas.write((right - 46, y), paint.figure(float(values[i]), 2), size=12, colour=colour, anchor="rm")
        if allowed[i] and finite[i] < best:
            canvas.write((right, y), paint.figure(float(finite[i] - best), 2), size=11, colour="faint", anchor="rm")
