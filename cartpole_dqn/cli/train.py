"""`run` and `resume` train. A signal saves and stops cleanly."""

from __future__ import annotations

import shlex
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cartpole_dqn.cli import options
from cartpole_dqn.errors import RunError, UserError, is_diverged
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
_NAME = "NAME|MODULE:CLASS"
_SETTINGS = (
    *("obs", "env", "steps", "episodes", "seed", "device", "threads", "num_envs", "vector", "step_timeout"),
    *("save_replay", "until_solved", "agent", "replay", "network", "target_update", "exploration", "optimiser"),
    "collector",
)
"""The options of `run` that are settings by themselves."""
PartOption = Annotated[str | None, typer.Option(metavar=_NAME, rich_help_panel=_PARTS)]


def run(
    ctx: typer.Context,
    obs: options.Obs = None,
    env: options.Env = None,
    preset: options.Preset = None,
    config: options.Config = None,
    set_: options.Set = None,
    steps: Annotated[int | None, options.count(help="Environment steps of the whole run.")] = None,
    episodes: Annotated[int | None, options.count(help="Episodes of the whole run.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of all random choices.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", parser=options.new_folder, help="The run's folder, new or empty.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.")] = None,
    threads: Annotated[int | None, typer.Option(help="Number of torch threads.")] = None,
    num_envs: Annotated[int | None, typer.Option(help="Number of environments to step together.")] = None,
    vector: Annotated[str | None, typer.Option(help="sync, or async: one process for each environment.")] = None,
    step_timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Time limit of a step with --vector async. 0: none.")
    ] = None,
    save_replay: Annotated[
        bool | None, typer.Option("--save-replay/--no-save-replay", help="Save the replay buffer in checkpoints.")
    ] = None,
    until_solved: Annotated[
        bool | None, typer.Option("--until-solved", help="Stop when solved: selected, then confirmed on 100 episodes.")
    ] = None,
    init_from: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Start from a run's best weights.", autocompletion=options.complete),
    ] = None,
    init_last: Annotated[bool, typer.Option("--init-last", help="Start from its last weights instead.")] = False,
    plain: options.Plain = False,
    observer: Annotated[
        list[str] | None, typer.Option(metavar=_NAME, help="An observer to add. May be repeated.")
    ] = None,
    agent: PartOption = None,
    replay: PartOption = None,
    network: PartOption = None,
    target_update: PartOption = None,
    exploration: PartOption = None,
    optimiser: PartOption = None,
    collector: Annotated[
        str | None,
        typer.Option(metavar=_NAME, rich_help_panel=_PARTS, help="Steps the environments. Not a part of the agent."),
    ] = None,
) -> None:
    """Train an agent, show it live and write a run folder."""
    if steps is not None and episodes is not None:
        raise UserError("--steps and --episodes: give one of them.")
    if init_last and init_from is None:
        raise UserError("--init-last needs --init-from RUN.")
    session: Session = ctx.obj
    title = preset or (config.parent.name if config is not None else "")
    title = title or ", ".join(filter(None, [env or "CartPole-v1", obs]))
    with session.first_screen(title, steps=steps, plain=plain) as begin:
        from cartpole_dqn.runs.folder import RunFolder
        from cartpole_dqn.training.initial_weights import find_initial_weights, initial_settings
        from cartpole_dqn.training.resolve import named_settings, resolve_config
        from cartpole_dqn.training.session import say_notes

        host = session.host()
        flags = named_settings(host.registry, {name: ctx.params[name] for name in _SETTINGS})
        flags |= initial_settings(init_from, last=init_last)
        resolved, notes = resolve_config(
            host, preset=preset, config_file=config, flags=flags, sets=set_ or [], observers=observer or []
        )
        resolved, initial = find_initial_weights(resolved, host, beside=None if config is None else config.parent)
        if initial is not None:
            notes = [*notes, f"starting from {initial.label}."]
        if not resolved.checkpoint.save_replay:
            notes = [*notes, "the replay is not saved: a resumed run fills it again, so its results will differ."]
        say_notes(session.err, host, notes)
        folder = RunFolder.create(out, env_id=resolved.env.id, obs=resolved.obs)
        ended = _execute(session, folder, resolved, plain=plain, initial=initial, begin=begin)
    _say_next(session, folder, ended)


def resume(
    ctx: typer.Context,
    run: options.Run,
    steps: Annotated[int | None, options.count(help="New total of environment steps, to extend the run.")] = None,
    step_timeout: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="New time limit of a step, for runs with --vector async. 0: none."),
    ] = None,
    device: options.Device = None,
    plain: options.Plain = False,
) -> None:
    """Resume a run from its last checkpoint."""
    if steps is not None and steps < 1:
        raise UserError(f"--steps: expected a number from 1, got {steps}.")
    from cartpole_dqn.runs.catalogue import find_run

    session: Session = ctx.obj
    with session.first_screen(find_run(run).path.name, steps=steps, plain=plain) as begin:
        from cartpole_dqn.config.schema import with_step_timeout
        from cartpole_dqn.training.session import extended, on_device, say_notes

        folder, config = session.open_run(run)
        config = on_device(extended(config, steps), device)
        if step_timeout is not None:
            config = with_step_timeout(config, step_timeout)
        say_notes(session.err, session.host(), [])
        ended = _execute(session, folder, config, plain=plain, resuming=True, begin=begin)
    _say_next(session, folder, ended)


def _execute(session: Session, folder: RunFolder, config: RunConfig, **how: Any) -> RunEnded | None:
    from cartpole_dqn.training.session import execute
    from cartpole_dqn.views.curves import draw_run

    try:
        return execute(
            folder, config, session.host(), console=session.err, handle=stopping_on_signals, draw=draw_run, **how
        )
    except RunError as error:
        if not folder.config.exists():
            raise
        path = shlex.quote(str(folder.path))
        hint = f"resume with: cartpole-dqn resume {path}"
        if is_diverged(error):
            again = f"cartpole-dqn run --config {shlex.quote(str(folder.config))} --set KEY=VALUE"
            hint = f"resuming it would come to the same. Start again with other settings: {again}"
        raise RunError(f"{error}\n{hint}") from error.__cause__


def _say_next(session: Session, folder: RunFolder, ended: RunEnded | None) -> None:
    """Print the next two commands, then the folder, and exit if a signal stopped the run."""
    from cartpole_dqn.runs.catalogue import LATEST, ROOT, runs_in

    newest = runs_in(ROOT)
    run = LATEST if newest and newest[0] == folder.path else shlex.quote(str(folder.path))
    interrupted = ended is not None and ended.reason.startswith("SIG")
    if interrupted:
        session.say(f"resume with: cartpole-dqn resume {run}")
    session.say(f"see it play: cartpole-dqn record {run}")
    if not interrupted:
        session.say(f"all of it:   cartpole-dqn report {run}")
    print(folder.path)
    if ended is not None and interrupted:
        raise typer.Exit(128 + signal.Signals[ended.reason].value)
