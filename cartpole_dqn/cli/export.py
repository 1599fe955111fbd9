"""`export` writes a run's model as one file for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cartpole_dqn.cli import options
from cartpole_dqn.cli.session import Session

EXPORT_EXAMPLES = "cartpole-dqn export latest\ncartpole-dqn export runs/NAME --out policy.pt2"


def export(
    ctx: typer.Context,
    run: options.Run,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Output file.", show_default="policy.onnx or policy.pt2 in the run's folder"),
    ] = None,
    format_: Annotated[
        str | None,
        options.choice(
            ("onnx", "torch"),
            "--format",
            help="Output format.",
            show_default="by the suffix of --out, or onnx",
        ),
    ] = None,
    episodes: Annotated[
        int, typer.Option(metavar="N", min=1, help="Compare the file with the agent over N episodes.")
    ] = 100,
    seed: options.Seed = 0,
    last: options.Last = False,
) -> None:
    """Export a run's model for other programs.

    The file is an ONNX model or a torch.export program. It includes the observation wrappers.
    """
    from cartpole_dqn.studies.export import export_run
    from cartpole_dqn.text.figures import number

    session: Session = ctx.obj
    form = format_ or ("torch" if out is not None and out.suffix.lower() == ".pt2" else "onnx")
    folder, config = session.open_run(run)
    which = options.best_or_last(folder, last)
    with session.showing_evaluation() as told:
        made = export_run(
            folder, config, session.host, out, form=form, episodes=episodes, seed=seed, which=which, told=told
        )
    for wrapper, reason in made.stops.items():
        session.say(f"{wrapper} is not in the file, which begins with its observations: {reason}.", "yellow")
    for name, ago in made.inputs.items():
        earlier = [f"{steps} step{'s' * (steps > 1)} ago" for steps in ago if steps]
        session.say(f"input {name}: {', '.join(['now'] * (0 in ago) + earlier)}")
    parity = made.parity
    session.say(
        f"the file takes the agent's action in {parity.equal_actions:,} of {parity.steps:,} steps; "
        f"mean return of {parity.episodes} episodes: agent {number(parity.score)}, file {number(parity.exported_score)}"
    )
    print(made.path)
