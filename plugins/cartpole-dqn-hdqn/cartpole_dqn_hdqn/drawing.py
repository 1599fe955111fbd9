"""`draw_courses`: returns and visits to states of several agents over many episodes, as a picture.

After figure 3 of Kulkarni et al. (2016). Drawing uses a figure of its own and no state of matplotlib's.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cartpole_dqn_hdqn.study import WINDOW, Course

OPTIMUM, NO_DETOUR = 0.208, 0.01
SMOOTHED = 5  # points of a course that a point of a curve is the mean of

Style = Literal["light", "dark"]


@dataclass(frozen=True)
class _Colours:
    paper: str
    ink: str
    faint: str
    grid: str
    agents: tuple[str, ...]
    states: tuple[str, ...]


_COLOURS: Mapping[Style, _Colours] = {
    "light": _Colours(
        paper="#ffffff",
        ink="#24292f",
        faint="#6a737d",
        grid="#e3e6ea",
        agents=("#1f5fa8", "#2a7f3f", "#c2570c", "#8b3fa0"),
        states=("#8fb8de", "#4d8fcc", "#1f5fa8", "#c98a00"),
    ),
    "dark": _Colours(
        paper="#15191e",
        ink="#d7dde4",
        faint="#8d96a0",
        grid="#2b323a",
        agents=("#74b2f2", "#7fcf8f", "#f2a65a", "#cf9be6"),
        states=("#3f6a96", "#5b93cc", "#9cc9f5", "#f0c14b"),
    ),
}


def draw_courses(courses: Mapping[str, Sequence[Course]], out: Path, *, style: Style = "light") -> None:
    """Draw the courses of each agent's seeds into the picture `out`.

    Above: mean return an episode, with the quartiles over seeds. Below, for each agent: visits an episode to each state
    from s3 on, mean over seeds.

    Raises:
        ValueError: there are none, or they are too short for a point.
        OSError: the picture cannot be written.
    """
    if not courses or any(len(one.returns) < 1 for its in courses.values() for one in its):
        raise ValueError(f"draw_courses: expected courses of {WINDOW} episodes or more.")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    colours = _COLOURS[style]
    figure = Figure(figsize=(11, 7.4), dpi=100, facecolor=colours.paper, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    above, below = figure.subfigures(2, 1, height_ratios=[1.25, 1], squeeze=False)[:, 0]
    for part in (above, below):
        part.set_facecolor(colours.paper)
    _draw_returns(above.subplots(), courses, colours)
    panels = below.subplots(1, len(courses), sharey=True, squeeze=False)[0]
    for axes, (name, its) in zip(panels, courses.items(), strict=True):
        _draw_visits(axes, name, its, colours)
    panels[0].set_ylabel("visits an episode")
    panels[0].set_ylim(0, 1.12 * panels[0].get_ylim()[1])  # of them all; the legends take some room
    picture = io.BytesIO()
    canvas.print_figure(picture, format="png", facecolor=colours.paper)
    out.write_bytes(picture.getvalue())


def _draw_returns(axes: Any, courses: Mapping[str, Sequence[Course]], colours: _Colours) -> None:
    for (name, its), colour in zip(courses.items(), colours.agents, strict=False):
        returns = np.stack([_smooth(one.returns) for one in its])
        episodes = _episodes(returns.shape[1])
        low, high = np.quantile(returns, [0.25, 0.75], axis=0)
        axes.fill_between(episodes, low, high, color=colour, alpha=0.18, linewidth=0)
        axes.plot(episodes, returns.mean(axis=0), color=colour, linewidth=1.8, label=name)
    for value, words, beside in ((OPTIMUM, "optimum 0.208", 4), (NO_DETOUR, "left at once 0.01", 13)):
        axes.axhline(value, color=colours.faint, linewidth=1, linestyle=(0, (4, 3)))
        axes.annotate(
            words, (1, value), xycoords=("axes fraction", "data"), xytext=(-4, beside), textcoords="offset points",
            ha="right", fontsize=9, color=colours.faint,
        )  # fmt: skip
    seeds = {len(its) for its in courses.values()}
    axes.set_title(
        f"Return an episode while training: mean over {'/'.join(map(str, sorted(seeds)))} seeds, and quartiles",
        color=colours.ink, fontsize=12, loc="left",
    )  # fmt: skip
    axes.set_ylim(0, 0.235)
    axes.set_ylabel("return")
    legend = axes.legend(loc="upper left", fontsize=9, ncols=len(courses), frameon=False, bbox_to_anchor=(0, 0.97))
    for text in legend.get_texts():
        text.set_color(colours.ink)
    _dress(axes, colours)


def _draw_visits(axes: Any, name: str, its: Sequence[Course], colours: _Colours) -> None:
    visits = np.mean([one.visits for one in its], axis=0)
    shown = range(2, visits.shape[1])
    for state, colour in zip(shown, _spread(colours.states, len(shown)), strict=True):
        curve = _smooth(visits[:, state])
        axes.plot(_episodes(len(curve)), curve, color=colour, linewidth=1.8, label=f"s{state + 1}")
    axes.set_title(name, color=colours.ink, fontsize=11, loc="left")
    legend = axes.legend(loc="upper left", fontsize=8, frameon=False, ncols=2, handlelength=1.2, columnspacing=1.0)
    for text in legend.get_texts():
        text.set_color(colours.ink)
    _dress(axes, colours)


def _smooth(values: Any) -> Any:
    """[W] -> means of up to `SMOOTHED` points in a row."""
    window = min(SMOOTHED, len(values))
    return np.convolve(values, np.full(window, 1 / window), mode="valid")


def _episodes(points: int) -> Any:
    """The episode in the middle of each point's windows."""
    return (np.arange(points) + SMOOTHED / 2) * WINDOW


def _spread(colours: Sequence[str], count: int) -> list[str]:
    """Return `count` of the colours, the last one for the last state."""
    places = np.linspace(0, len(colours) - 1, count).round().astype(int) if count > 1 else [len(colours) - 1]
    return [colours[place] for place in places]


def _dress(axes: Any, colours: _Colours) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_facecolor("none")
    axes.tick_params(which="both", colors=colours.ink, labelsize=9)
    axes.set_xlabel("episode")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(colours.ink)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(colours.grid)
    axes.grid(color=colours.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlim(left=0)
