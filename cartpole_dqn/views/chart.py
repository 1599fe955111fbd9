"""What `curves` and `overlay` share.

* `Axis`: steps, episodes or training time, and the positions of a history on it.
* `Chart`: a figure of stacked panels.
* `outcome_of`: what came of runs, as a sentence.

Charts use no global state of matplotlib, which is imported when the first chart is made.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cartpole_dqn.files import replace_file, require_suffix, writing
from cartpole_dqn.runs.history import Floats, RunHistory
from cartpole_dqn.text.figures import score
from cartpole_dqn.views.colours import COLOURS, Theme

XAxis = Literal["steps", "episodes", "time"]

_SUFFIXES = (".png", ".svg", ".pdf", ".eps", ".jpg", ".jpeg", ".webp", ".tif")

_LABEL_APART = 0.17
"""Inches between labels."""
WIDTH = 10.0
"""Inches."""
_UNITS = ((3600.0, "h"), (60.0, "min"), (1.0, "s"))


@dataclass(frozen=True)
class Axis:
    """The x axis. Its unit of time is the largest of which the longest run takes at least 2."""

    kind: XAxis
    unit: float = 1.0
    label: str = "environment steps"

    @classmethod
    def of(cls, kind: XAxis, runs: Sequence[RunHistory]) -> Axis:
        """Return the axis for `runs`."""
        if kind != "time":
            return cls(kind, label="episodes" if kind == "episodes" else cls.label)
        longest = max((float(run.seconds[-1]) for run in runs if len(run.seconds)), default=0.0)
        unit, name = next(((unit, name) for unit, name in _UNITS if longest >= 2 * unit), (1.0, "s"))
        return cls(kind, unit, f"training time, without evaluation [{name}]")

    def episodes(self, run: RunHistory) -> Floats:
        """Return the position of each episode's end: [E]."""
        return {"steps": run.step, "episodes": run.episode, "time": run.seconds / self.unit}[self.kind]

    def steps(self, run: RunHistory, steps: Floats) -> Floats:
        """Return the positions of the environment steps `steps` [V], interpolated between episodes' ends."""
        if self.kind == "steps":
            return steps
        if self.kind == "time":
            return np.array([run.seconds_at(step) for step in steps]) / self.unit
        places: Floats = np.interp(steps, [0.0, *run.step], [0.0, *run.episode])
        return places

    def end(self, run: RunHistory) -> float:
        """Return the position of a history's end, which may be within an episode; 0 if it is empty."""
        places = [self.episodes(run), self.steps(run, run.evaluation_step)]
        if run.end is not None and self.kind != "episodes":
            places.append(np.array([run.end[0] if self.kind == "steps" else run.end[1] / self.unit]))
        return max((float(np.nanmax(place)) for place in places if np.isfinite(place).any()), default=0.0)


class Chart:
    """Panels of these `heights` in inches over one x axis, below a title and the outcome of the `runs` above that.

    `width` is the figure's, and `above` leaves room for a long legend, both in inches.
    """

    def __init__(
        self,
        heights: Sequence[float],
        runs: Sequence[RunHistory],
        axis: Axis,
        *,
        theme: Theme,
        title: str,
        above: float = 0.0,
        width: float = WIDTH,
    ) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.colours = COLOURS[theme]
        self._width, self._runs = width, runs
        self._figure = Figure(
            figsize=(width, sum(heights) + 1.2 + above), dpi=120, facecolor=self.colours.paper, layout="constrained"
        )
        self._canvas = FigureCanvasAgg(self._figure)
        axes = self._figure.subplots(len(heights), 1, sharex=True, height_ratios=list(heights), squeeze=False)
        self.panels: list[Any] = [row[0] for row in axes]
        lines = [outcome_of(runs), shortened(title, round(11 * width))]
        heading = self._figure.suptitle("\n".join(filter(None, lines)), color=self.colours.ink, fontsize=13)
        heading.set_parse_math(False)
        ink, grid = self.colours.ink, self.colours.grid
        for panel in self.panels:
            panel.set_facecolor("none")
            panel.tick_params(which="both", colors=ink, labelsize=9)
            for label in (panel.xaxis.label, panel.yaxis.label):
                label.set_color(ink)
            for name, spine in panel.spines.items():
                spine.set_visible(name in ("left", "bottom"))
                spine.set_color(grid)
            panel.grid(color=grid, linewidth=0.8)
            panel.set_axisbelow(True)
        self._label(axis)

    def legend(self, entries: Sequence[tuple[Any, str]]) -> None:
        """Add a legend above the first panel, where it covers no data."""
        if not entries:
            return
        handles, labels = zip(*((handle, shortened(label)) for handle, label in entries), strict=True)
        columns = max(1, min(4, round(12 * self._width) // (max(map(len, labels)) + 8)))
        place = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "borderaxespad": 0.2, "borderpad": 0.2}
        legend = self.panels[0].legend(handles, labels, ncols=columns, fontsize=9, frameon=False, **place)
        for text in legend.get_texts():
            text.set_color(self.colours.ink)
            text.set_parse_math(False)

    def mark_threshold(self, panel: Any) -> None:
        """Draw the mean return that counts as solved as a labelled line, if it is the same for all runs."""
        threshold = _threshold_of(self._runs)
        if threshold is None:
            return
        colour = self.colours.green
        panel.axhline(threshold, color=colour, linewidth=1.2, linestyle=(0, (6, 3)), zorder=1)
        place = {"xy": (0.0, threshold), "xycoords": panel.get_yaxis_transform(), "textcoords": "offset points"}
        panel.annotate(f"solved: {threshold:g}", **place, xytext=(4, 3), fontsize=8.5, color=colour, va="bottom")

    def label_ends(self, panel: Any, ends: Sequence[tuple[float, str, str]]) -> None:
        """Write (value, label, colour) of lines beside their last values at the panel's right edge, apart."""
        low, high = panel.get_ylim()
        apart = _LABEL_APART / (panel.get_position().height * self._figure.get_figheight())
        at = 0.0
        labels = sorted(
            (min(max((value - low) / (high - low), 0.0), 1.0), label, colour) for value, label, colour in ends
        )
        # Upwards from the lowest, but so that those above still have room below the top.
        for i, (place, label, colour) in enumerate(labels):
            at = max(at, min(place, 1.0 - apart * (len(labels) - 1 - i)))
            spot = {"xy": (1.0, at), "xycoords": "axes fraction", "xytext": (6, 0), "textcoords": "offset points"}
            text = panel.annotate(shortened(label, 40), **spot, fontsize=9, color=colour, va="center")
            text.set_parse_math(False)
            at += apart

    def say(self, text: str) -> None:
        """Write a sentence into the middle of an empty first panel."""
        panel = self.panels[0]
        panel.text(0.5, 0.5, text, transform=panel.transAxes, ha="center", color=self.colours.ink)

    def note(self, text: str) -> None:
        """Write a line below the last panel."""
        place = {"xy": (1.0, 0.0), "xycoords": "axes fraction", "xytext": (0, -36), "textcoords": "offset points"}
        self.panels[-1].annotate(text, **place, ha="right", va="top", fontsize=8.5, color=self.colours.ink)

    def save(self, out: Path | str) -> None:
        """Write the picture, complete or not at all, in the format of its ending.

        Raises:
            UserError: the name has another ending, or the file cannot be written.
        """
        path, picture = Path(out), io.BytesIO()
        require_suffix(path, "a picture", _SUFFIXES)
        self._canvas.print_figure(picture, format=path.suffix[1:].lower(), facecolor=self.colours.paper)
        with writing(path):
            replace_file(path, picture.getvalue())

    def _label(self, axis: Axis) -> None:
        """Label the shared x axis, from 0 to a little beyond the last run's end."""
        from matplotlib.ticker import MaxNLocator

        end = max(axis.end(run) for run in self._runs)
        last = self.panels[-1]
        last.set_xlim(0, 1.02 * end if end > 0 else 1.0)
        last.set_xlabel(axis.label)
        is_integer = axis.kind != "time"
        last.xaxis.set_major_locator(
            MaxNLocator(nbins=round(0.9 * self._width), steps=[1, 2, 2.5, 5, 10], integer=is_integer)
        )
        last.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if is_integer else f"{value:,g}")


def outcome_of(runs: Sequence[RunHistory]) -> str:
    """Return what came of the runs: "Solved at 5,000 steps", "Best evaluation 320.4 of 475", "3 of 5 runs solved"."""
    threshold = _threshold_of(runs)
    solved = [run.solved_step for run in runs if run.solved_step is not None]
    if len(runs) > 1:
        return f"{len(solved)} of {len(runs)} runs solved" if solved or threshold is not None else ""
    if solved:
        return f"Solved at {solved[0]:,} steps"
    best = runs[0].best_returns
    if threshold is None or not best:
        return ""
    kind = "confirmation" if runs[0].best_has_confirmation else "evaluation"
    return f"Not solved: best {kind} {score(float(np.mean(best)))} of {threshold:g}"


def _threshold_of(runs: Sequence[RunHistory]) -> float | None:
    thresholds = {run.solved_at for run in runs}
    return thresholds.pop() if len(thresholds) == 1 else None


def start_at_zero(panel: Any, values: Sequence[Floats]) -> None:
    """Let the panel begin at 0 if no value is negative."""
    lowest = [float(np.nanmin(value)) for value in values if np.isfinite(value).any()]
    if lowest and min(lowest) >= 0:
        panel.set_ylim(bottom=0)


def scale_loss(panel: Any, values: Sequence[Floats]) -> None:
    """Make the panel logarithmic if every loss is above 0, with few plain tick labels."""
    losses = np.concatenate(values)
    if not len(losses) or not (losses > 0).all():
        return
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    panel.set_yscale("log")
    ratio = losses.max() / losses.min()
    # Losses that differ by less than five times may enclose only one of the ticks 1, 2, 5, 10, ..., or none.
    spaced = MaxNLocator(4) if ratio < 5 else LogLocator(subs=(1, 2, 5) if ratio < 300 else (1,), numticks=6)
    panel.yaxis.set_major_locator(spaced)
    panel.yaxis.set_minor_locator(NullLocator())
    panel.yaxis.set_major_formatter(lambda value, _: f"{value:g}")


def scale_epsilon(panel: Any, values: Sequence[Floats]) -> None:
    """Let the panel reach from 0 to 1, whatever the values."""
    panel.set_ylim(-0.05, 1.05)


def same_as_duration(runs: Sequence[RunHistory]) -> bool:
    """Whether every return is the episode's length, as on CartPole."""
    return all(np.array_equal(run.returns, run.lengths, equal_nan=True) for run in runs)


def shortened(text: str, longest: int = 72) -> str:
    """Return `text`, without its middle if it is too long."""
    half = (longest - 3) // 2
    return text if len(text) <= longest else f"{text[: longest - 3 - half]}...{text[-half:]}"
