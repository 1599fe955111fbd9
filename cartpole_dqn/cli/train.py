"""`run` and `resume`: train, in order even when a signal ends it."""

from __future__ import annotations

import contextlib
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cartpole_dqn.cli.run_argument import RunArgument, complete
from cartpole_dqn.errors import RunError, UserError
from cartpole_dqn.system import stopping_on_signals

if TYPE_CHECKING:
    from cartpole_dqn.cli.session import Session
    from cartpole_dqn.config.schema import RunConfig
    from cartpole_dqn.contracts.events import RunEnded
    from cartpole_dqn.runs.folder import RunFolder

RUN_EXAMPLES = (
    "Examples: cartpole-dqn run --obs pixels   |   cartpole-dqn run --preset tutorial-state --seed 1   |   "
    "cartpole-dqn run --env Acrobot-v1 --obs state --set agent.optimiser.lr=1e-3   |   "
    "cartpole-dqn run --config runs/NAME/config.toml --init-from runs/NAME"
)
RESUME_EXAMPLES = "Examples: cartpole-dqn resume latest   |   cartpole-dqn resume runs/NAME --steps 100000"

_PARTS = "Parts of the agent (see cartpole-dqn plugins list --all)"


def run(
    ctx: typer.Context,
    obs: Annotated[str | None, typer.Option(help="pixels, or state: as the environment gives it.")] = None,
    env: Annotated[str | None, typer.Option(help="A Gymnasium id, or module:Id.")] = None,
    preset: Annotated[str | None, typer.Option(help="A preset's name; by default env and obs choose one.")] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE.toml", help="Settings to lay over the preset.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting, such as agent.batch_size=64.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Environment steps of the whole run.")] = None,
    episodes: Annotated[int | None, typer.Option(help="Episodes of the whole run.")] = None,
    seed: Annotated[int | None, typer.Option(help="Where every random choice comes from.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="The run's folder; new, or empty.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.")] = None,
    threads: Annotated[int | None, typer.Option(help="torch's threads.")] = None,
    num_envs: Annotated[int | None, typer.Option(help="Environments side by side.")] = None,
    vector: Annotated[str | None, typer.Option(help="sync, or async: a process for each environment.")] = None,
    step_timeout: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Bound of a step with --vector async; 0 for none."),
    ] = None,
    save_replay: Annotated[
        bool | None, typer.Option("--save-replay/--no-save-replay", help="Keep the replay in checkpoints.")
    ] = None,
    until_solved: Annotated[
        bool | None, typer.Option("--until-solved", help="Stop once solved: selected, then confirmed on 100 episodes.")
    ] = None,
    init_from: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Start from the best weights of another run.", autocompletion=complete),
    ] = None,
    init_last: Annotated[bool, typer.Option("--init-last", help="From its last weights instead.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of the live display.")] = False,
    observer: Annotated[list[str] | None, typer.Option(metavar="NAME", help="An observer to add.")] = None,
    agent: Annotated[str | None, typer.Option(metavar="NAME", rich_help_panel=_PARTS)] = None,
    replay: Annotated[str | None, typer.Option(metavar="NAME", rich_help_panel=_PARTS)] = None,
    network: Annotated[str | None, typer.Option(metavar="NAME", rich_help_panel=_PARTS)] = None,
    target_update: Annotated[str | None, typer.Option(metavar="NAME", rich_help_panel=_PARTS)] = None,
    exploration: Annotated[str | None, typer.Option(metavar="NAME", rich_help_panel=_PARTS)] = None,
    optimiser: Annotated[str | None, typer.Option(metavar="NAME", rich_help_panel=_PARTS)] = None,
    collector: Annotated[
        str | None,
        typer.Option(metavar="NAME", rich_help_panel=_PARTS, help="What steps the environments; not the agent's."),
    ] = None,
) -> None:
    """Train an agent, watch it live, keep a run folder."""
    if steps is not None and episodes is not None:
        raise UserError("--steps and --episodes: give one of them.")
    if init_last and init_from is None:
        raise UserError("--init-last: say of which run with --init-from RUN.")
    parts = {
        "replay": replay,
        "network": network,
        "target_update": target_update,
        "exploration": exploration,
        "optimiser": optimiser,
    }
    agent_table: dict[str, Any] = {key: {"name": name} for key, name in parts.items() if name is not None}
    flags = {
        "obs": obs,
        "steps": steps,
        "episodes": episodes,
        "seed": seed,
        "device": device,
        "threads": threads,
        "env": _given(id=env, num_envs=num_envs, vector=vector, step_timeout=step_timeout),
        "checkpoint": _given(save_replay=save_replay),
        "evaluation": _given(until_solved=until_solved),
        "agent": {**_given(name=agent), **agent_table},
        "collector": _given(name=collector),
        "init": _init(init_from, init_last),
    }
    flags = {key: value for key, value in flags.items() if value not in (None, {})}

    from cartpole_dqn.runs.folder import RunFolder
    from cartpole_dqn.training.initial_weights import find_initial_weights
    from cartpole_dqn.training.resolve import resolve_config
    from cartpole_dqn.training.session import say_notes

    session: Session = ctx.obj
    host = session.host()
    resolved, notes = resolve_config(
        host, preset=preset, config_file=config, flags=flags, sets=set_ or [], observers=observer or []
    )
    resolved, initial = find_initial_weights(resolved, host, beside=None if config is None else config.parent)
    if initial is not None:
        notes = [*notes, f"starting from {initial.label}."]
    if not resolved.checkpoint.save_replay:
        notes = [*notes, "the replay is not saved: a resumed run fills it anew, and its course will differ."]
    say_notes(session.err, host, notes)
    folder = RunFolder.create(out, env_id=resolved.env.id, obs=resolved.obs)
    _execute(session, folder, resolved, plain=plain, initial=initial)


def resume(
    ctx: typer.Context,
    run: RunArgument,
    steps: Annotated[int | None, typer.Option(help="Environment steps of the whole run, to make it longer.")] = None,
    step_timeout: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Another bound of a step, where the run has --vector async; 0 for none."),
    ] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of the live display.")] = False,
) -> None:
    """Go on with a run from its last checkpoint."""
    if steps is not None and steps < 1:
        raise UserError(f"--steps: expected a number from 1, got {steps}.")
    from cartpole_dqn.config.schema import with_step_timeout
    from cartpole_dqn.runs.catalogue import find_run
    from cartpole_dqn.training.resolve import read_config
    from cartpole_dqn.training.session import extended, say_notes

    session: Session = ctx.obj
    host = session.host()
    folder = find_run(run)
    config = extended(read_config(folder, host), steps)
    if step_timeout is not None:
        config = with_step_timeout(config, step_timeout)
    say_notes(session.err, host, [])
    _execute(session, folder, config, plain=plain, resuming=True)


def _execute(session: Session, folder: RunFolder, config: RunConfig, **how: Any) -> None:
    from cartpole_dqn.training.session import execute
    from cartpole_dqn.views.curves import draw_run

    with _saying_how_to_go_on(folder):
        ended = execute(
            folder, config, session.host(), console=session.err, handle=stopping_on_signals, draw=draw_run, **how
        )
    _say_goodbye(session, folder, ended)


@contextlib.contextmanager
def _saying_how_to_go_on(folder: RunFolder) -> Iterator[None]:
    """Add the command that goes on with it to the message of a run that failed."""
    try:
        yield
    except RunError as error:
        if not folder.config.exists():
            raise
        path = shlex.quote(str(folder.path))
        raise RunError(f"{error}\nresume with: cartpole-dqn resume {path}") from error.__cause__


def _say_goodbye(session: Session, folder: RunFolder, ended: RunEnded) -> None:
    path = shlex.quote(str(folder.path))
    interrupted = ended.reason.startswith("SIG")
    if interrupted:
        session.err.print(f"resume with:   cartpole-dqn resume {path}", markup=False, highlight=False)
    session.err.print(f"evaluate with: cartpole-dqn evaluate {path}", markup=False, highlight=False)
    print(folder.path)
    if interrupted:
        raise typer.Exit(128 + signal.Signals[ended.reason].value)


def _init(run: str | None, last: bool) -> dict[str, Any]:
    """Return the section of `--init-from`: all of it, or what a file says of other weights would stay."""
    return {} if run is None else {"run": run, "which": "last" if last else "best", "step": 0, "weights": ""}


def _given(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
