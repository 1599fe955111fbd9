"""What a sweep leaves in the end: its trials compared, grouped by setting, as `compare` prints them.

* `sweep_comparison`: run folders -> a `Comparison`, None where none can be read.
* `write_results`: `results.md` and `results.json` in the sweep's folder.
* `print_results`: the same for people.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from cartpole_dqn.errors import RunFolderError
from cartpole_dqn.runs.folder import write_text_atomic
from cartpole_dqn.studies.comparison import Comparison, compare, kept_scores
from cartpole_dqn.studies.grouping import group_records, read_record
from cartpole_dqn.text.tables import as_markdown, as_rich, as_text
from cartpole_dqn.views.comparison_tables import comparison_json, comparison_tables, explanations

MARKDOWN, JSON = "results.md", "results.json"


def sweep_comparison(folders: Sequence[Path], failed: Sequence[str]) -> Comparison | None:
    """Return the comparison of the trials that are done; those that failed are named in its notes.

    Args:
        folders: run folders of trials that are done.
        failed: a text for each trial that failed.
    """
    records, notes = [], [f"Failed, and in no figure: {text}" for text in failed]
    for folder in folders:
        try:
            records.append(read_record(folder))
        except RunFolderError as error:
            notes.append(f"In no figure: {error}")
    if not records:
        return None
    scores, source = kept_scores(records)
    comparison = compare(group_records(records), scores, source)
    return dataclasses.replace(comparison, notes=(*comparison.notes, *notes))


def write_results(folder: Path, comparison: Comparison) -> None:
    """Write `results.md` and `results.json`. Raises `RunError`."""
    page = as_markdown(comparison_tables(comparison), explanations(comparison))
    write_text_atomic(folder / MARKDOWN, page)
    write_text_atomic(folder / JSON, comparison_json(comparison))


def print_results(console: Console, comparison: Comparison) -> None:
    """Print the tables and what to know of them, as wide as they are where the console is no terminal."""
    for table in comparison_tables(comparison):
        if console.is_terminal:
            console.print(as_rich(table))
            console.print()
        else:
            print(f"{table.title}\n{as_text(table)}")
    for text in explanations(comparison):
        console.print(text, style="dim" if console.is_terminal else None, markup=False, highlight=False)
