"""A comparison for people, and for programs.

* `comparison_tables`: a `Comparison` -> `TextTable`s.
* `explanations`: the sentences that go with them: what the figures are, and what to know before believing them.
* `comparison_json`: all that is in a comparison.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from cartpole_dqn.studies.comparison import Comparison, Estimate, GroupScore, RunScore
from cartpole_dqn.text.figures import NOTHING, duration, number, one_line
from cartpole_dqn.text.tables import TextTable, score, to_json

_SOURCES = {
    "played": "on report seeds, played just now",
    "report": "on report seeds, as kept in each run's report.json",
    "metrics": "in the evaluations made during training",
}


def comparison_tables(comparison: Comparison) -> list[TextTable]:
    """Return the tables of groups, of improvements where there are several groups, and of runs."""
    percent = f"{100 * comparison.confidence:g}%"
    groups = TextTable(
        "Groups",
        ("group", "runs", f"best [{percent}]", f"last [{percent}]", "solved", "steps to solved", "training time"),
        tuple(_group_row(group) for group in comparison.groups),
    )
    improvements = TextTable(
        f"Probability of improvement ({comparison.score})",
        ("a run of", "over one of", f"probability [{percent}]"),
        tuple((one_line(i.group), one_line(i.over), _estimate(i.chance, _chance)) for i in comparison.improvements),
        left=2,
    )
    runs = TextTable(
        "Runs",
        ("run", "group", "seed", "steps", "best", "last", "solved at", "training time"),
        tuple(_run_row(run) for run in comparison.runs),
        left=2,
    )
    return [groups, *([improvements] if improvements.rows else []), runs]


def explanations(comparison: Comparison) -> list[str]:
    """Return what the figures are, and what to know before believing them."""
    best, last = _episodes(comparison, "best_episodes"), _episodes(comparison, "last_episodes")
    said = [
        f"best, last: mean return of the model in best/ ({best} episodes) and of the last model ({last}), "
        f"{_SOURCES[comparison.source]}; of a group the interquartile mean over its runs, with its "
        f"{100 * comparison.confidence:g}% bootstrap interval.",
        "solved: a model reached the threshold and was confirmed on further episodes; medians count a run that was "
        "not solved as later than any. Training time is without evaluation.",
    ]
    if comparison.source == "metrics":
        said.append(
            "best/ was chosen by such evaluations, so its figure flatters where no confirmation followed: "
            "--episodes 100 plays both models on report seeds."
        )
    return [*said, *comparison.notes]


def comparison_json(comparison: Comparison) -> str:
    """Return a comparison and its explanations as one JSON object; what is not finite is null."""
    return to_json({**dataclasses.asdict(comparison), "explanations": explanations(comparison)})


# Rows -----------------------------------------------------------------------------------------------------------------


def _group_row(group: GroupScore) -> tuple[str, ...]:
    return (
        one_line(group.label),
        str(group.runs),
        _estimate(group.best),
        _estimate(group.last),
        f"{group.solved} of {group.runs}",
        number(None if group.solved_step is None else round(group.solved_step)),
        NOTHING if group.solved_seconds is None else duration(group.solved_seconds),
    )


def _run_row(run: RunScore) -> tuple[str, ...]:
    return (
        one_line(run.name),
        one_line(run.group),
        number(run.seed),
        number(run.step),
        score(run.best),
        score(run.last),
        number(run.solved_step),
        NOTHING if run.solved_seconds is None else duration(run.solved_seconds),
    )


def _estimate(estimate: Estimate | None, written: Callable[[float | None], str] = score) -> str:
    if estimate is None:
        return NOTHING
    if estimate.low is None:
        return written(estimate.value)
    return f"{written(estimate.value)} [{written(estimate.low)}, {written(estimate.high)}]"


def _chance(value: float | None) -> str:
    return f"{value:.2f}"


def _episodes(comparison: Comparison, field: str) -> str:
    counts = {count for run in comparison.runs if (count := getattr(run, field))}
    return " or ".join(f"{count:,}" for count in sorted(counts)) if 0 < len(counts) < 4 else "some"
