"""A run's curves, from its `metrics.jsonl` to a picture.

* `read_metrics`: a run folder -> `RunHistory`.
* `RunHistory`: episodes and evaluations as arrays.
* `running_mean`: the mean over a window of values, as in the notebooks.
* `draw_curves`: one history or several -> a picture: returns with their mean over 100 and evaluations; loss; epsilon.

Drawing uses a figure of its own and no state of matplotlib's; matplotlib is imported when it is first drawn.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cartpole_dqn.errors import RunFolderError
from cartpole_dqn.files import replace_file

Floats = NDArray[np.float64]
Style = Literal["light", "dark"]


@dataclass(frozen=True)
class RunHistory:
    """What a run's metrics tell. Arrays are [E] over episodes or [V] over evaluations; what is unknown is NaN."""

    name: str
    """The folder's name, for legends."""
    title: str = ""
    """What was trained on what."""
    episode: Floats = field(default_factory=lambda: np.empty(0))
    step: Floats = field(default_factory=lambda: np.empty(0))
    """[E] environment steps at each episode's end."""
    seconds: Floats = field(default_factory=lambda: np.empty(0))
    """[E] training seconds."""
    returns: Floats = field(default_factory=lambda: np.empty(0))
    lengths: Floats = field(default_factory=lambda: np.empty(0))
    epsilon: Floats = field(default_factory=lambda: np.empty(0))
    loss: Floats = field(default_factory=lambda: np.empty(0))
    evaluation_step: Floats = field(default_factory=lambda: np.empty(0))
    """[V]"""
    evaluation_returns: tuple[tuple[float, ...], ...] = ()
    """V evaluations, each with its episodes' returns."""
    best_step: int | None = None
    """The step of the best evaluation."""

    @property
    def evaluation_mean(self) -> Floats:
        """[V] mean returns."""
        return np.array([np.mean(returns) for returns in self.evaluation_returns], dtype=np.float64)

    @property
    def evaluation_std(self) -> Floats:
        """[V] standard deviations over episodes."""
        return np.array([np.std(returns) for returns in self.evaluation_returns], dtype=np.float64)


def read_metrics(folder: Path | str) -> RunHistory:
    """Return the history of the run in `folder`, from its `metrics.jsonl`.

    A last line that was torn by a crash is left out; events and fields that are not known are, too.

    Raises:
        RunFolderError: the file is missing, or another line is damaged.
    """
    path = Path(folder) / "metrics.jsonl"
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise RunFolderError(f"{path} is missing: the run kept no metrics, or has not begun.") from None
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read: {error.strerror or error}.") from error
    lines = data.split(b"\n")[:-1]  # what comes after the last newline is nothing, or torn
    events = [_parse(line, path, number) for number, line in enumerate(lines, start=1) if line.strip()]
    try:
        return _history(Path(folder).resolve().name, events)
    except (KeyError, TypeError, ValueError) as error:
        raise RunFolderError(
            f"{path} is not what the observer 'metrics' writes: {type(error).__name__}: {error}."
        ) from error


def running_mean(values: Sequence[float] | Floats, window: int) -> Floats:
    """Return the means of each `window` values in a row: [n] -> [n - window + 1], empty where there are too few."""
    array = np.asarray(values, dtype=np.float64)
    if len(array) < window:
        return np.empty(0)
    means: Floats = np.lib.stride_tricks.sliding_window_view(array, window).mean(axis=1)
    return means


def draw_curves(
    histories: RunHistory | Sequence[RunHistory],
    out: Path | str,
    *,
    title: str = "",
    style: Style = "light",
) -> None:
    """Draw histories into the picture `out`, whose ending says its format; it is there whole or not at all.

    One run: every episode's return, the mean over 100 (over 20 where there are fewer), and evaluations with their
    spread; below, loss (and its mean over 20) and epsilon. Several: their means and evaluations over each other.

    Raises:
        ValueError: no history, or an ending that matplotlib cannot write.
        OSError: the picture cannot be written.
    """
    runs = [histories] if isinstance(histories, RunHistory) else list(histories)
    if not runs:
        raise ValueError("draw_curves: expected one history or more, got none.")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    colours = _COLOURS[style]
    figure = Figure(figsize=(10, 7.2), dpi=120, facecolor=colours.paper, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    upper, middle, lower = figure.subplots(3, 1, sharex=True, height_ratios=[3.2, 1, 0.8])
    figure.suptitle(title or (runs[0].title if len(runs) == 1 else ""), color=colours.ink, fontsize=13)
    _draw_returns(upper, runs, colours)
    _draw_loss(middle, runs, colours)
    _draw_epsilon(lower, runs, colours)
    for axes in (upper, middle, lower):
        _dress(axes, colours)
    steps = [float(run.step[-1]) for run in runs if len(run.step)]
    steps += [float(run.evaluation_step[-1]) for run in runs if len(run.evaluation_step)]
    lower.set_xlim(0, 1.02 * max(steps, default=1.0))
    lower.set_xlabel("environment steps")
    lower.xaxis.set_major_locator(MaxNLocator(nbins=9, steps=[1, 2, 2.5, 5, 10], integer=True))
    lower.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    path = Path(out)
    picture = io.BytesIO()
    canvas.print_figure(picture, format=path.suffix.lstrip(".").lower() or "png", facecolor=colours.paper)
    replace_file(path, picture.getvalue())


# Reading --------------------------------------------------------------------------------------------------------------


def _parse(line: bytes, path: Path, number: int) -> Mapping[str, Any]:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict):
        raise RunFolderError(f"{path}, line {number}: expected a JSON object, got {line[:60]!r}.")
    return event


def _history(name: str, events: Sequence[Mapping[str, Any]]) -> RunHistory:
    episodes = [event for event in events if event.get("event") == "episode"]
    evaluations = [event for event in events if event.get("event") == "evaluation"]
    started = [event for event in events if event.get("event") == "run_started"]
    best = [int(event["step"]) for event in evaluations if event.get("best")]
    return RunHistory(
        name=name,
        title=str(started[-1].get("name") or "") if started else "",
        episode=_column(episodes, "episode"),
        step=_column(episodes, "step"),
        seconds=_column(episodes, "seconds"),
        returns=_column(episodes, "return"),
        lengths=_column(episodes, "length"),
        epsilon=_column([_table(event, "status") for event in episodes], "epsilon"),
        loss=_column([_table(event, "metrics") for event in episodes], "loss"),
        evaluation_step=_column(evaluations, "step"),
        evaluation_returns=tuple(tuple(_number(v) for v in event["returns"]) for event in evaluations),
        best_step=best[-1] if best else None,
    )


def _column(events: Sequence[Mapping[str, Any]], key: str) -> Floats:
    return np.array([_number(event.get(key)) for event in events], dtype=np.float64)


def _table(event: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    table = event.get(key)
    return table if isinstance(table, Mapping) else {}


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


# Drawing --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Colours:
    paper: str
    ink: str
    grid: str
    episode: str
    runs: tuple[str, ...]
    evaluation: str


_COLOURS: Mapping[str, _Colours] = {
    "light": _Colours(
        paper="#ffffff",
        ink="#24292f",
        grid="#e3e6ea",
        episode="#a8c5e6",
        runs=("#1f5fa8", "#c2570c", "#2a7f3f", "#8b3fa0", "#b3261e", "#5b5f66"),
        evaluation="#c2570c",
    ),
    "dark": _Colours(
        paper="#15191e",
        ink="#d7dde4",
        grid="#2b323a",
        episode="#3d5f85",
        runs=("#74b2f2", "#f2a65a", "#7fcf8f", "#cf9be6", "#ef8a83", "#aab1ba"),
        evaluation="#f2a65a",
    ),
}


def _draw_returns(axes: Any, runs: Sequence[RunHistory], colours: _Colours) -> None:
    same = all(np.array_equal(run.returns, run.lengths) for run in runs)
    quantity = "return (episode duration)" if same else "return"
    if len(runs) == 1:
        _draw_one(axes, runs[0], colours)
        axes.set_ylabel(quantity)
    else:
        for run, colour in _coloured(runs, colours):
            _draw_means(axes, run, colour, run.name)
            axes.plot(
                run.evaluation_step, run.evaluation_mean, color=colour, linestyle="none", marker="o", markersize=5
            )
        axes.set_ylabel(f"{quantity}; dots: evaluation")
    if axes.get_legend_handles_labels()[0]:
        legend = axes.legend(loc="upper left", fontsize=9, framealpha=0.85)
        legend.get_frame().set(facecolor=colours.paper, edgecolor=colours.grid)
        for text in legend.get_texts():
            text.set_color(colours.ink)
    values = [v for run in runs for v in (run.returns, run.evaluation_mean) if len(v)]
    if not values:
        axes.text(0.5, 0.5, "no episode has ended", transform=axes.transAxes, ha="center", color=colours.ink)
    elif min(float(np.nanmin(v)) for v in values) >= 0:
        axes.set_ylim(bottom=0)


def _draw_one(axes: Any, run: RunHistory, colours: _Colours) -> None:
    if len(run.step):
        marker = "." if len(run.step) < 60 else None
        label = "training episode"
        axes.plot(run.step, run.returns, color=colours.episode, linewidth=0.9, marker=marker, label=label)
    _draw_means(axes, run, colours.runs[0])
    steps, mean = run.evaluation_step, run.evaluation_mean
    if not len(steps):
        return
    look = {"color": colours.evaluation, "zorder": 3}
    axes.plot(steps, mean, linestyle=":", linewidth=1.2, **look)
    label = "evaluation (mean ± std)"
    axes.errorbar(steps, mean, run.evaluation_std, fmt="o", markersize=5, capsize=3, label=label, **look)
    best = steps == run.best_step
    if best.any():
        label = f"best evaluation ({mean[best][-1]:.1f})"
        axes.plot(steps[best], mean[best], linestyle="none", marker="*", markersize=14, label=label, **look)


def _draw_means(axes: Any, run: RunHistory, colour: str, name: str = "") -> None:
    window = 100 if len(run.returns) >= 100 else 20
    means = running_mean(run.returns, window)
    if len(means):
        axes.plot(
            run.step[window - 1 :],
            means,
            color=colour,
            linewidth=2,
            label=f"{name}, mean over {window}" if name else f"mean over {window}",
        )


def _draw_loss(axes: Any, runs: Sequence[RunHistory], colours: _Colours) -> None:
    everything = []
    for run, colour in _coloured(runs, colours):
        known = np.isfinite(run.loss)
        steps, loss = run.step[known], run.loss[known]
        everything.append(loss)
        window = 20 if len(loss) >= 40 else 1
        if len(runs) == 1 and window > 1:
            axes.plot(steps, loss, color=colours.episode, linewidth=0.7)
        axes.plot(steps[window - 1 :], running_mean(loss, window), color=colour, linewidth=1.5)
    losses = np.concatenate(everything)
    axes.set_ylabel("loss")
    if len(losses) and (losses > 0).all():
        from matplotlib.ticker import LogLocator, NullLocator

        axes.set_yscale("log")
        few = losses.max() / losses.min() < 300
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,), numticks=6))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    if not len(losses):
        axes.set_yticks([])


def _draw_epsilon(axes: Any, runs: Sequence[RunHistory], colours: _Colours) -> None:
    for run, colour in _coloured(runs, colours):
        axes.plot(run.step, run.epsilon, color=colour, linewidth=1.5)
    axes.set_ylabel("epsilon")
    axes.set_ylim(-0.05, 1.05)


def _coloured(runs: Sequence[RunHistory], colours: _Colours) -> list[tuple[RunHistory, str]]:
    return [(run, colours.runs[i % len(colours.runs)]) for i, run in enumerate(runs)]


def _dress(axes: Any, colours: _Colours) -> None:
    axes.set_facecolor("none")
    axes.tick_params(which="both", colors=colours.ink, labelsize=9)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(colours.ink)
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(colours.grid)
    axes.grid(color=colours.grid, linewidth=0.8)
    axes.set_axisbelow(True)
