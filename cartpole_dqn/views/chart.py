"""What the pictures of curves share: colours, panels over one axis of time, legends, and writing the file.

* `Colours`, `COLOURS`: for a light and a dark page.
* `Axis`: steps, episodes or training time, and a history's place on it.
* `Chart`: a figure with panels one above the other; `save` writes it, whole or not at all.
* `check_picture`: whether a name's ending is a picture's.

A figure is its own and touches no state of matplotlib's, which is imported when a chart is made.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cartpole_dqn.errors import UserError
from cartpole_dqn.files import replace_file
from cartpole_dqn.runs.history import Floats, RunHistory

Style = Literal["light", "dark"]
XAxis = Literal["steps", "episodes", "time"]

SUFFIXES = (".png", ".svg", ".pdf", ".jpg", ".jpeg", ".webp")

_LONGEST_LABEL = 72
_UNITS = ((3600.0, "h"), (60.0, "min"), (1.0, "s"))


@dataclass(frozen=True)
class Colours:
    """What a page is drawn with."""

    paper: str
    ink: str
    grid: str
    episode: str
    lines: tuple[str, ...]
    """Told apart with any kind of colour vision, by lightness where not by hue."""
    evaluation: str


COLOURS: Mapping[str, Colours] = {
    "light": Colours(
        paper="#ffffff",
        ink="#24292f",
        grid="#e3e6ea",
        episode="#a8c5e6",
        lines=("#1f5fa8", "#d1570c", "#1a8a63", "#8b3fa0", "#b3261e", "#4aa3d8", "#8a6d00", "#5b5f66"),
        evaluation="#c2570c",
    ),
    "dark": Colours(
        paper="#15191e",
        ink="#d7dde4",
        grid="#2b323a",
        episode="#4a72a0",
        lines=("#74b2f2", "#f2a65a", "#6fd3ae", "#cf9be6", "#ef8a83", "#b7dcf5", "#e3cf6a", "#aab1ba"),
        evaluation="#f2a65a",
    ),
}


@dataclass(frozen=True)
class Axis:
    """What the curves run over. Times are in the largest unit that leaves the longest run above 2 of it."""

    kind: XAxis
    unit: float = 1.0
    label: str = "environment steps"

    @classmethod
    def of(cls, kind: XAxis, runs: Sequence[RunHistory]) -> Axis:
        """Return the axis for some histories."""
        if kind == "steps":
            return cls(kind)
        if kind == "episodes":
            return cls(kind, label="episodes")
        longest = max((float(run.seconds[-1]) for run in runs if len(run.seconds)), default=0.0)
        unit, name = next(((unit, name) for unit, name in _UNITS if longest >= 2 * unit), (1.0, "s"))
        return cls(kind, unit, f"training time, without evaluation [{name}]")

    def episodes(self, run: RunHistory) -> Floats:
        """Return where each episode ended: [E]."""
        if self.kind == "steps":
            return run.step
        return run.episode if self.kind == "episodes" else run.seconds / self.unit

    def steps(self, run: RunHistory, steps: Floats) -> Floats:
        """Return where the environment steps `steps` [V] are; between episodes' ends in proportion."""
        if self.kind == "steps":
            return steps
        if self.kind == "time":
            return np.array([run.seconds_at(step) for step in steps]) / self.unit
        places: Floats = np.interp(steps, [0.0, *run.step], [0.0, *run.episode])
        return places

    def end(self, run: RunHistory) -> float:
        """Return where a history ends, which is mostly within an episode; 0 where nothing has happened."""
        places = [self.episodes(run), self.steps(run, run.evaluation_step)]
        if run.end is not None and self.kind != "episodes":
            places.append(np.array([run.end[0] if self.kind == "steps" else run.end[1] / self.unit]))
        return max((float(np.nanmax(place)) for place in places if np.isfinite(place).any()), default=0.0)


class Chart:
    """Panels one above the other, over one axis.

    Args:
        heights: how high each panel is, in inches.
        style: "light" or "dark".
        title: stands above all of them.
        above: inches more, for what a long legend takes.
    """

    def __init__(self, heights: Sequence[float], *, style: Style, title: str, above: float = 0.0) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.colours = COLOURS[style]
        self._figure = Figure(
            figsize=(10, sum(heights) + 1.2 + above), dpi=120, facecolor=self.colours.paper, layout="constrained"
        )
        self._canvas = FigureCanvasAgg(self._figure)
        made = self._figure.subplots(len(heights), 1, sharex=True, height_ratios=list(heights), squeeze=False)
        self.panels: list[Any] = [row[0] for row in made]
        heading = self._figure.suptitle(shortened(title, 110), color=self.colours.ink, fontsize=13)
        heading.set_parse_math(False)
        for panel in self.panels:
            self._dress(panel)

    def legend(self, entries: Sequence[tuple[Any, str]]) -> None:
        """Put a legend above the first panel, where it hides no data."""
        if not entries:
            return
        handles, labels = zip(*((handle, shortened(label)) for handle, label in entries), strict=True)
        longest = max(map(len, labels))
        legend = self.panels[0].legend(
            handles,
            labels,
            loc="lower left",
            bbox_to_anchor=(0.0, 1.0),
            ncols=max(1, min(4, 120 // (longest + 8))),
            fontsize=9,
            frameon=False,
            borderaxespad=0.2,
            borderpad=0.2,
        )
        for text in legend.get_texts():
            text.set_color(self.colours.ink)
            text.set_parse_math(False)

    def say(self, text: str) -> None:
        """Put a sentence into the middle of the first panel, where there is nothing to draw."""
        panel = self.panels[0]
        panel.text(0.5, 0.5, text, transform=panel.transAxes, ha="center", color=self.colours.ink)

    def run_along(self, axis: Axis, end: float) -> None:
        """Label the axis that the panels share, from 0 to a little beyond `end`."""
        from matplotlib.ticker import MaxNLocator

        last = self.panels[-1]
        last.set_xlim(0, 1.02 * end if end > 0 else 1.0)
        last.set_xlabel(axis.label)
        whole = axis.kind != "time"
        last.xaxis.set_major_locator(MaxNLocator(nbins=9, steps=[1, 2, 2.5, 5, 10], integer=whole))
        last.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if whole else f"{value:,g}")

    def note(self, text: str) -> None:
        """Put a line under everything, for what a reader must know."""
        self.panels[-1].annotate(
            text,
            xy=(1.0, 0.0),
            xycoords="axes fraction",
            xytext=(0, -36),
            textcoords="offset points",
            ha="right",
            va="top",
            fontsize=8.5,
            color=self.colours.ink,
        )

    def save(self, out: Path | str) -> None:
        """Write the picture; its ending says its format.

        Raises:
            ValueError: an ending that matplotlib cannot write.
            OSError: it cannot be written.
        """
        path = Path(out)
        picture = io.BytesIO()
        kind = path.suffix.lstrip(".").lower() or "png"
        self._canvas.print_figure(picture, format=kind, facecolor=self.colours.paper)
        replace_file(path, picture.getvalue())

    def _dress(self, panel: Any) -> None:
        ink, grid = self.colours.ink, self.colours.grid
        panel.set_facecolor("none")
        panel.tick_params(which="both", colors=ink, labelsize=9)
        for label in (panel.xaxis.label, panel.yaxis.label):
            label.set_color(ink)
        for name, spine in panel.spines.items():
            spine.set_visible(name in ("left", "bottom"))
            spine.set_color(grid)
        panel.grid(color=grid, linewidth=0.8)
        panel.set_axisbelow(True)


def check_picture(path: Path) -> None:
    """Raise `UserError` where a name's ending is no picture's."""
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path}: expected a picture's name, ending in {', '.join(SUFFIXES)}.")


def scale_loss(panel: Any, losses: Floats) -> None:
    """Make the panel logarithmic where every loss is above 0, with few and plain numbers beside it."""
    panel.set_ylabel("loss")
    if not len(losses) or not (losses > 0).all():
        return
    from matplotlib.ticker import LogLocator, NullLocator

    panel.set_yscale("log")
    few = losses.max() / losses.min() < 300
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,), numticks=6))
    panel.yaxis.set_minor_locator(NullLocator())
    panel.yaxis.set_major_formatter(lambda value, _: f"{value:g}")


def start_at_zero(panel: Any, values: Sequence[Floats]) -> None:
    """Let the panel begin at 0 where no value is below."""
    lowest = [float(np.nanmin(value)) for value in values if np.isfinite(value).any()]
    if lowest and min(lowest) >= 0:
        panel.set_ylim(bottom=0)


def same_as_duration(runs: Sequence[RunHistory]) -> bool:
    """Return whether an episode's return is its length, as on CartPole."""
    return all(np.array_equal(run.returns, run.lengths, equal_nan=True) for run in runs)


def shortened(text: str, longest: int = _LONGEST_LABEL) -> str:
    """Return `text` with its middle left out where it is too long."""
    if len(text) <= longest:
        return text
    half = (longest - 3) // 2
    return f"{text[: longest - 3 - half]}...{text[-half:]}"
