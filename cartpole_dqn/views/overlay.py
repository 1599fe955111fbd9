"""Groups of runs over each other: the median over each group's runs, and their quartiles.

* `draw_groups`: groups of histories -> a picture: training returns, evaluations, loss, epsilon.
* `spread`: curves over one axis -> their median and quartiles, place by place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cartpole_dqn.runs.history import Floats, RunHistory, trailing_mean
from cartpole_dqn.views.chart import (
    Axis,
    Chart,
    Style,
    XAxis,
    same_as_duration,
    scale_loss,
    shortened,
    start_at_zero,
)

Line = tuple[Floats, Floats]
"""Where, and how much; places rise, what is not known is left out."""

_LOSS, _EPSILON = "loss", "epsilon"
_PLACES = 400
_MOST_MARKS = 40


@dataclass(frozen=True)
class Spread:
    """Curves over each other at some places; NaN where there is none."""

    places: Floats
    median: Floats
    lower: Floats
    """The first quartile."""
    upper: Floats
    """The third."""
    count: NDArray[np.int64]
    """How many curves there are at a place."""


def spread(curves: Sequence[Line], places: Floats) -> Spread:
    """Return the median and quartiles of `curves` at `places`.

    Between its points a curve goes straight; before its first point and after its last there is none.
    """
    table = np.full((len(curves), len(places)), np.nan)
    for row, (where, values) in zip(table, curves, strict=True):
        if len(where):
            row[:] = np.interp(places, where, values, left=np.nan, right=np.nan)
    count = np.isfinite(table).sum(axis=0)
    quartiles = np.full((3, len(places)), np.nan)
    if (count > 0).any():
        quartiles[:, count > 0] = np.nanquantile(table[:, count > 0], [0.25, 0.5, 0.75], axis=0)
    return Spread(places, quartiles[1], quartiles[0], quartiles[2], count)


def draw_groups(
    groups: Mapping[str, Sequence[RunHistory]],
    out: Path | str,
    *,
    title: str = "",
    style: Style = "light",
    x: XAxis = "steps",
) -> None:
    """Draw groups of runs into the picture `out`, whose ending says its format.

    Each run's returns and loss are trailing means before the median over runs is taken. A line is dashed where some of
    the group's runs have no such figure: because they have ended, or not come that far.

    Args:
        groups: histories by label, at least one in each.
        out: the picture's name; it is there whole or not at all.
        title: stands above it.
        style: for a light page, or a dark one.
        x: what it runs over: environment steps, episodes, or training time.

    Raises:
        ValueError: no group, or an ending that matplotlib cannot write.
        OSError: the picture cannot be written.
    """
    if not groups:
        raise ValueError("draw_groups: expected one group or more, got none.")
    runs = [run for members in groups.values() for run in members]
    axis = Axis.of(x, runs)
    panels = _panels(runs, axis)
    heights = [panel.height for panel in panels]
    chart = Chart(heights, style=style, title=title, above=0.06 * max(0, len(groups) - 4))
    entries: list[tuple[Any, str]] = []
    partly = False
    for axes, panel in zip(chart.panels, panels, strict=True):
        lines, missing = _fill(chart, axes, panel, list(groups.values()))
        partly = partly or missing
        if axes is chart.panels[0]:
            entries = [(line, _entry(label, len(groups[label]))) for line, label in zip(lines, groups, strict=True)]
    chart.legend(entries)
    if not any(len(run.step) for run in runs):
        chart.say("no episode has ended")
    chart.run_along(axis, max(axis.end(run) for run in runs))
    several = any(len(members) > 1 for members in groups.values())
    said = ["lines: median over runs; bands: quartiles"] if several else []
    chart.note("; ".join([*said, *(["dashed: some of the runs only"] if partly else [])]))
    chart.save(out)


# Panels ---------------------------------------------------------------------------------------------------------------


@dataclass
class _Panel:
    height: float
    label: str
    curve: Callable[[RunHistory], Line]
    marks: bool = False
    """Whether its points are shown as such, where they are few."""


def _panels(runs: Sequence[RunHistory], axis: Axis) -> list[_Panel]:
    """Return the panels that there is something to draw in."""
    window = 100 if all(len(run.returns) >= 100 for run in runs) else 20
    same = same_as_duration(runs)
    name = f"training return{' = duration [steps]' if same else ''}\n(mean of the last {window})"
    panels = [_Panel(3.0, name, lambda run: _trailing(axis, run, run.returns, window))]
    if any(len(run.evaluation_step) for run in runs):
        marks = axis.kind == "steps"  # over another axis no two runs are evaluated at one place
        panels.append(_Panel(2.4, "evaluation:\nmean return", lambda run: _evaluations(axis, run), marks))
    if not same:
        panels.append(_Panel(1.5, "duration [steps]", lambda run: _trailing(axis, run, run.lengths, window)))
    if any(np.isfinite(run.loss).any() for run in runs):
        panels.append(_Panel(1.4, _LOSS, lambda run: _trailing(axis, run, run.loss, 20)))
    if any(np.isfinite(run.epsilon).any() for run in runs):
        panels.append(_Panel(1.0, _EPSILON, lambda run: _trailing(axis, run, run.epsilon, 1)))
    return panels


def _fill(chart: Chart, axes: Any, panel: _Panel, groups: Sequence[Sequence[RunHistory]]) -> tuple[list[Any], bool]:
    """Draw every group into a panel; return their lines, and whether some runs are missing from a part of it."""
    drawn: list[Any] = []
    partly = False
    seen: list[Floats] = []
    for i, members in enumerate(groups):
        curves = [panel.curve(run) for run in members]
        line, missing = _draw_spread(axes, curves, panel, _look(chart, i))
        drawn.append(line)
        partly = partly or missing
        seen += [values for _, values in curves]
    axes.set_ylabel(panel.label)
    if panel.label == _LOSS:
        scale_loss(axes, np.concatenate(seen))
    elif panel.label == _EPSILON:
        axes.set_ylim(-0.05, 1.05)
    else:
        start_at_zero(axes, seen)
    return drawn, partly


def _entry(label: str, runs: int) -> str:
    return f"{shortened(label)} ({runs} run{'s' if runs > 1 else ''})"


def _trailing(axis: Axis, run: RunHistory, values: Floats, window: int) -> Line:
    """Return the trailing means, the last of which holds until the run ends."""
    known = np.isfinite(values)
    places, means = axis.episodes(run)[known], trailing_mean(values[known], window)
    end = axis.end(run)
    if len(places) and end > places[-1]:
        places, means = np.append(places, end), np.append(means, means[-1])
    return places, means


def _evaluations(axis: Axis, run: RunHistory) -> Line:
    return axis.steps(run, run.evaluation_step), run.evaluation_mean


def _look(chart: Chart, i: int) -> dict[str, Any]:
    """Return how the i-th group is drawn: when the colours are used up, they come again, with marks all along."""
    lines = chart.colours.lines
    again = i // len(lines)
    marks = {"marker": "os^vDX"[again % 6], "markersize": 4 if not again else 6, "markevery": 1 if not again else 0.12}
    return {"color": lines[i % len(lines)], "linewidth": 2.0, **marks}


def _draw_spread(axes: Any, curves: Sequence[Line], panel: _Panel, look: dict[str, Any]) -> tuple[Any, bool]:
    """Draw a group's curves; return the line, and whether some runs are missing from a part of it."""
    own = np.unique(np.concatenate([where for where, _ in curves]))
    marked = panel.marks and len(own) <= _MOST_MARKS
    places = own
    if len(own) > _PLACES or (len(curves) > 1 and not marked):
        ends = [float(where[-1]) for where, _ in curves if len(where)]
        places = np.unique([*np.linspace(0.0, max(ends, default=0.0), _PLACES), *ends])
    found = spread(curves, places)
    whole = found.count == len(curves)
    # The dashed line reaches to where the solid one begins or ends.
    partly = ~whole | np.roll(~whole, 1) | np.roll(~whole, -1)
    plain = look["marker"] == "o" and not marked and len(places) >= 3
    style = {**look, "marker": None if plain else look["marker"]}
    (line,) = axes.plot(places, np.where(whole, found.median, np.nan), **style)
    missing = bool((~whole & (found.count > 0)).any())
    if missing:
        axes.plot(places, np.where(partly, found.median, np.nan), linestyle=(0, (3, 2)), **style)
    several = found.count >= 2
    if several.any():
        axes.fill_between(places, found.lower, found.upper, where=several, color=look["color"], alpha=0.18, linewidth=0)
    return line, missing
