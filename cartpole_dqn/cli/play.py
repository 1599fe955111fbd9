"""`watch` and `record`: a run's model at play, in a window or as a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cartpole_dqn.cli.run_argument import RunArgument
from cartpole_dqn.system import unwinding_on_signals

if TYPE_CHECKING:
    from cartpole_dqn.cli.session import Session
    from cartpole_dqn.runs.folder import RunFolder
    from cartpole_dqn.training.models import Which

WATCH_EXAMPLES = "Examples: cartpole-dqn watch latest   |   cartpole-dqn watch runs/NAME --episodes 3 --speed 2"
RECORD_EXAMPLES = (
    "Examples: cartpole-dqn record latest   |   cartpole-dqn record runs/NAME --out play.mp4 --episodes 3   |   "
    "cartpole-dqn record runs/NAME --out plain.gif --no-side-by-side --max-steps 200"
)

SeedOption = Annotated[int, typer.Option(min=0, help="Which report seeds; the same as for evaluate.")]
LastOption = Annotated[bool, typer.Option("--last", help="The last model instead of the best.")]
BesideOption = Annotated[
    bool,
    typer.Option(
        "--side-by-side/--no-side-by-side", help="What the agent sees, its values and its action beside the picture."
    ),
]
MaxStepsOption = Annotated[
    int | None, typer.Option(min=1, help="Cut each episode off there; by default the environment's own limit holds.")
]


def watch(
    ctx: typer.Context,
    run: RunArgument,
    episodes: Annotated[int | None, typer.Option(min=1, help="How many; by default until the window closes.")] = None,
    seed: SeedOption = 0,
    last: LastOption = False,
    side_by_side: BesideOption = True,
    speed: Annotated[float, typer.Option(min=0.0625, max=64, help="Times as fast as in reality.")] = 1.0,
    max_steps: MaxStepsOption = None,
) -> None:
    """Watch a run's model play, live in a window.

    Keys: space pauses, n takes the next step, arrows change the speed, q and escape quit.
    """
    from cartpole_dqn.runs.catalogue import find_run

    folder = find_run(run)
    from cartpole_dqn.training.resolve import read_config
    from cartpole_dqn.views.watch import KEYS, require_display, watch_run

    require_display(run)

    session: Session = ctx.obj
    host = session.host()
    config = read_config(folder, host)
    session.err.print(KEYS, markup=False, highlight=False)
    with unwinding_on_signals():
        returns = watch_run(
            folder,
            config,
            host,
            episodes=episodes,
            seed=seed,
            which=_which(folder, last),
            side_by_side=side_by_side,
            speed=speed,
            max_steps=max_steps,
        )
    for number, value in enumerate(returns, start=1):
        session.out.print(f"episode {number}: return {value:.6g}", markup=False, highlight=False)


def record(
    ctx: typer.Context,
    run: RunArgument,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A name ending in .gif or .mp4; by default the run's own record.gif."),
    ] = None,
    episodes: Annotated[int, typer.Option(min=1, help="Greedy episodes to play, one after the other.")] = 1,
    seed: SeedOption = 0,
    last: LastOption = False,
    side_by_side: BesideOption = True,
    fps: Annotated[
        float | None, typer.Option(help="Steps shown in a second; by default real time, in a GIF at most 50.")
    ] = None,
    max_steps: MaxStepsOption = None,
) -> None:
    """Record a run's model at play, as a GIF or an MP4."""
    from cartpole_dqn.runs.catalogue import find_run
    from cartpole_dqn.views.animation import check_animation

    folder = find_run(run)
    target = out or folder.path / "record.gif"
    check_animation(target)
    from cartpole_dqn.text.figures import size
    from cartpole_dqn.training.resolve import read_config
    from cartpole_dqn.views.record import record_run

    session: Session = ctx.obj
    host = session.host()
    config = read_config(folder, host)
    with unwinding_on_signals(), session.err.status("recording") as status:
        made = record_run(
            folder,
            config,
            host,
            target,
            episodes=episodes,
            seed=seed,
            which=_which(folder, last),
            side_by_side=side_by_side,
            fps=fps,
            max_steps=max_steps,
            told=lambda episode, step: status.update(f"recording episode {episode}, step {step}"),
        )
    for number, (value, length) in enumerate(zip(made.returns, made.lengths, strict=True), start=1):
        session.err.print(f"episode {number}: return {value:.6g}, {length} steps", markup=False, highlight=False)
    session.err.print(
        f"{made.frames} pictures at {made.fps:g} a second, {size(made.nbytes)}", markup=False, highlight=False
    )
    print(made.path)


def _which(folder: RunFolder, last: bool) -> Which:
    from cartpole_dqn.runs.checkpoint import has_state

    return "last" if last or not has_state(folder.best) else "best"
