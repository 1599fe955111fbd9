"""`evaluations_of`, `course_of`: a run's evaluations and episodes as tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from cartpole_dqn.runs.history import Floats, RunHistory
from cartpole_dqn.text.figures import NOTHING, alike, number, score
from cartpole_dqn.text.tables import TextTable
from cartpole_dqn.views.chart import same_as_duration

_PARTS = 10
_FEW = 14
"""With more evaluations, only the important ones are shown at first."""


@dataclass(frozen=True)
class Evaluations:
    """A run's evaluations."""

    shown: TextTable
    every: TextTable | None
    """All of them, if `shown` has only a part."""


@dataclass(frozen=True)
class Course:
    """A run's episodes."""

    table: TextTable
    facts: tuple[str, ...]


def evaluations_of(history: RunHistory) -> Evaluations | None:
    """Return the evaluations that chose the best model and the confirmations; None without any."""
    kinds = (
        ("evaluation", history.evaluation_step, history.evaluation_returns),
        ("confirmation", history.confirmation_step, history.confirmation_returns),
    )
    entries = [
        (float(at), kind, scores) for kind, steps, returns in kinds for at, scores in zip(steps, returns, strict=True)
    ]
    if not entries:
        return None
    entries.sort(key=lambda entry: (entry[0], entry[1] != "evaluation"))
    columns = ("step", "kind", "episodes", "mean", "std", "least", "greatest", "")
    full_table = TextTable("", columns, tuple(_evaluation_row(history, *entry) for entry in entries), left=2)
    if len(entries) <= _FEW:
        return Evaluations(full_table, None)
    means = [float(np.mean(returns)) if returns else -np.inf for _, _, returns in entries]
    some = {0, int(np.nanargmax(means)), len(entries) - 1}
    rows = [row for i, row in enumerate(full_table.rows) if row[1] == "confirmation" or row[-1] or i in some]
    return Evaluations(replace(full_table, rows=tuple(rows)), full_table)


def _evaluation_row(history: RunHistory, step: float, kind: str, returns: tuple[float, ...]) -> tuple[str, ...]:
    is_best = kind == "evaluation" and step == history.best_step
    solved = kind == "confirmation" and step == history.solved_step
    figures = (float(np.mean(returns)), float(np.std(returns)), min(returns), max(returns)) if returns else (None,) * 4
    mark = "solved" if solved else "kept as best" if is_best else ""
    return (f"{step:,.0f}", kind, f"{len(returns)}", *alike(figures), mark)


def course_of(history: RunHistory) -> Course | None:
    """Return the episodes in tenths of the run's steps, or in fewer parts if there are few; None without any."""
    if not len(history.returns):
        return None
    is_duration = same_as_duration([history])
    names = [name for name in ("epsilon", "loss") if np.isfinite(getattr(history, name)).any()]
    columns = ("up to step", "episodes", "mean return", "greatest", *(() if is_duration else ("mean length",)))
    columns += tuple("mean loss" if name == "loss" else name for name in names)
    last = history.returns[-100:]
    facts = (
        f"best return: {number(float(np.nanmax(history.returns)))}",
        f"mean of the last {len(last)}: {score(float(np.nanmean(last)))}",
        f"longest episode: {number(float(np.nanmax(history.lengths)))} steps",
    )
    return Course(TextTable("", columns, tuple(_parts(history, is_duration, names)), left=0), facts)


def _parts(history: RunHistory, is_duration: bool, names: list[str]) -> Iterator[tuple[str, ...]]:
    end = max(history.end[0] if history.end else 0.0, float(np.nanmax(history.step)))
    parts = min(_PARTS, len(history.returns))
    bounds = [end * (i + 1) / parts for i in range(parts)]
    part_of = np.searchsorted(bounds, history.step)
    for i, bound in enumerate(bounds):
        inside = part_of == i
        if not inside.any():
            yield (f"{bound:,.0f}", "0", *[NOTHING] * (len(names) + (2 if is_duration else 3)))
            continue
        returns = history.returns[inside]
        figures = alike([_finite(np.nanmean, returns), _finite(np.nanmax, returns)])
        row = [f"{bound:,.0f}", f"{len(returns):,}", *figures]
        if not is_duration:
            row.append(score(_finite(np.nanmean, history.lengths[inside])))
        for name in names:
            value = _finite(np.nanmean if name == "loss" else _last, getattr(history, name)[inside])
            row.append(f"{value:.3f}" if name == "epsilon" and value is not None else number(value))
        yield tuple(row)


def _last(values: Floats) -> float:
    return float(values[np.isfinite(values)][-1])


def _finite(figure: Callable[[Floats], float], values: Floats) -> float | None:
    """Return a figure of the known values; None without any."""
    return float(figure(values)) if np.isfinite(values).any() else None
