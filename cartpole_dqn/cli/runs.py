"""`runs` lists runs."""

from __future__ import annotations

import dataclasses
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cartpole_dqn.cli import options
from cartpole_dqn.cli.session import Session
from cartpole_dqn.errors import UserError
from cartpole_dqn.files import reason
from cartpole_dqn.text.tables import WARNING

if TYPE_CHECKING:
    from cartpole_dqn.runs.catalogue import RunSummary


_COLUMNS = ("run", "env", "obs", "preset", "state", "seed", "steps", "best", "solved at", "solved in", "age")
_WORDS = 5
_DROPPABLE = ("solved in", "solved at", "preset", "obs", "env", "age", "seed", "steps")
"""Columns that a narrow terminal drops, in this order. The names that `run` chooses repeat two of them."""
_STYLES = {
    "SOLVED": "bold green",
    "running": "green",
    "failed": "red",
    "killed": "red",
    "broken": "red",
    "interrupted": WARNING,
}
_AGES = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def runs(
    ctx: typer.Context,
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="A folder of runs.", show_default="runs/")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """List runs, most recent first, with progress and best score.

    Examples:
        cartpole-dqn runs
        cartpole-dqn runs lr/trials
        cartpole-dqn runs --json
    """
    from cartpole_dqn.runs.catalogue import ROOT, list_runs
    from cartpole_dqn.text.tables import TextTable, fitted, print_table, to_json

    session: Session = ctx.obj
    place = folder or ROOT
    summaries = [] if folder is None and not place.exists() else list_runs(place)
    now = time.time()
    if as_json:
        print(to_json([_as_table(run, now) for run in summaries]), end="")
        return
    if not summaries:
        session.say(_nothing(place))
        return
    table = TextTable("", _COLUMNS, tuple(_row(run, now) for run in summaries), _WORDS)
    if session.out.is_terminal:
        table = fitted(table, session.out.width, _DROPPABLE)
    print_table(table, session.out, [_STYLES.get(_state(run), "") for run in summaries])
    for run in summaries:
        if run.problem:
            session.warn(run.problem)


def _row(run: RunSummary, now: float) -> tuple[str, ...]:
    from cartpole_dqn.text.figures import NOTHING, duration, number, one_line, score

    words = (run.name, run.env, run.obs, run.preset, _state(run))
    short = run.steps is not None and run.step < run.steps
    return (
        *(one_line(word) if word else NOTHING for word in words),
        number(run.seed),
        f"{run.step:,} of {run.steps:,}" if short else number(None if run.state == "broken" else run.step),
        score(run.best),
        number(run.solved_step),
        NOTHING if run.solved_seconds is None else duration(run.solved_seconds),
        NOTHING if run.started is None else _age(now - run.started),
    )


def _state(run: RunSummary) -> str:
    """Return the state of a run; a run that ended with a solved model is "SOLVED"."""
    return "SOLVED" if run.state == "done" and run.solved_step is not None else run.state


def _as_table(run: RunSummary, now: float) -> dict[str, Any]:
    table = dataclasses.asdict(run)
    if run.started is not None:
        table["started"] = datetime.fromtimestamp(run.started, UTC).isoformat(timespec="seconds")
        table["age_seconds"] = round(now - run.started)
    return table


def _age(seconds: float) -> str:
    """Return an age as "45 s", "3 h" or "12 d". It is "0 s" if the clock was set back."""
    return next((f"{int(seconds // unit)} {name}" for unit, name in _AGES if seconds >= unit), "0 s")


def _nothing(place: Path) -> str:
    """Return the message for a folder without runs. It names subfolders that hold some."""
    from cartpole_dqn.runs.catalogue import runs_in

    try:
        below = sorted(path for path in place.iterdir() if path.is_dir() and runs_in(path)) if place.exists() else []
    except OSError as error:
        raise UserError(f"{place} cannot be read: {reason(error)}.") from None
    if below:
        return f"There is no run in {place}/, but in {', '.join(str(path) for path in below[:8])}."
    return f"There is no run in {place}/. `cartpole-dqn run` makes one in runs/."
