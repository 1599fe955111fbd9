"""The argument RUN of every command that looks at runs, and what commands share that take several.

* `RunArgument`, `RunsArgument`: one run, or several, completed by the shell without importing torch.
* `read_records`: what was typed -> the runs' settings and metrics.
* `group_keys`, `one_of`: options that are lists of keys, or one of some words.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cartpole_dqn.errors import RunFolderError, UserError, did_you_mean

if TYPE_CHECKING:
    from cartpole_dqn.cli.session import Session
    from cartpole_dqn.studies.grouping import Record

_HELP = "its folder, the beginning of its name under runs/, or latest"


def complete(incomplete: str) -> list[str]:
    """Return what a shell offers for the beginning of a run's name."""
    from cartpole_dqn.runs.catalogue import complete_run

    return complete_run(incomplete)


RunArgument = Annotated[str, typer.Argument(metavar="RUN", help=f"A run: {_HELP}.", autocompletion=complete)]
RunsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN", help=f"Runs, each by {_HELP}; a folder of runs means all of them.", autocompletion=complete
    ),
]
GroupByOption = Annotated[
    list[str] | None,
    typer.Option(
        "--group-by",
        metavar="KEY[,KEY]",
        help="What the runs of a group share, such as lr or agent.replay; run: each by itself; all: one group. "
        "By default runs that differ only in their seed are a group.",
    ),
]


def read_records(session: Session, runs: Sequence[str]) -> list[Record]:
    """Return the runs that are meant.

    Of a folder full of runs, those that cannot be read are named on stderr and left out.

    Raises:
        UserError: there is none such, or one that was named itself cannot be read.
    """
    from cartpole_dqn.runs.catalogue import find_runs
    from cartpole_dqn.studies.grouping import read_record

    places = {Path(run).resolve() for run in runs}
    records = []
    failures: list[RunFolderError] = []
    for folder in find_runs(runs):
        try:
            records.append(read_record(folder.path))
        except RunFolderError as error:
            if folder.path.resolve().parent not in places:
                raise
            failures.append(error)
            session.err.print(f"left out: {error}", style="yellow", markup=False, highlight=False)
    if not records:
        raise UserError(f"none of the {len(failures)} runs there can be read.")
    return records


def group_keys(given: Sequence[str] | None) -> list[str]:
    """Return the keys in `--group-by a,b --group-by c`."""
    return [key for text in given or [] for key in text.split(",") if key.strip()]


def one_of(option: str, value: str, known: Sequence[str]) -> str:
    """Return `value`. Raises `UserError` where it is none of `known`."""
    if value not in known:
        near = did_you_mean(value, known)
        near = near if near.startswith(" Did") else ""
        raise UserError(f"{option} {value}: expected {', '.join(known[:-1])} or {known[-1]}.{near}")
    return value
