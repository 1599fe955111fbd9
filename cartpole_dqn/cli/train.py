"""`run` and `resume` train. A signal saves and stops cleanly."""

from __future__ import annotations

import contextlib
import functools
import shlex
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cartpole_dqn.cli import options
from cartpole_dqn.cli.options import HOW_LONG, WHERE, what, where
from cartpole_dqn.cli.session import Session
from cartpole_dqn.errors import RunError, UserError, is_diverged
from cartpole_dqn.system import stopping_on_signals

if TYPE_CHECKING:
    from cartpole_dqn.config.schema import RunConfig
    from cartpole_dqn.contracts.events import RunEnded
    from cartpole_dqn.runs.folder import RunFolder

_LONG = 3.0
"""Seconds of stopping after which a second Ctrl-C is offered."""


_NOT_SETTINGS = ("preset", "config", "wrapper", "set_", "out", "plain", "observer")
"""The options of `run` that are no settings by themselves."""
_PARTS = "Parts (default: those of the preset)"
_part = functools.partial(typer.Option, metavar="PART", rich_help_panel=_PARTS)


def run(
    ctx: typer.Context,
    obs: options.Obs = None,
    env: options.Env = None,
    preset: options.Preset = None,
    config: options.Config = None,
    wrapper: options.Wrapper = None,
    set_: options.Set = None,
    seed: Annotated[
        int | None, what(metavar="N", help="Seed of all random choices.", show_default="the preset's, or 0")
    ] = None,
    init_from: Annotated[
        str | None,
        what(
            metavar="RUN",
            help="Start from the best weights of a run.",
            show_default="random weights",
            autocompletion=options.complete,
        ),
    ] = None,
    init_last: Annotated[
        bool, what("--init-last", help="Start from the last weights of that run, not its best.")
    ] = False,
    steps: options.Steps = None,
    episodes: options.Episodes = None,
    until_solved: Annotated[
        bool | None,
        typer.Option(
            "--until-solved",
            help="Stop when the run is solved: when 100 more episodes confirm a good model.",
            rich_help_panel=HOW_LONG,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        options.new_folder(
            help="The run's folder, new or empty.",
            show_default="a new folder in runs/",
            rich_help_panel=WHERE,
        ),
    ] = None,
    device: options.NewDevice = None,
    threads: Annotated[int | None, where(metavar="N", help="Number of torch threads.", show_default="1")] = None,
    num_envs: Annotated[
        int | None, where(metavar="N", help="Number of environments to step together.", show_default="1")
    ] = None,
    vector: Annotated[
        str | None,
        where(
            metavar="sync|async",
            help="Step all of them in this process, or each in its own process.",
            show_default="sync",
        ),
    ] = None,
    step_timeout: Annotated[
        float | None,
        where(metavar="SECONDS", help="Time limit of a step with --vector async. 0 sets no limit.", show_default="0"),
    ] = None,
    save_replay: Annotated[
        bool | None,
        where(
            "--save-replay/--no-save-replay",
            help="Save the replay buffer in checkpoints.",
            show_default="--save-replay",
        ),
    ] = None,
    plain: options.Plain = False,
    agent: Annotated[str | None, _part(help="The learning algorithm.")] = None,
    replay: Annotated[str | None, _part(help="The replay buffer.")] = None,
    network: Annotated[str | None, _part(help="The network that computes action values.")] = None,
    target_update: Annotated[str | None, _part(help="How the target network follows the online network.")] = None,
    exploration: Annotated[str | None, _part(help="How the agent explores.")] = None,
    optimiser: Annotated[str | None, _part(help="The optimiser.")] = None,
    collector: Annotated[str | None, _part(help="How to step the environments.")] = None,
    observer: Annotated[list[str] | None, _part(help="An observer to add. May be repeated.")] = None,
) -> None:
    """Train an agent, show its progress, and save the run in a folder.

    A PART is a name from `cartpole-dqn plugins list --all`, or your own class as MODULE:CLASS.

    Examples:
        cartpole-dqn run --obs pixels
        cartpole-dqn run --preset tutorial-state --seed 1
        cartpole-dqn run --env Acrobot-v1 --obs state --set agent.optimiser.lr=1e-3
        cartpole-dqn run --config runs/NAME/config.toml --init-from runs/NAME
    """
    if steps is not None and episodes is not None:
        raise UserError("--steps and --episodes: give one of them.")
    if init_last and init_from is None:
        raise UserError("--init-last needs --init-from RUN.")
    session: Session = ctx.obj
    title = preset or (config.parent.name if config is not None else "")
    title = title or ", ".join(filter(None, [env or "CartPole-v1", obs]))
    with session.first_screen(title, steps=steps, plain=plain) as begin:
        from cartpole_dqn.training.resolve import named_settings
        from cartpole_dqn.training.session import prepare

        host = session.host
        values = {name: value for name, value in ctx.params.items() if name not in _NOT_SETTINGS}
        flags = named_settings(host.registry, {**values, "wrappers": options.wrapper_changes(wrapper)})
        settings: dict[str, Any] = {"flags": flags, "sets": set_ or [], "observers": observer or []}
        folder, resolved, initial = prepare(host, session.err, out, preset=preset, config_file=config, **settings)
        run_ended = _execute(session, folder, resolved, plain=plain, initial=initial, begin=begin)
    _say_next(session, folder, run_ended)


def resume(
    ctx: typer.Context,
    run: options.Run,
    steps: Annotated[int | None, options.count(help="Extend the run to N environment steps in total.")] = None,
    step_timeout: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="New time limit of a step with --vector async. 0 sets no limit."),
    ] = None,
    device: options.Device = None,
    plain: options.Plain = False,
) -> None:
    """Resume a run from its last checkpoint.

    Examples:
        cartpole-dqn resume latest
        cartpole-dqn resume runs/NAME --steps 100000
    """
    from cartpole_dqn.runs.catalogue import find_run

    session: Session = ctx.obj
    folder = find_run(run)
    with session.first_screen(folder.path.name, steps=steps, plain=plain) as begin:
        from cartpole_dqn.training.session import adjusted, say_notes

        saved = session.open_run(folder).config
        config = adjusted(saved, steps=steps, device=device, step_timeout=step_timeout)
        say_notes(session.err, session.host, [])
        run_ended = _execute(session, folder, config, plain=plain, resuming=True, begin=begin)
    _say_next(session, folder, run_ended)


def _execute(session: Session, folder: RunFolder, config: RunConfig, **settings: Any) -> RunEnded | None:
    from cartpole_dqn.training.session import execute
    from cartpole_dqn.views.curves import draw_run

    hint = f"resume with: cartpole-dqn resume {shlex.quote(str(folder.path))}"
    handle = functools.partial(_stopping_on_signals, session.say)
    try:
        return execute(folder, config, session.host, console=session.err, handle=handle, draw=draw_run, **settings)
    except KeyboardInterrupt:
        if folder.config.exists():
            session.say(f"stopped at once (Ctrl-C), without a last checkpoint\n{hint}")
        raise
    except RunError as error:
        if not folder.config.exists():
            raise
        if is_diverged(error):
            again = f"cartpole-dqn run --config {shlex.quote(str(folder.config))} --set KEY=VALUE"
            hint = f"resuming it would fail in the same way. Start again with other settings: {again}"
        raise RunError(f"{error}\n{hint}") from error.__cause__


@contextlib.contextmanager
def _stopping_on_signals(say: Callable[[str], None], ask: Callable[[str], None]) -> Iterator[None]:
    """As `stopping_on_signals`. If stopping takes long, say that a second Ctrl-C ends it."""
    stopping, over = threading.Event(), threading.Event()

    def note(name: str) -> None:
        ask(name)
        stopping.set()  # A handler must not print, nor start a thread.

    def remind() -> None:
        stopping.wait()
        if not over.wait(_LONG):
            say("stopping after this step or evaluation; Ctrl-C again stops at once, without a last checkpoint")

    threading.Thread(target=remind, name="reminder", daemon=True).start()
    with stopping_on_signals(note):
        try:
            yield
        finally:
            over.set()
            stopping.set()


def _say_next(session: Session, folder: RunFolder, run_ended: RunEnded | None) -> None:
    """Print the next two commands, then the folder, and exit if a signal stopped the run."""
    from cartpole_dqn.runs.catalogue import LATEST, ROOT, runs_in
    from cartpole_dqn.runs.checkpoint import has_state

    newest = runs_in(ROOT)
    run = LATEST if newest and newest[0] == folder.path else shlex.quote(str(folder.path))
    interrupted = run_ended is not None and run_ended.reason.startswith("SIG")
    if interrupted:
        session.say(f"resume with: cartpole-dqn resume {run}")
    if has_state(folder.best) or has_state(folder.checkpoint):
        session.say(f"see it play: cartpole-dqn record {run}")
    if not interrupted:
        session.say(f"its report:  cartpole-dqn report {run}")
    print(folder.path)
    if run_ended is not None and interrupted:
        raise typer.Exit(128 + signal.Signals[run_ended.reason].value)
