"""A picture of a preview's stages.

* `draw_preview`: stages -> a picture: pixels enlarged without smoothing, differences around white, rows and columns
  numbered at the edges, and a broken line around what the next stage keeps.

matplotlib is imported when it is first drawn.
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cartpole_dqn.files import replace_file
from cartpole_dqn.views.preview import Panel, Stage

_MOST_PANELS = 8


def draw_preview(stages: Sequence[Stage], out: Path | str) -> None:
    """Draw the stages below each other into the picture `out`, whose ending says its format; whole or not at all.

    Raises:
        ValueError: no stage, or an ending that cannot be written.
        OSError: the picture cannot be written.
    """
    if not stages:
        raise ValueError("draw_preview: expected one stage or more, got none.")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [_Row(stage) for stage in stages]
    width = _MARGIN * 2 + _LABEL + _PICTURES + _RULER
    height = _MARGIN + sum(row.height + _GAP for row in rows)
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    top = _MARGIN
    for i, row in enumerate(rows):
        row.draw(figure, i, top, width, height, last=i == len(rows) - 1)
        top += row.height + _GAP
    path = Path(out)
    picture = io.BytesIO()
    canvas.print_figure(picture, format=path.suffix.lstrip(".").lower() or "png", facecolor="white")
    replace_file(path, picture.getvalue())


_DPI = 100
_MARGIN, _GAP, _LABEL, _PICTURES, _RULER = 24, 34, 180, 920, 30  # pixels
_CAPTION, _TALLEST, _SPACE, _TICKS = 20, 300, 12, 110
_INK, _FAINT, _BLUE, _RED, _KEPT = "#24292f", "#8b949e", "#1f5fa8", "#b3261e", "#c2187c"
_NUMBERED = 64
"""A ruler's numbers are at least so many pixels apart across; half as many down."""


class _Row:
    """A stage's label and its pictures side by side, measured before anything is drawn."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        panels = stage.panels()
        self._panels, self._more = panels[:_MOST_PANELS], max(0, len(panels) - _MOST_PANELS)
        share = (_PICTURES - _SPACE * (len(self._panels) - 1)) // max(1, len(self._panels))
        self._sizes = [self._size(panel, share) for panel in self._panels]
        tallest = max((size[1] for size in self._sizes), default=0)
        self._captioned = any(panel.caption for panel in self._panels)
        self._lines = self._facts()
        # As high as the pictures, and as the label with a line to spare for the last stage's.
        self.height = max(tallest + (_CAPTION if self._captioned else 0), 26 + 19 * (len(self._lines) + 1))

    def draw(self, figure: Any, number: int, top: float, width: float, height: float, *, last: bool) -> None:
        """Draw this row at `top` pixels from the upper edge of a figure of `width` x `height` pixels."""
        self._draw_label(figure, number, top, width, height, last=last)
        left: float = _MARGIN + _LABEL
        drop = _CAPTION if self._captioned else 0
        for panel, (w, h) in zip(self._panels, self._sizes, strict=True):
            before = _TICKS if panel.kind == "numbers" else 0
            place = ((left + before) / width, 1 - (top + drop + h) / height, (w - before) / width, h / height)
            axes = figure.add_axes(place)
            _draw_panel(axes, panel)
            if panel.kind != "numbers":
                first, final = panel is self._panels[0], panel is self._panels[-1]
                _draw_rulers(axes, panel, w if first else 0, h if final else 0)
            if self._stage.kept is not None and _is_cut(panel, self._stage.kept):
                _outline(axes, *self._stage.kept)
            room = w if panel is not self._panels[-1] else width - left
            caption = textwrap.shorten(panel.caption, max(12, int(room) // 6), placeholder=" ...")
            figure.text(left / width, 1 - (top + 2) / height, caption, va="top", color=_INK, size=8)
            left += max(w, 90) + _SPACE
        if not self._panels:
            text = "\n".join(textwrap.wrap(repr(self._stage.obs), 120)[:5])
            figure.text(left / width, 1 - top / height, text, va="top", color=_INK, size=9, family="monospace")

    def _draw_label(self, figure: Any, number: int, top: float, width: float, height: float, *, last: bool) -> None:
        name = self._stage.label.partition("\n")[0]
        place = re.fullmatch(r"observation\[\d+\] \((.+)\)", name)
        title = textwrap.shorten(f"{number}  {place[1] if place else name}", 22, placeholder="...")
        x, y = _MARGIN / width, 1 - top / height
        figure.text(x, y, title, va="top", color=_INK, size=11, weight="bold")
        figure.text(x, y - 22 / height, "\n".join(self._lines), va="top", color=_INK, size=9, linespacing=1.5)
        if last:
            y -= (26 + 19 * len(self._lines)) / height
            figure.text(x, y, "what the agent sees", va="top", color=_RED, size=9, weight="bold")

    def _facts(self) -> list[str]:
        """Return the lines below the title."""
        facts = self._stage.label.partition("\n")[2]
        lines = [line for part in facts.split("  ") for line in textwrap.wrap(part, 26)][:4]
        if any(panel.kind == "difference" for panel in self._panels):
            lines.append("red: more, blue: less")
        if any(_is_cut(panel, self._stage.kept) for panel in self._panels):
            lines.append("broken line: what is kept")
        if self._more:
            lines.append(f"and {self._more} more pictures")
        return lines

    @staticmethod
    def _size(panel: Panel, share: int) -> tuple[int, int]:
        """Return the width and height in pixels: a whole multiple of the picture's, or a part of it."""
        if panel.kind == "numbers":
            return share, min(200, 16 + 22 * len(panel.values)) if len(panel.values) <= 16 else 120
        rows, columns = panel.values.shape[:2]
        zoom = min(share / columns, _TALLEST / rows)
        zoom = float(int(zoom)) if zoom >= 1 else zoom
        return max(1, round(columns * zoom)), max(1, round(rows * zoom))


def _draw_panel(axes: Any, panel: Panel) -> None:
    for spine in axes.spines.values():
        spine.set_color(_FAINT)
        spine.set_linewidth(0.6)
    if panel.kind == "numbers":
        _draw_numbers(axes, panel.values)
        return
    axes.set_xticks([])
    axes.set_yticks([])
    from matplotlib.colors import LinearSegmentedColormap

    # Enlarged pixels stay squares; a picture that must shrink is averaged, or lines would vanish.
    rows, columns = panel.values.shape[:2]
    shrinks = columns > axes.get_window_extent().width + 0.5
    look: dict[str, Any] = {"interpolation": "antialiased" if shrinks else "nearest", "aspect": "auto"}
    look["extent"] = (0, columns, rows, 0)  # Edges as rows and columns are given, not the pixels' middles.
    if panel.kind == "colour":
        axes.imshow(panel.values, **look)
    elif panel.kind == "grey":
        axes.imshow(panel.values, cmap="gray", vmin=panel.low, vmax=max(panel.high, panel.low + 1e-9), **look)
    else:
        difference = panel.values.astype(np.float64) - panel.zero
        most = max(float(np.abs(difference).max()), 1e-9)
        colours = LinearSegmentedColormap.from_list("difference", [_BLUE, "#ffffff", _RED], N=257)
        axes.imshow(difference, cmap=colours, vmin=-most, vmax=most, **look)


def _draw_rulers(axes: Any, panel: Panel, across: int, down: int) -> None:
    """Number columns below and rows beside a picture of `across` x `down` pixels on paper; none where that is 0."""
    rows, columns = panel.values.shape[:2]
    axes.yaxis.tick_right()
    axes.tick_params(length=2, width=0.6, pad=2, color=_FAINT, labelcolor=_FAINT, labelsize=7)
    axes.set_xticks(_marks(columns, across, _NUMBERED))
    axes.set_yticks(_marks(rows, down, _NUMBERED // 2))


def _marks(count: int, pixels: int, apart: int) -> range:
    """Return round numbers up to `count` that are at least `apart` pixels from each other on a line of `pixels`."""
    if not pixels:
        return range(0)
    steps = (digit * 10**power for power in range(12) for digit in (1, 2, 5))
    return range(0, count + 1, next(step for step in steps if step * pixels >= apart * count))


def _is_cut(panel: Panel, kept: tuple[slice, slice] | None) -> bool:
    """Whether the next stage keeps less than the whole picture, or more."""
    return kept is not None and panel.kind != "numbers" and kept != tuple(slice(0, n) for n in panel.values.shape[:2])


def _outline(axes: Any, rows: slice, columns: slice) -> None:
    """Draw a broken line around rows and columns, visible on any colour."""
    from matplotlib.patches import Rectangle

    place = (columns.start, rows.start), columns.stop - columns.start, rows.stop - rows.start
    axes.add_patch(Rectangle(*place, fill=False, edgecolor="white", linewidth=2.4, alpha=0.8))
    axes.add_patch(Rectangle(*place, fill=False, edgecolor=_KEPT, linewidth=1.4, linestyle=(0, (4, 3))))


def _draw_numbers(axes: Any, values: NDArray[Any]) -> None:
    """Draw a vector as bars, each with its value; many as columns without."""
    decimals = 0 if values.dtype.kind in "biu" else 4
    values = values.astype(np.float64)
    finite = np.where(np.isfinite(values), values, 0.0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=_INK, labelsize=8, length=0)
    if len(values) > 16:
        axes.bar(np.arange(len(values)), finite, color=_BLUE, width=1.0)
        return
    places = np.arange(len(values))
    axes.barh(places, finite, color=_BLUE, height=0.6)
    axes.axvline(0, color=_FAINT, linewidth=0.8)
    axes.set_yticks(places, [f"[{i}]  {value:+.{decimals}f}" for i, value in enumerate(values)], family="monospace")
    axes.tick_params(axis="y", pad=6)
    axes.set_xticks([])
    axes.invert_yaxis()
    most = max(float(np.abs(finite).max()), 1e-9)
    axes.set_xlim(-1.1 * most, 1.1 * most)
