"""The results of a sweep: its trials grouped by setting and compared, as in `compare`.

* `sweep_comparison`: run folders -> a `Comparison`; None if none can be read.
* `write_results`: writes `results.md` and `results.json` into the sweep's folder.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from cartpole_dqn.errors import RunFolderError
from cartpole_dqn.runs.folder import write_text_atomic
from cartpole_dqn.studies.comparison import Comparison, compare, kept_scores
from cartpole_dqn.studies.grouping import group_records, read_record
from cartpole_dqn.views.comparison_tables import comparison_text

MARKDOWN, JSON = "results.md", "results.json"


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
    comparison = compare(group_records(records), kept_scores(records), "metrics")
    return dataclasses.replace(comparison, notes=(*comparison.notes, *notes))


def write_results(folder: Path, comparison: Comparison) -> None:
    """Write `results.md` and `results.json`. Raises `RunError`."""
    for name, form in ((MARKDOWN, "markdown"), (JSON, "json")):
        write_text_atomic(folder / name, comparison_text(comparison, form))
