"""How a run looks in a notebook: pure functions, figures in, HTML out.

* `Trail`: what the curves are drawn from, of bounded size.
* `card`: a run at one moment as HTML, its curves as SVG.

Text takes the page's own colour, fainter by transparency, and lines have colours of middle lightness: a notebook may be
light or dark, and does not say which.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cartpole_dqn.contracts.events import Evaluation
from cartpole_dqn.contracts.parts import State
from cartpole_dqn.observers.display.panel import describe_evaluation, figures_of
from cartpole_dqn.observers.display.tracker import Folded, Snapshot
from cartpole_dqn.text.figures import NOTHING, duration, number
from cartpole_dqn.text.markup import Html, tag

_MOST_EVALUATIONS = 300
_WIDTH, _LEFT, _RIGHT = 760, 46, 22
_TOP, _RETURNS, _GAP, _EPSILON, _BOTTOM = 22, 200, 14, 44, 20
_EPISODE, _MEAN, _GREEDY = "#8fb8e0", "#2f7fd0", "#d9772b"
_FAINT = "opacity:.65"
_CELL = "display:flex;justify-content:space-between"


class Trail:
    """Episodes and evaluations so far: the former in at most some hundred points, each of equally many episodes."""

    def __init__(self) -> None:
        self._columns = {name: Folded() for name in ("step", "return", "mean", "epsilon")}
        self._evaluations: list[tuple[float, float]] = []

    def add(self, step: int, episode_return: float, mean: float, epsilon: float) -> None:
        """Append an episode: where it ended, its return, the mean over 100, and epsilon, NaN where there is none."""
        for name, value in (("step", float(step)), ("return", episode_return), ("mean", mean), ("epsilon", epsilon)):
            self._columns[name].add(value)

    def evaluate(self, event: Evaluation) -> None:
        """Append an evaluation; the oldest are forgotten where there are very many."""
        self._evaluations = [*self._evaluations[1 - _MOST_EVALUATIONS :], (float(event.step), event.mean)]

    def points(self, name: str) -> tuple[tuple[float, float], ...]:
        """Return (step, value) for the column `name`, those that are known; for "evaluation", (step, mean)."""
        if name == "evaluation":
            return tuple(self._evaluations)
        pairs = zip(self._columns["step"].points(), self._columns[name].points(), strict=True)
        return tuple((step, value) for step, value in pairs if math.isfinite(value))

    def state_dict(self) -> State:
        """See `Stateful`."""
        columns = {name: column.state_dict() for name, column in self._columns.items()}
        return {"columns": columns, "evaluations": [list(pair) for pair in self._evaluations]}

    def load_state_dict(self, state: State) -> None:
        """See `Stateful`."""
        for name, column in self._columns.items():
            column.load_state_dict(state["columns"][name])
        self._evaluations = [(float(step), float(mean)) for step, mean in state["evaluations"]]


def card(snapshot: Snapshot, trail: Trail, said: Sequence[str] = ()) -> Html:
    """Return a run as HTML: how far it is, its figures, its curves, and what is `said` when it is over."""
    started = snapshot.started
    head = [tag("b", started.name or "run")]
    if started.folder:
        head.append(tag("span", f"  {started.folder}", style=_FAINT))
    cells = [
        tag("div", tag("span", label, style=_FAINT), tag("b", value), style=_CELL)
        for label, value in figures_of(snapshot)
        if value != NOTHING
    ]
    lines = list(said)
    if not said and snapshot.evaluation is not None:
        lines = [describe_evaluation(snapshot.evaluation)]
        if snapshot.best is not None and not snapshot.evaluation.best:
            lines.append(f"best so far: {snapshot.best.mean:,.1f} at step {snapshot.best.step:,}")
    grid = "display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:2px 28px;margin:8px 0"
    return tag(
        "div",
        tag("div", *head),
        _bar(snapshot),
        tag("div", *cells, style=grid),
        _curves(snapshot, trail),
        *(tag("div", line, style=_FAINT) for line in lines),
        style=f"max-width:{_WIDTH}px;font:13px/1.5 system-ui,sans-serif;font-variant-numeric:tabular-nums",
    )


def _bar(snapshot: Snapshot) -> Html:
    unit = "episodes" if snapshot.counts_episodes else "steps"
    words = [f"{snapshot.done:,} {unit}"]
    parts: list[str] = []
    if snapshot.total is not None:
        share = min(1.0, snapshot.done / max(1, snapshot.total))
        words = [f"{snapshot.done:,} of {snapshot.total:,} {unit}"]
        done = tag("div", style=f"width:{100 * share:.1f}%;height:100%;background:{_MEAN}")
        frame = "height:5px;border-radius:3px;overflow:hidden;background:rgba(128,128,128,.25);margin:6px 0 4px"
        parts.append(tag("div", done, style=frame))
    words.append(duration(snapshot.elapsed))
    if snapshot.remaining is not None and snapshot.done < (snapshot.total or 0):
        words.append(f"{duration(snapshot.remaining)} left")
    if snapshot.rate is not None:
        words.append(f"{number(snapshot.rate)} steps/s")
    return tag("div", *parts, tag("div", " · ".join(words), style=_FAINT))


# Curves ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Area:
    """Where in the picture a range of values is drawn."""

    top: float
    height: float
    low: float
    high: float
    end: float
    """The step at the right edge."""

    def x(self, step: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * min(step / self.end, 1.0)

    def y(self, value: float) -> float:
        return self.top + self.height * (self.high - value) / (self.high - self.low)

    def grid(self, ticks: Sequence[float]) -> list[Html]:
        """Return a line and its value for each tick."""
        drawn = []
        for tick in ticks:
            y = f"{self.y(tick):.1f}"
            drawn.append(tag("line", x1=f"{_LEFT}", x2=f"{_WIDTH - _RIGHT}", y1=y, y2=y, stroke_opacity=".15"))
            drawn.append(_text(f"{tick:,g}", _LEFT - 6, float(y) + 4, "end"))
        return drawn

    def line(self, points: Sequence[tuple[float, float]], colour: str, width: float) -> Html:
        """Return a curve through (step, value)."""
        places = " ".join(f"{self.x(step):.1f},{self.y(value):.1f}" for step, value in points)
        return tag("polyline", points=places, fill="none", stroke=colour, stroke_width=f"{width:g}")

    def dots(self, points: Sequence[tuple[float, float]], colour: str, radius: float = 3.0) -> list[Html]:
        """Return a dot at each (step, value)."""
        look = {"r": f"{radius:g}", "fill": colour, "stroke": "none"}
        return [tag("circle", cx=f"{self.x(x):.1f}", cy=f"{self.y(y):.1f}", **look) for x, y in points]


def _curves(snapshot: Snapshot, trail: Trail) -> Html:
    """Return the returns with their mean over 100, evaluations, and epsilon where there is one."""
    returns, means, greedy, epsilon = (trail.points(name) for name in ("return", "mean", "evaluation", "epsilon"))
    if not returns and not greedy:
        return Html()
    step = snapshot.started.step if snapshot.progress is None else snapshot.progress.step
    end = float(max(1, step, snapshot.started.steps or 0))
    finite = [value for _, value in (*returns, *means, *greedy) if math.isfinite(value)]
    ticks = _ticks(min(0.0, *finite), max(0.0, *finite))
    area = _Area(_TOP, _RETURNS, ticks[0], ticks[-1], end)
    drawn = [*area.grid(ticks), area.line(returns, _EPISODE, 1), area.line(means, _MEAN, 2)]
    if len(returns) == 1:
        drawn += area.dots(returns, _EPISODE, 2)
    drawn += [area.line(greedy, _GREEDY, 0.8), *area.dots(greedy, _GREEDY)]
    bottom = float(_TOP + _RETURNS)
    if epsilon:
        below = _Area(bottom + _GAP, _EPSILON, 0.0, 1.0, end)
        drawn += [*below.grid((0.0, 1.0)), below.line(epsilon, _MEAN, 1.2), _text("epsilon", _LEFT + 4, below.top + 12)]
        bottom += _GAP + _EPSILON
    drawn += [_text(f"{tick:,g}", area.x(tick), bottom + 15, "middle") for tick in _ticks(0.0, end) if tick <= end]
    key = (("return of an episode", _EPISODE), ("mean of the last 100", _MEAN), ("evaluation", _GREEDY))
    for i, (words, colour) in enumerate(key[: 3 if greedy else 2]):
        x = _LEFT + 170.0 * i
        drawn.append(tag("line", x1=f"{x}", x2=f"{x + 18}", y1="8", y2="8", stroke=colour, stroke_width="3"))
        drawn.append(_text(words, x + 24, 12))
    return tag(
        "svg",
        *drawn,
        viewBox=f"0 0 {_WIDTH} {bottom + _BOTTOM:g}",
        style="width:100%;height:auto;display:block;margin:6px 0",
        stroke="currentColor",
        font_size="11",
        role="img",
        aria_label="Returns of episodes, their mean over 100, evaluations and epsilon over environment steps",
    )


def _text(words: str, x: float, y: float, anchor: str = "start") -> Html:
    return tag(
        "text", words, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor, fill="currentColor", stroke="none", opacity=".65"
    )  # fmt: skip


def _ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return round numbers from at or below `low` to at or above `high`, at most about `most` of them.

    >>> _ticks(0.0, 437.0)
    [0.0, 100.0, 200.0, 300.0, 400.0, 500.0]
    """
    span = high - low if high > low else 1.0
    power = 10.0 ** math.floor(math.log10(span / most))
    apart = next(factor * power for factor in (1, 2, 5, 10, 20) if span / (factor * power) <= most - 1)
    first, last = math.floor(low / apart + 1e-9), math.ceil((low + span) / apart - 1e-9)
    return [float(f"{i * apart:.12g}") for i in range(first, last + 1)]
