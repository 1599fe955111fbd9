"""`report` writes a run's report page."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from cartpole_dqn.cli import options
from cartpole_dqn.cli.session import Session
from cartpole_dqn.errors import UserError
from cartpole_dqn.system import unwinding_on_signals

REPORT_EXAMPLES = (
    "cartpole-dqn report latest\n"
    "cartpole-dqn report runs/NAME --out report.html\n"
    "cartpole-dqn report latest --episodes 0 --no-animation"
)


def report(
    ctx: typer.Context,
    run: options.Run,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Output file, .html.", show_default="report.html in the run's folder"),
    ] = None,
    episodes: Annotated[
        int, typer.Option(metavar="N", min=0, help="Play N greedy episodes on report seeds, as `evaluate` does.")
    ] = 100,
    seed: options.Seed = 0,
    last: options.Last = False,
    animation: Annotated[bool, typer.Option(help="Include an animation of the model at play.")] = True,
) -> None:
    """Write a run's report as one self-contained HTML page.

    The page lists what is missing from the run and what cannot be played here.
    """
    from cartpole_dqn.runs.catalogue import find_run

    folder = find_run(run)
    target = out or folder.product("report.html")
    from cartpole_dqn.training.resolve import read_config
    from cartpole_dqn.views.report.gather import check_report, write_report

    check_report(target)
    session: Session = ctx.obj
    host = session.host
    config, problem = None, ""
    try:
        config = read_config(folder, host)
    except UserError as error:
        problem = str(error)  # For example a missing plugin. The rest of the page does not need it.
    with unwinding_on_signals(), session.err.status("reading") as status:
        made = write_report(
            folder,
            config,
            host,
            target,
            now=time.time(),
            episodes=episodes,
            seed=seed,
            last=last,
            animation=animation,
            problem=problem,
            told=lambda doing: status.update(doing),
        )
    for sentence in made.missing:
        session.say(f"missing: {sentence}", "yellow")
    print(target)
