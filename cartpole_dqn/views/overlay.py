"""Groups of runs over each other, each as the median and quartiles over its runs.

* `draw_groups`: draws training returns, evaluations, loss and epsilon of groups of histories.
* `draw_records`: draws groups of runs, or the only run, with a title.
* `spread`: the quartiles of curves at given positions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cartpole_dqn.runs.history import MEAN_OVER, Floats, RunHistory, trailing_mean
from cartpole_dqn.studies.grouping import Group, Record
from cartpole_dqn.views import chart as charts
from cartpole_dqn.views.chart import Axis, Chart, XAxis
from cartpole_dqn.views.colours import Theme
from cartpole_dqn.views.curves import draw_curves

Line = tuple[Floats, Floats]
"""Rising positions, and the known value at each."""

_PLACES = 400
_MOST_MARKS = 40
_MOST_LABELS = 4


def spread(curves: Sequence[Line], places: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Return the quartiles [3, P] of `curves` at `places` [P], NaN without any curve, and the number of curves [P].

    A curve is linear between its points, and does not exist before the first or after the last.
    """
    table = np.full((len(curves), len(places)), np.nan)
    for row, (xs, values) in zip(table, curves, strict=True):
        if len(xs):
            row[:] = np.interp(places, xs, values, left=np.nan, right=np.nan)
    count = np.isfinite(table).sum(axis=0)
    quartiles = np.full((3, len(places)), np.nan)
    if (count > 0).any():
        quartiles[:, count > 0] = np.nanquantile(table[:, count > 0], [0.25, 0.5, 0.75], axis=0)
    return quartiles, count


def draw_groups(
    groups: Mapping[str, Sequence[RunHistory]],
    out: Path | str,
    *,
    title: str = "",
    theme: Theme = "light",
    x: XAxis = "steps",
) -> None:
    """Draw groups of runs into the picture `out`, complete or not at all.

    Each run's returns and loss are trailing means before the median is taken. A line is dashed where some of the
    group's runs have no value, because they have ended or did not get so far. Up to four groups are named at the ends
    of their lines, more in a legend. The outcome stands above the title. `groups` has histories by label, at least one
    in each. The other arguments are those of `draw_curves`.

    Raises:
        ValueError: there is no group.
        UserError: the name does not end like a picture's, or the file cannot be written.
    """
    if not groups:
        raise ValueError("draw_groups: expected one group or more, got none.")
    runs = [run for members in groups.values() for run in members]
    axis = Axis.of(x, runs)
    panels = _panels(runs, axis)
    heights = [panel.height for panel in panels]
    above = 0.06 * max(0, len(groups) - _MOST_LABELS)
    chart = Chart(heights, runs, axis, theme=theme, title=title, above=above)
    results = [_fill(chart, axes, panel, groups) for axes, panel in zip(chart.panels, panels, strict=True)]
    if 1 < len(groups) <= _MOST_LABELS:
        ends = [(line.get_ydata(), label, line.get_color()) for line, label in results[0][0]]
        finite_ends = [(values[np.isfinite(values)], label, colour) for values, label, colour in ends]
        chart.label_ends(chart.panels[0], [(float(v[-1]) if len(v) else 0.0, *rest) for v, *rest in finite_ends])
    else:
        chart.legend(results[0][0])
    if not any(len(run.step) for run in runs):
        chart.say("no episode has ended")
    several = any(len(members) > 1 for members in groups.values())
    notes = ["lines: median over runs; bands: quartiles"] * several
    chart.note("; ".join([*notes, *["dashed: some of the runs only"] * any(partly for _, partly in results)]))
    chart.save(out)


def draw_records(
    groups: Sequence[Group], out: Path | str, *, title: str = "", theme: Theme = "light", x: XAxis = "steps"
) -> None:
    """Draw groups of runs as `draw_groups`, or a single run as `draw_curves`. By default they say what they share."""
    records = [record for group in groups for record in group.records]
    if len(records) == 1:
        draw_curves(records[0].history, out, title=title or records[0].title, theme=theme, x=x)
        return
    histories = {group.label: [record.history for record in group.records] for group in groups}
    draw_groups(histories, out, title=title or _common_title(records), theme=theme, x=x)


def _common_title(records: Sequence[Record]) -> str:
    """Return the settings that all runs share: "dqn on CartPole-v1, pixels"."""
    shared = [{str(record.settings.get(key)) for record in records} for key in ("agent.name", "env.id", "obs")]
    agent, env, obs = (values.pop() if len(values) == 1 else "" for values in shared)
    start = " on ".join(part for part in (agent, env) if part)
    return ", ".join(part for part in (start, obs) if part) or f"{len(records)} runs"


# Panels ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Panel:
    height: float
    label: str
    curve: Callable[[RunHistory], Line]
    scale: Callable[[Any, Sequence[Floats]], None] = charts.start_at_zero
    marks: bool = False
    """Whether its points are marked if they are few."""
    scores: bool = False
    """Whether it shows returns."""


def _panels(runs: Sequence[RunHistory], axis: Axis) -> list[_Panel]:
    """Return the panels that are not empty."""
    same = charts.same_as_duration(runs)
    name = f"training return{' = duration [steps]' if same else ''}\n(mean of the last {MEAN_OVER})"
    panels = [_Panel(3.0, name, lambda run: _trailing(axis, run, run.returns, MEAN_OVER), scores=True)]
    if any(len(run.evaluation_step) for run in runs):
        # Only over steps are runs evaluated at the same positions.
        marks = axis.kind == "steps"
        panels.append(
            _Panel(2.4, "evaluation:\nmean return", lambda run: _evaluations(axis, run), marks=marks, scores=True)
        )
    if not same:
        panels.append(_Panel(1.5, "duration [steps]", lambda run: _trailing(axis, run, run.lengths, MEAN_OVER)))
    if any(np.isfinite(run.loss).any() for run in runs):
        panels.append(_Panel(1.4, "loss", lambda run: _trailing(axis, run, run.loss, 20), charts.scale_loss))
    if any(np.isfinite(run.epsilon).any() for run in runs):
        panels.append(_Panel(1.0, "epsilon", lambda run: _trailing(axis, run, run.epsilon, 1), charts.scale_epsilon))
    return panels


def _trailing(axis: Axis, run: RunHistory, values: Floats, window: int) -> Line:
    """Return the trailing means. The last one holds until the run ends."""
    is_known = np.isfinite(values)
    places, means = axis.episodes(run)[is_known], trailing_mean(values[is_known], window)
    end = axis.end(run)
    if len(places) and end > places[-1]:
        places, means = np.append(places, end), np.append(means, means[-1])
    return places, means


def _evaluations(axis: Axis, run: RunHistory) -> Line:
    return axis.steps(run, run.evaluation_step), run.evaluation_mean


def _fill(
    chart: Chart, axes: Any, panel: _Panel, groups: Mapping[str, Sequence[RunHistory]]
) -> tuple[list[tuple[Any, str]], bool]:
    """Draw every group into a panel; return legend entries, and whether a line is dashed."""
    if panel.scores:
        chart.mark_threshold(axes)
    entries: list[tuple[Any, str]] = []
    partly = False
    all_values: list[Floats] = []
    lines = chart.colours.lines
    for i, (label, members) in enumerate(groups.items()):
        curves = [panel.curve(run) for run in members]
        again = i // len(lines)  # Used-up colours come again with marks all along the line.
        marks = {"markersize": 6, "markevery": 0.12} if again else {"markersize": 4, "markevery": 1}
        look = {"color": lines[i % len(lines)], "linewidth": 2.0, "marker": "os^vDX"[again % 6], **marks}
        line, missing = _draw_spread(axes, curves, panel, look)
        entries.append((line, f"{charts.shortened(label)} ({len(members)} run{'s' if len(members) > 1 else ''})"))
        partly = partly or missing
        all_values += [values for _, values in curves]
    axes.set_ylabel(panel.label)
    panel.scale(axes, all_values)
    return entries, partly


def _draw_spread(axes: Any, curves: Sequence[Line], panel: _Panel, look: dict[str, Any]) -> tuple[Any, bool]:
    """Draw a group's curves; return the line, and whether some of it is dashed."""
    places = np.unique(np.concatenate([xs for xs, _ in curves]))
    marked = panel.marks and len(places) <= _MOST_MARKS
    if len(places) > _PLACES or (len(curves) > 1 and not marked):
        ends = [float(xs[-1]) for xs, _ in curves if len(xs)]
        places = np.unique([*np.linspace(0.0, max(ends, default=0.0), _PLACES), *ends])
    (lower, median, upper), count = spread(curves, places)
    is_complete = count == len(curves)
    # The dashed line extends to the point where the solid one begins or ends.
    partly = ~is_complete | np.roll(~is_complete, 1) | np.roll(~is_complete, -1)
    if look["marker"] == "o" and not marked and len(places) >= 3:
        look["marker"] = None
    (line,) = axes.plot(places, np.where(is_complete, median, np.nan), **look)
    missing = bool((~is_complete & (count > 0)).any())
    if missing:
        axes.plot(places, np.where(partly, median, np.nan), linestyle=(0, (3, 2)), **look)
    several = count >= 2
    if several.any():
        axes.fill_between(places, lower, upper, where=several, color=look["color"], alpha=0.18, linewidth=0)
    return line, missing
