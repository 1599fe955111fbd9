"""A run's curves as a picture: returns, their mean over 100 and evaluations; loss; epsilon.

* `draw_curves`: draws a history. `draw_run`: a run's own `curve.png`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from cartpole_dqn.errors import UserError
from cartpole_dqn.runs.catalogue import read_settings, run_title
from cartpole_dqn.runs.folder import RunFolder
from cartpole_dqn.runs.history import MEAN_OVER, Floats, RunHistory, read_metrics, trailing_mean
from cartpole_dqn.text.figures import score
from cartpole_dqn.text.tables import print_warning
from cartpole_dqn.views.chart import (
    WIDTH,
    Axis,
    Chart,
    XAxis,
    same_as_duration,
    scale_epsilon,
    scale_loss,
    start_at_zero,
)
from cartpole_dqn.views.colours import Theme

_FEW_EPISODES = 60
"""Fewer are drawn with points, so that a single one is visible."""


def draw_curves(
    run: RunHistory,
    out: Path | str,
    *,
    title: str = "",
    theme: Theme = "light",
    x: XAxis = "steps",
    width: float = WIDTH,
) -> None:
    """Draw a history into the picture `out`, complete or not at all.

    The outcome stands above the title. There are each episode's return and the mean of the last 100, evaluations with
    their standard deviation, confirmations, the model kept as best, and the mean return that counts as solved. Below
    are durations (if these are not the returns), loss and epsilon, if known.

    Args:
        run: the history.
        out: the picture; its ending is its format.
        title: by default the run's own.
        theme: for a light or a dark page.
        x: environment steps, episodes, or training time.
        width: of the picture, in inches.

    Raises:
        UserError: the name does not end like a picture's, or the file cannot be written.
    """
    axis = Axis.of(x, [run])
    panels = [
        (True, 4.0, _draw_returns),
        (not same_as_duration([run]), 1.6, _draw_durations),
        (np.isfinite(run.loss).any(), 1.4, _draw_loss),
        (np.isfinite(run.epsilon).any(), 1.0, _draw_epsilon),
    ]
    parts = [(height, draw) for has_data, height, draw in panels if has_data]
    heights = [height for height, _ in parts]
    chart = Chart(heights, [run], axis, theme=theme, title=title or run.title, width=width)
    chart.mark_threshold(chart.panels[0])
    for panel, (_, draw) in zip(chart.panels, parts, strict=True):
        draw(chart, panel, run, axis)
    chart.save(out)


def draw_run(folder: RunFolder, console: Console) -> None:
    """Draw a run's `curve.png`. A failure is printed on `console`, as the run itself succeeded."""
    if not folder.metrics_jsonl.exists():
        return
    try:
        title = run_title(read_settings(folder.path))
        draw_curves(read_metrics(folder.path), folder.curve, title=title)
    except UserError as error:
        print_warning(console, f"curve.png could not be drawn: {error}")


def _draw_returns(chart: Chart, panel: Any, run: RunHistory, axis: Axis) -> None:
    colours, entries = chart.colours, []
    panel.set_ylabel("return = episode duration [steps]" if same_as_duration([run]) else "return of an episode")
    if len(run.step):
        entries += _draw_episodes(chart, panel, axis.episodes(run), run.returns)
    look = {"color": colours.evaluation, "zorder": 3}
    if len(run.evaluation_step):
        places, means = axis.steps(run, run.evaluation_step), run.evaluation_mean
        panel.plot(places, means, linestyle=":", linewidth=1.2, **look)
        bars = panel.errorbar(places, means, run.evaluation_std, fmt="o", markersize=5, capsize=3, **look)
        entries.append((bars, f"evaluation: mean ± std of {_count(run.evaluation_returns)} greedy episodes"))
    if len(run.confirmation_step):
        places = axis.steps(run, run.confirmation_step)
        diamonds = {"marker": "D", "markersize": 7, "linestyle": "none", "markerfacecolor": "none"}
        (marks,) = panel.plot(places, run.confirmation_mean, **diamonds, color=colours.ink, zorder=4)
        entries.append((marks, f"confirmation: mean of {_count(run.confirmation_returns)} further episodes"))
    if run.best_step is not None and run.best_returns:
        place, mean = axis.steps(run, np.array([float(run.best_step)])), float(np.mean(run.best_returns))
        (star,) = panel.plot(place, [mean], linestyle="none", marker="*", markersize=14, **look)
        entries.append((star, f"kept as best/: {score(mean)} at step {run.best_step:,}"))
    chart.legend(entries)
    if not entries:
        chart.say("no episode has ended")
    start_at_zero(panel, [run.returns, run.evaluation_mean, run.confirmation_mean])


def _draw_episodes(chart: Chart, panel: Any, places: Floats, values: Floats) -> list[tuple[Any, str]]:
    """Draw one value per episode and its trailing mean; return legend entries."""
    few = len(values) < _FEW_EPISODES
    look = {"color": chart.colours.episode, "linewidth": 0.9, "marker": "." if few else None, "markersize": 7}
    (thin,) = panel.plot(places, values, **look)
    (thick,) = panel.plot(places, trailing_mean(values, MEAN_OVER), color=chart.colours.lines[0], linewidth=2)
    return [(thin, "training episode"), (thick, f"mean of the last {MEAN_OVER}")]


def _draw_durations(chart: Chart, panel: Any, run: RunHistory, axis: Axis) -> None:
    _draw_episodes(chart, panel, axis.episodes(run), run.lengths)
    panel.set_ylabel("duration [steps]")
    start_at_zero(panel, [run.lengths])


def _draw_loss(chart: Chart, panel: Any, run: RunHistory, axis: Axis) -> None:
    is_known = np.isfinite(run.loss)
    places, loss = axis.episodes(run)[is_known], run.loss[is_known]
    window = 20 if len(loss) >= 40 else 1
    if window > 1:
        panel.plot(places, loss, color=chart.colours.episode, linewidth=0.7)
    marker = "." if len(loss) < _FEW_EPISODES else None
    panel.plot(places, trailing_mean(loss, window), color=chart.colours.lines[0], linewidth=1.5, marker=marker)
    panel.set_ylabel(f"loss, and mean\nof the last {window}" if window > 1 else "loss")
    scale_loss(panel, [loss])


def _draw_epsilon(chart: Chart, panel: Any, run: RunHistory, axis: Axis) -> None:
    marker = "." if len(run.epsilon) < _FEW_EPISODES else None
    panel.plot(axis.episodes(run), run.epsilon, color=chart.colours.lines[0], linewidth=1.5, marker=marker)
    panel.set_ylabel("epsilon")
    scale_epsilon(panel, [run.epsilon])


def _count(evaluations: Sequence[Sequence[float]]) -> str:
    """Return the number of episodes in each: "10", or "10 to 20"."""
    counts = sorted({len(returns) for returns in evaluations})
    return f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
