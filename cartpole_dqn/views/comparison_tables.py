"""A comparison as text.

* `comparison_tables`: its tables. `explanations`: the meaning and the limits of their figures.
* `comparison_text`: both as plain text or Markdown, or the whole comparison as JSON.
* `print_comparison`: prints it on a console. `write_results`: writes it into a sweep's folder.
* `sweep_comparison`: compares a sweep's trials.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cartpole_dqn.errors import RunFolderError
from cartpole_dqn.runs.folder import write_text_atomic
from cartpole_dqn.studies.comparison import (
    Comparison,
    Estimate,
    GroupScore,
    Played,
    RunScore,
    compare,
)
from cartpole_dqn.studies.grouping import group_records, read_record
from cartpole_dqn.text.figures import NOTHING, duration, number, one_line, score
from cartpole_dqn.text.tables import TextTable, as_markdown, as_text, fitted, print_table, to_json

if TYPE_CHECKING:
    from rich.console import Console

MARKDOWN, JSON = "results.md", "results.json"

_SOURCES = {
    "played": "on held-out seeds, played just now",
    "metrics": "in the evaluations made during training",
}
_DROPPABLE = ("training time", "sd", "lowest", "seed")
"""Columns of the runs that a narrow terminal drops, in this order."""


def comparison_tables(comparison: Comparison) -> list[TextTable]:
    """Return the tables of groups, of improvements (with several groups), and of runs."""
    percent = f"{100 * comparison.confidence:g}%"
    scores = (f"best [{percent}]", "lowest", f"last [{percent}]", "lowest")
    groups = TextTable(
        "Groups",
        ("group", "runs", *scores, "solved", "steps to solved", "training time"),
        tuple(_group_row(group) for group in comparison.groups),
    )
    improvements = TextTable(
        f"Probability of improvement ({comparison.score})",
        ("a run of", "over one of", f"probability [{percent}]"),
        tuple((one_line(i.group), one_line(i.over), _chance(i.chance)) for i in comparison.improvements),
        left=2,
    )
    runs = TextTable(
        "Runs",
        ("run", "group", "seed", "steps", "best", "sd", "lowest", "last", "solved at", "training time"),
        tuple(_run_row(run) for run in comparison.runs),
        left=2,
    )
    return [groups, *([improvements] if improvements.rows else []), runs]


def explanations(comparison: Comparison) -> list[str]:
    """Return sentences on the meaning and the limits of the figures."""
    best, last = (_episodes([getattr(run, which) for run in comparison.runs]) for which in ("best", "last"))
    sentences = [
        f"best, last: mean return of the model in best/ ({best} episodes) and of the last model ({last}), "
        f"{_SOURCES[comparison.source]}; of a group the interquartile mean over its runs, with its "
        f"{100 * comparison.confidence:g}% bootstrap interval, and the lowest of its runs. sd and lowest of a run: "
        f"standard deviation and lowest return of the episodes of best.",
        "solved: a model reached the threshold and was confirmed on further episodes; medians count a run that was "
        "not solved as later than any. Training time is without evaluation.",
    ]
    if comparison.source == "metrics":
        sentences.append(
            "best is too high for a run whose model was not confirmed, since these evaluations selected the model. "
            "--episodes 100 plays both models on held-out seeds."
        )
    return [*sentences, *comparison.notes]


def comparison_text(comparison: Comparison, form: str = "table") -> str:
    """Return tables and explanations. `form` is "table", "markdown" or "json" (not finite is null)."""
    tables, sentences = comparison_tables(comparison), explanations(comparison)
    if form == "json":
        return to_json({**dataclasses.asdict(comparison), "explanations": sentences})
    if form == "markdown":
        return as_markdown(tables, sentences)
    return "\n".join([*map(as_text, tables), *sentences]) + "\n"


def print_comparison(console: Console, comparison: Comparison, form: str = "table") -> None:
    """Print a comparison. Tables are wrapped to a terminal's width, and printed in full width to a pipe."""
    if form != "table" or not console.is_terminal:
        print(comparison_text(comparison, form), end="")
        return
    for table in comparison_tables(comparison):
        droppable = _DROPPABLE if table.title == "Runs" else ()
        print_table(fitted(table, console.width, droppable, wrapped=True), console)
        console.print()
    for text in explanations(comparison):
        console.print(text, style="dim", markup=False, highlight=False)


def sweep_comparison(folders: Sequence[Path], failed: Sequence[str]) -> Comparison | None:
    """Return the comparison of finished trials, given by `folders`. Its notes list the `failed` ones."""
    records, notes = [], [f"Failed, and in no figure: {text}" for text in failed]
    for folder in folders:
        try:
            records.append(read_record(folder))
        except RunFolderError as error:
            notes.append(f"In no figure: {error}")
    if not records:
        return None
    comparison = compare(group_records(records))
    return dataclasses.replace(comparison, notes=(*comparison.notes, *notes))


def write_results(folder: Path, comparison: Comparison) -> None:
    """Write `results.md` and `results.json`. Raises `RunError`."""
    for name, form in ((MARKDOWN, "markdown"), (JSON, "json")):
        write_text_atomic(folder / name, comparison_text(comparison, form))


# Rows -----------------------------------------------------------------------------------------------------------------


def _group_row(group: GroupScore) -> tuple[str, ...]:
    return (
        one_line(group.label),
        str(group.runs),
        _estimate(group.best),
        score(group.best_lowest) if group.runs > 1 else NOTHING,
        _estimate(group.last),
        score(group.last_lowest) if group.runs > 1 else NOTHING,
        f"{group.solved} of {group.runs}",
        number(None if group.solved_step is None else round(group.solved_step)),
        duration(group.solved_seconds),
    )


def _run_row(run: RunScore) -> tuple[str, ...]:
    best = run.best
    return (
        one_line(run.name),
        one_line(run.group),
        number(run.seed),
        number(run.step),
        *((score(best.mean), score(best.std), score(best.lowest)) if best else (NOTHING,) * 3),
        score(run.last.mean if run.last else None),
        number(run.solved_step),
        duration(run.solved_seconds),
    )


def _estimate(estimate: Estimate | None) -> str:
    """Return a score with its interval; one run has no interval."""
    if estimate is None:
        return NOTHING
    interval = NOTHING if estimate.low is None else f"{score(estimate.low)}, {score(estimate.high)}"
    return f"{score(estimate.value)} [{interval}]"


def _chance(estimate: Estimate | None) -> str:
    """Return a probability with its interval; "-" if a group has one run, which cannot tell."""
    if estimate is None or estimate.low is None:
        return NOTHING
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"


def _episodes(models: Sequence[Played | None]) -> str:
    counts = {model.episodes for model in models if model is not None}
    return " or ".join(f"{count:,}" for count in sorted(counts)) if 0 < len(counts) < 4 else "some"
