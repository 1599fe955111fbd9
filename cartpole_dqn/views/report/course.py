"""The course of a run as tables: its evaluations, and its episodes in tenths of its steps.

* `evaluations_section`: every evaluation and confirmation. `course_section`: the episodes.
* `alike`: figures of a row, with the same number of decimals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from cartpole_dqn.runs.history import Floats, RunHistory
from cartpole_dqn.text.figures import NOTHING, number
from cartpole_dqn.text.markup import Html, rows_table, tag
from cartpole_dqn.text.tables import score
from cartpole_dqn.views.chart import same_as_duration

_PARTS = 10
_FEW = 14
"""More evaluations than this are folded away but for those that mattered."""


def evaluations_section(history: RunHistory) -> Html:
    """Return the evaluations that chose the best model, and the confirmations; nothing where there was none."""
    found = [
        (step, "evaluation", returns) for step, returns in _pairs(history.evaluation_step, history.evaluation_returns)
    ]
    found += [
        (step, "confirmation", returns)
        for step, returns in _pairs(history.confirmation_step, history.confirmation_returns)
    ]
    if not found:
        return Html()
    said = (
        "During training: greedy episodes on seeds of their own choose the model that is kept as best; a model that "
        "reaches the threshold is confirmed on further ones."
    )
    found.sort(key=lambda entry: (entry[0], entry[1] != "evaluation"))
    rows = [_evaluation_row(history, *entry) for entry in found]
    columns = ("step", "kind", "episodes", "mean", "std", "least", "greatest", "")
    if len(rows) <= _FEW:
        return tag(
            "section", tag("h2", "Evaluations during training"), tag("p", said), rows_table(columns, rows, left=2)
        )
    best = int(np.nanargmax([_mean(entry[2]) for entry in found])) if any(entry[2] for entry in found) else 0
    kept = [row for i, row in enumerate(rows) if row[1] == "confirmation" or row[-1] or i in (0, best, len(rows) - 1)]
    every = tag("details", tag("summary", f"All {len(rows)}"), rows_table(columns, rows, left=2))
    short = tag("p", f"{said} These stand out among {len(rows)}.")
    table = rows_table(columns, kept, left=2)
    return tag("section", tag("h2", "Evaluations during training"), short, table, every, class_="long")


def course_section(history: RunHistory) -> Html:
    """Return the episodes in tenths of the run's steps, or in fewer parts where they are few."""
    count = len(history.returns)
    if not count:
        return tag("section", tag("h2", "Episodes"), tag("p", "No episode has ended."))
    said = f"{count:,} training episode{'' if count == 1 else 's'}, with the exploration that training has."
    same = same_as_duration([history])
    columns = ["up to step", "episodes", "mean return", "greatest", *([] if same else ["mean length"])]
    known = [name for name in ("epsilon", "loss") if np.isfinite(getattr(history, name)).any()]
    rows = list(_course(history, same, known))
    table = rows_table([*columns, *(f"mean {name}" if name == "loss" else name for name in known)], rows, left=0)
    last = history.returns[-100:]
    figures = (
        ("best return", number(float(np.nanmax(history.returns)))),
        (f"mean of the last {len(last)}", score(float(np.nanmean(last)))),
        ("longest episode", f"{number(float(np.nanmax(history.lengths)))} steps"),
    )
    facts = tag("p", " · ".join(f"{name}: {figure}" for name, figure in figures))
    return tag("section", tag("h2", "Episodes"), tag("p", said), table, facts)


def _course(history: RunHistory, same: bool, known: list[str]) -> Iterator[tuple[str, ...]]:
    end = max(history.end[0] if history.end else 0.0, float(np.nanmax(history.step)))
    parts = min(_PARTS, len(history.returns))
    bounds = [end * (i + 1) / parts for i in range(parts)]
    part_of = np.searchsorted(bounds, history.step)
    for i, bound in enumerate(bounds):
        inside = part_of == i
        if not inside.any():
            yield (f"{bound:,.0f}", "0", *[NOTHING] * (len(known) + (2 if same else 3)))
            continue
        returns = history.returns[inside]
        row = [
            f"{bound:,.0f}",
            f"{len(returns):,}",
            *alike([_finite(np.nanmean, returns), _finite(np.nanmax, returns)]),
        ]
        if not same:
            row.append(score(_finite(np.nanmean, history.lengths[inside])))
        for name in known:
            values = getattr(history, name)[inside]
            value = _finite(np.nanmean if name == "loss" else _last, values)
            row.append(f"{value:.3f}" if name == "epsilon" and value is not None else number(value))
        yield tuple(row)


def _evaluation_row(history: RunHistory, step: float, kind: str, returns: tuple[float, ...]) -> tuple[str, ...]:
    kept = kind == "evaluation" and step == history.best_step
    solved = kind == "confirmation" and step == history.solved_step
    figures = (_mean(returns), float(np.std(returns)), min(returns), max(returns)) if returns else (None,) * 4
    mark = tag("span", "solved" if solved else "kept as best", class_="yes") if kept or solved else ""
    return (f"{step:,.0f}", kind, f"{len(returns)}", *alike(figures), mark)


def alike(figures: Sequence[float | None]) -> list[str]:
    """Return figures that stand in a row with the same number of decimals: one, where the greatest is 10 or more."""
    most = max((abs(figure) for figure in figures if figure is not None and np.isfinite(figure)), default=0.0)
    return [f"{f:,.1f}" if f is not None and np.isfinite(f) and 10 <= most < 1e6 else number(f) for f in figures]


def _mean(returns: tuple[float, ...]) -> float:
    return float(np.mean(returns)) if returns else float("nan")


def _pairs(steps: Floats, returns: tuple[tuple[float, ...], ...]) -> list[tuple[float, tuple[float, ...]]]:
    return [(float(step), found) for step, found in zip(steps, returns, strict=True)]


def _last(values: Floats) -> float:
    return float(values[np.isfinite(values)][-1])


def _finite(figure: Callable[[Floats], float], values: Floats) -> float | None:
    """Return a figure of the values that are known, None where none is."""
    return float(figure(values)) if np.isfinite(values).any() else None
