"""`report`: a run on one page."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cartpole_dqn.cli.play import LastOption, SeedOption
from cartpole_dqn.cli.run_argument import RunArgument
from cartpole_dqn.errors import UserError
from cartpole_dqn.system import unwinding_on_signals

if TYPE_CHECKING:
    from cartpole_dqn.cli.session import Session

REPORT_EXAMPLES = (
    "Examples: cartpole-dqn report latest   |   cartpole-dqn report runs/NAME --out report.html   |   "
    "cartpole-dqn report latest --episodes 0 --no-animation"
)


def report(
    ctx: typer.Context,
    run: RunArgument,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A name ending in .html; by default the run's own report.html."),
    ] = None,
    episodes: Annotated[
        int, typer.Option(min=0, help="Greedy episodes to play on report seeds, as evaluate does; 0 for none.")
    ] = 100,
    seed: SeedOption = 0,
    last: LastOption = False,
    animation: Annotated[
        bool, typer.Option("--animation/--no-animation", help="The model at play, in the page.")
    ] = True,
) -> None:
    """Write a run's report: one page with everything in it, for a browser without a network.

    What the run lacks, or what cannot be played here, is said on the page.
    """
    from cartpole_dqn.runs.catalogue import find_run

    folder = find_run(run)
    target = out or folder.path / "report.html"
    from cartpole_dqn.training.resolve import read_config
    from cartpole_dqn.views.report.gather import check_report, write_report

    check_report(target)
    session: Session = ctx.obj
    host = session.host()
    config, problem = None, ""
    try:
        config = read_config(folder, host)
    except UserError as error:
        problem = str(error)  # A plugin that is missing here, say: there is still much to tell.
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
        session.err.print(f"missing: {sentence}", style="yellow", markup=False, highlight=False)
    print(target)
