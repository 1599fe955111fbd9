"""`share` makes a folder and a zip of a run for others; `export` writes its model as one file for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cartpole_dqn.cli import options
from cartpole_dqn.cli.session import Session
from cartpole_dqn.system import unwinding_on_signals


def share(
    ctx: typer.Context,
    run: options.Run,
    out: Annotated[
        Path,
        options.new_folder(help="Output folder, new or empty. DIR.zip has the same content."),
    ],
    episodes: Annotated[
        int, typer.Option(metavar="N", min=10, help="Play N greedy episodes on held-out seeds for the score.")
    ] = 100,
    seed: options.Seed = 0,
    last: options.Last = False,
    record_steps: Annotated[int, typer.Option(metavar="N", min=0, help="Record N steps. 0 makes no recording.")] = 250,
) -> None:
    """Make a folder and a zip of a run's best model, to give to others.

    They contain weights, configuration, score, model card and recording, and are safe to open.

    Examples:
        cartpole-dqn share latest --out my-agent
        cartpole-dqn share runs/NAME --out my-agent --record-steps 0
    """
    from cartpole_dqn.config.schema import which_model
    from cartpole_dqn.text.figures import size
    from cartpole_dqn.views.share import score_text, share_run

    session: Session = ctx.obj
    opened = session.open_run(run)
    if not session.err.is_terminal:
        session.say(f"playing {episodes} episodes{f' and recording {record_steps} steps' if record_steps else ''}")
    with unwinding_on_signals(), session.spinner("loading") as on_status:
        shared = share_run(
            opened,
            out,
            episodes=episodes,
            seed=seed,
            which=which_model(last),
            recorded_steps=record_steps,
            on_status=on_status,
        )
    for sentence in shared.missing:
        session.warn(f"left out: {sentence}")
    session.say(f"{score_text(shared.score)}; {size(shared.archive.stat().st_size)} as {shared.archive}")
    session.say(f"others open it with: cartpole-dqn evaluate {shared.archive.name}")
    print(shared.folder.path)


def export(
    ctx: typer.Context,
    run: options.Run,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Output file.", show_default="policy.onnx or policy.pt2 in the run's folder"),
    ] = None,
    format_: Annotated[
        str | None,
        options.format_choice("onnx", "torch"),
    ] = None,
    episodes: Annotated[
        int, typer.Option(metavar="N", min=1, help="Compare the file with the agent over N episodes.")
    ] = 100,
    seed: options.Seed = 0,
    last: options.Last = False,
) -> None:
    """Export a run's model for other programs.

    The file is an ONNX model or a torch.export program. It includes the observation wrappers.

    Examples:
        cartpole-dqn export latest
        cartpole-dqn export runs/NAME --out policy.pt2
    """
    from cartpole_dqn.config.schema import which_model
    from cartpole_dqn.studies.export import export_run
    from cartpole_dqn.text.figures import number

    session: Session = ctx.obj
    opened = session.open_run(run)
    with session.showing_evaluation() as on_progress:
        result = export_run(
            opened,
            out,
            form=format_,
            episodes=episodes,
            seed=seed,
            which=which_model(last),
            on_progress=on_progress,
        )
    for wrapper, reason in result.stops.items():
        session.warn(f"{wrapper} is not in the file, which begins with its observations: {reason}.")
    for name, ago in result.inputs.items():
        earlier = [f"{steps} step{'s' * (steps > 1)} ago" for steps in ago if steps]
        session.say(f"input {name}: {', '.join(['now'] * (0 in ago) + earlier)}")
    parity = result.parity
    session.say(
        f"the file takes the agent's action in {parity.equal_actions:,} of {parity.steps:,} steps; "
        f"mean return of {parity.episodes} episodes: agent {number(parity.score)}, file {number(parity.exported_score)}"
    )
    print(result.path)
