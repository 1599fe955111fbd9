"""`watch` shows a run's model playing in a window; `record` writes it, or how the run learned, to a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cartpole_dqn.cli import options
from cartpole_dqn.cli.session import Session
from cartpole_dqn.errors import UserError
from cartpole_dqn.system import unwinding_on_signals

BesideOption = Annotated[
    bool,
    typer.Option(
        "--side-by-side/--no-side-by-side",
        help="Show the agent's observation, Q-values and action beside the picture.",
    ),
]
MaxStepsOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Stop each episode after N steps.",
        show_default="the environment's limit; for `record`, 1,000 if it has none",
    ),
]
AttributionOption = Annotated[
    bool,
    typer.Option(
        "--attribution", help="Colour what raises and lowers the value of the chosen action. For pictures only."
    ),
]


def watch(
    ctx: typer.Context,
    run: options.Run,
    episodes: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Play N episodes.", show_default="until you quit")
    ] = None,
    seed: options.Seed = 0,
    last: options.Last = False,
    side_by_side: BesideOption = True,
    speed: Annotated[
        float, typer.Option(metavar="X", min=0.0625, max=64, help="Play X times as fast as real time.")
    ] = 1.0,
    max_steps: MaxStepsOption = None,
    terminal: Annotated[bool, typer.Option("--terminal", help="Draw in this terminal, also over ssh.")] = False,
    theme: options.Theme = "light",
    attribution: AttributionOption = False,
) -> None:
    """Watch a run's model play in a window, or in the terminal.

    Keys in the window: space pauses, n takes one step, arrows change the speed, q and escape quit.

    Examples:
        cartpole-dqn watch latest
        cartpole-dqn watch latest --terminal
        cartpole-dqn watch runs/NAME --episodes 3 --speed 2
    """
    from cartpole_dqn.config.schema import which_model
    from cartpole_dqn.runs.catalogue import find_run

    folder = find_run(run)  # An unknown run is reported first, also without a display.
    from cartpole_dqn.views.watch import KEYS, require_display, watch_run

    if not terminal:
        require_display(run)
    session: Session = ctx.obj
    opened = session.open_run(folder)
    with unwinding_on_signals():
        if not terminal:
            session.say(KEYS)
        returns = watch_run(
            opened,
            console=session.err if terminal else None,
            episodes=episodes,
            seed=seed,
            which=which_model(last),
            side_by_side=side_by_side,
            speed=speed,
            max_steps=max_steps,
            theme=theme,
            attribution=attribution,
        )
    for number, value in enumerate(returns, start=1):
        session.out.print(f"episode {number}: return {value:.6g}", markup=False)


def record(
    ctx: typer.Context,
    run: options.Run,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Output file, .gif or .mp4.", show_default="record.gif in the run's folder"),
    ] = None,
    episodes: Annotated[int, typer.Option(metavar="N", min=1, help="Record N greedy episodes.")] = 1,
    seed: options.Seed = 0,
    last: options.Last = False,
    side_by_side: BesideOption = True,
    fps: Annotated[
        float | None,
        typer.Option(metavar="X", help="Steps per second.", show_default="real time; at most 50 in a GIF"),
    ] = None,
    max_steps: MaxStepsOption = None,
    theme: options.Theme = "light",
    attribution: AttributionOption = False,
    progress: Annotated[
        bool,
        typer.Option(
            "--progress",
            help="Record how the run learned: an episode before training, at some evaluations and of the best model.",
        ),
    ] = False,
) -> None:
    """Record a run's model at play, or how the run learned, as a GIF or an MP4.

    Examples:
        cartpole-dqn record latest
        cartpole-dqn record runs/NAME --out play.mp4 --episodes 3
        cartpole-dqn record runs/NAME --out plain.gif --no-side-by-side --max-steps 200
        cartpole-dqn record latest --progress --theme dark
    """
    from cartpole_dqn.config.schema import which_model
    from cartpole_dqn.runs.catalogue import find_run

    folder = find_run(run)
    target = out or folder.product("progress.gif" if progress else "record.gif")
    if progress and (episodes > 1 or last or attribution or not side_by_side):
        raise UserError(
            "--progress plays one episode with models of several stages: leave out --episodes, --last, --attribution "
            "and --no-side-by-side."
        )
    from cartpole_dqn.text.figures import size
    from cartpole_dqn.views.progress import record_progress
    from cartpole_dqn.views.record import record_run

    session: Session = ctx.obj
    opened = session.open_run(folder)
    settings: dict[str, Any] = {"seed": seed, "fps": fps, "max_steps": max_steps, "theme": theme}
    with unwinding_on_signals(), session.spinner("recording") as set_status:
        if progress:
            recording = record_progress(
                opened, target, on_progress=lambda at: set_status(f"recording step {at}"), **settings
            )
        else:
            recording = record_run(
                opened,
                target,
                episodes=episodes,
                which=which_model(last),
                side_by_side=side_by_side,
                attribution=attribution,
                on_progress=lambda episode, at: set_status(f"recording episode {episode}, step {at}"),
                **settings,
            )
    unit = "model" if progress else "episode"
    for number, (value, length) in enumerate(zip(recording.returns, recording.lengths, strict=True), start=1):
        session.say(f"{unit} {number}: return {value:.6g}, {length} steps")
    if recording.bound is not None:
        session.say(f"no time limit: episodes were cut after {recording.bound:,} steps; --max-steps sets another limit")
    session.say(f"{recording.frames} pictures at {recording.fps:g} a second, {size(recording.nbytes)}")
    print(recording.path)
