"""`card`: a run at one moment as HTML for a notebook, with its curves as SVG.

A notebook may be light or dark. Text therefore has the page's own colour, and lines have colours of medium lightness.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cartpole_dqn.observers.display.tracker import Snapshot
from cartpole_dqn.observers.wording import describe_evaluation, figures_of, pace, reached
from cartpole_dqn.text.figures import NOTHING, duration
from cartpole_dqn.text.pages import render

_WIDTH, _LEFT, _RIGHT = 760, 46, 22
_TOP, _RETURNS, _GAP, _EPSILON, _BOTTOM = 22, 200, 14, 44, 20
_EPISODE, _MEAN, _GREEDY = "#8fb8e0", "#2f7fd0", "#d9772b"

Points = Sequence[tuple[float, float]]
"""(step, value)."""


def card(snapshot: Snapshot, last_lines: Sequence[str] = ()) -> str:
    """Return a run as HTML: its progress, figures and curves, and the lines `last_lines` below them."""
    started, total = snapshot.started, snapshot.total
    lines = list(last_lines)
    if not last_lines and snapshot.evaluation is not None:
        lines = [describe_evaluation(snapshot.evaluation, snapshot.started.solved_at)]
        if snapshot.best is not None and not snapshot.evaluation.best:
            lines.append(f"best so far: {reached(snapshot.best)}")
    return render(
        "observers/notebook_card.html.jinja",
        name=started.name or "run",
        folder=started.folder,
        share=None if total is None else f"{min(100.0, 100 * snapshot.done / max(1, total)):.1f}",
        progress=" · ".join([_counts(snapshot), duration(snapshot.elapsed), *pace(snapshot)]),
        figures=[(label, value) for label, value in figures_of(snapshot) if value != NOTHING],
        curves=_curves(snapshot),
        lines=lines,
        solved=None if snapshot.solved is None else reached(snapshot.solved),
        bar=_MEAN,
        width=_WIDTH,
        left=_LEFT,
        right=_RIGHT,
    )


def _counts(snapshot: Snapshot) -> str:
    total = "" if snapshot.total is None else f" of {snapshot.total:,}"
    return f"{snapshot.done:,}{total} {'episodes' if snapshot.counts_episodes else 'steps'}"


# Curves ---------------------------------------------------------------------------------------------------------------


@dataclass
class _Curves:
    """What the template draws, in pixels."""

    end: float
    """The step at the right edge."""
    height: float = 0.0
    key: list[tuple[str, str]] = field(default_factory=list)
    grid: list[tuple[float, str]] = field(default_factory=list)
    lines: list[tuple[str, str, float]] = field(default_factory=list)
    dots: list[tuple[float, float, str, float]] = field(default_factory=list)
    words: list[tuple[str, float, float, str]] = field(default_factory=list)

    def x(self, step: float) -> float:
        return round(_LEFT + (_WIDTH - _LEFT - _RIGHT) * min(step / self.end, 1.0), 1)

    def area(self, top: float, height: float, ticks: Sequence[float]) -> Callable[[Points], Points]:
        """Add an area with a line at each of the `ticks`. Return the function from points to their places in it."""
        low, high = ticks[0], ticks[-1]

        def placed(points: Points) -> Points:
            return [(self.x(step), round(top + height * (high - value) / (high - low), 1)) for step, value in points]

        self.grid += [(placed([(0.0, tick)])[0][1], f"{tick:,g}") for tick in ticks]
        return placed

    def line(self, places: Points, colour: str, width: float) -> None:
        self.lines.append((" ".join(f"{x},{y}" for x, y in places), colour, width))

    def mark(self, places: Points, colour: str, radius: float) -> None:
        self.dots += [(x, y, colour, radius) for x, y in places]


def _curves(snapshot: Snapshot) -> _Curves | None:
    """Return returns with their mean over 100, evaluations, and epsilon if known; None before any of them."""
    trail = snapshot.trail
    returns, means, epsilon = map(trail.points, (trail.returns, trail.means_100, trail.epsilon))
    greedy = trail.evaluations
    if not returns and not greedy:
        return None
    step = snapshot.started.step if snapshot.progress is None else snapshot.progress.step
    curves = _Curves(float(max(1, step, snapshot.started.steps or 0)))
    finite = [value for _, value in (*returns, *means, *greedy) if math.isfinite(value)]
    placed = curves.area(_TOP, _RETURNS, _ticks(min(0.0, *finite), max(0.0, *finite)))
    curves.line(placed(returns), _EPISODE, 1)
    curves.line(placed(means), _MEAN, 2)
    curves.mark(placed(returns if len(returns) == 1 else ()), _EPISODE, 2)
    curves.line(placed(greedy), _GREEDY, 0.8)
    curves.mark(placed(greedy), _GREEDY, 3)
    bottom = float(_TOP + _RETURNS)
    if epsilon:
        curves.line(curves.area(bottom + _GAP, _EPSILON, (0.0, 1.0))(epsilon), _MEAN, 1.2)
        curves.words.append(("epsilon", _LEFT + 4, bottom + _GAP + 12, "start"))
        bottom += _GAP + _EPSILON
    ticks = [tick for tick in _ticks(0.0, curves.end) if tick <= curves.end]
    curves.words += [(f"{tick:,g}", curves.x(tick), bottom + 15, "middle") for tick in ticks]
    curves.key = [("return of an episode", _EPISODE), ("mean of the last 100", _MEAN)]
    curves.key += [("evaluation", _GREEDY)] * bool(greedy)
    curves.height = bottom + _BOTTOM
    return curves


def _ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return about `most` round numbers that enclose `low`..`high`.

    >>> _ticks(0.0, 437.0)
    [0.0, 100.0, 200.0, 300.0, 400.0, 500.0]
    """
    span = high - low if high > low else 1.0
    power = 10.0 ** math.floor(math.log10(span / most))
    apart = next(factor * power for factor in (1, 2, 5, 10, 20) if span / (factor * power) <= most - 1)
    first, last = math.floor(low / apart + 1e-9), math.ceil((low + span) / apart - 1e-9)
    return [float(f"{i * apart:.12g}") for i in range(first, last + 1)]
