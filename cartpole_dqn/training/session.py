"""Start or resume a run in its folder.

* `prepare`: the configuration and the folder of a new run. `adjusted`: the configuration with which a run goes on.
* `execute`: trains. `say_notes`: prints warnings.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from cartpole_dqn.config.schema import RunConfig, to_toml, with_step_timeout
from cartpole_dqn.contracts.events import RunEnded
from cartpole_dqn.contracts.options import changed, check_options
from cartpole_dqn.contracts.parts import State
from cartpole_dqn.errors import CartpoleDqnError, UserError
from cartpole_dqn.plugin.host import PluginHost
from cartpole_dqn.runs.checkpoint import has_state, taking_over
from cartpole_dqn.runs.folder import RunFolder, describe_environment, run_state
from cartpole_dqn.runs.saved import InitialWeights, read_checkpoint
from cartpole_dqn.text.tables import print_warning
from cartpole_dqn.training.assembly import Assembly, assemble, choose_device
from cartpole_dqn.training.initial_weights import find_initial_weights
from cartpole_dqn.training.resolve import resolve_config

Handle = Callable[[Callable[[str], None]], contextlib.AbstractContextManager[None]]
"""(function that stops the run) -> context manager around the training, which may handle signals."""


def prepare(
    host: PluginHost, console: Console, out: Path | None, *, config_file: Path | None, **settings: Any
) -> tuple[RunFolder, RunConfig, InitialWeights | None]:
    """Return a new run's folder, configuration, and weights to start from, if it has any. Print warnings.

    `out` is the folder, by default a new one under `runs/`. The other arguments are those of `resolve_config`.

    Raises:
        UserError: a setting is invalid, the weights do not fit, or the folder is taken.
    """
    config, notes = resolve_config(host, config_file=config_file, **settings)
    config, initial = find_initial_weights(config, host, beside=None if config_file is None else config_file.parent)
    if initial is not None:
        notes.append(f"starting from {initial.label}.")
    if not config.checkpoint.save_replay:
        notes.append("the replay is not saved: a resumed run fills it again, so its results will differ.")
    say_notes(console, host, notes)
    return RunFolder.create(out, env_id=config.env.id, obs=config.obs), config, initial


def adjusted(
    config: RunConfig, *, steps: int | None = None, device: str | None = None, step_timeout: float | None = None
) -> RunConfig:
    """Return the configuration of a saved run with another budget, device or time limit of a step, where given.

    Raises:
        UserError: this machine lacks the device, or a value is invalid.
    """
    given = {name: value for name, value in (("steps", steps), ("device", device)) if value is not None}
    checked = check_options(RunConfig, given, where="")
    if steps is not None:
        config = changed(config, steps=checked.steps, episodes=None)
    if device is not None:
        config = changed(config, device=checked.device)
        choose_device(config.device)
    return config if step_timeout is None else with_step_timeout(config, step_timeout)


def say_notes(console: Console, host: PluginHost, notes: Sequence[str]) -> None:
    """Print warnings before a run: broken plugins and dropped options."""
    for text in [*host.warnings(), *notes]:
        print_warning(console, text)


def execute(
    folder: RunFolder,
    config: RunConfig,
    host: PluginHost,
    *,
    console: Console,
    plain: bool = False,
    resuming: bool = False,
    initial: InitialWeights | None = None,
    handle: Handle = lambda ask: contextlib.nullcontext(),
    begin: Callable[[], None] = lambda: None,
    draw: Callable[[RunFolder, Console], None] = lambda folder, console: None,
) -> RunEnded | None:
    """Train to the end, and save everything in `folder`. Return None if a resumed run has nothing left to do.

    Args:
        folder: of the run.
        config: complete.
        host: the loaded plugins.
        console: for the display and warnings.
        plain: print lines instead of a live display.
        resuming: continue from the checkpoint in `folder`.
        initial: the weights to start from, as `find_initial_weights` returned them with `config`.
        handle: see `Handle`.
        begin: called when all is prepared, before the display starts.
        draw: called in the end, even after a failure, to draw the curve.

    Raises:
        UserError: the configuration does not fit the environment or the checkpoint.
        RunError: the run failed. The message names its folder.
    """
    warn = functools.partial(print_warning, console)
    if resuming and folder.shared.exists():
        raise UserError(
            f"{folder.path.name} is a shared agent, which has no checkpoint to resume from. Start a run with "
            f"--config and its config.toml, and --init-from for its weights."
        )
    with folder.lock(), contextlib.ExitStack() as stack:
        saved = read_checkpoint(folder, config) if resuming and has_state(folder.checkpoint) else None
        if saved is not None and _is_over(folder, saved[0], config):
            warn(f"nothing is left to do: the run has reached step {saved[0]['step']:,}. To go on, give more --steps.")
            return None
        if saved is not None and _stopped_as_solved(folder, saved[0], config):
            warn(
                f"the run stopped at step {saved[0]['step']:,} because it was solved. It now trains to the end of its "
                f"budget, with evaluation.until_solved = false."
            )
            config = changed(config, evaluation=changed(config.evaluation, until_solved=False))
        try:
            assembly = assemble(config, host, folder=folder, console=console, clock=time.perf_counter, plain=plain)
            stack.callback(assembly.close)
            if resuming:
                _restore(assembly, folder, config, saved, warn)
            elif initial is not None:
                initial.load_into(assembly.agent, assembly.statistics)
                initial.write(folder)
            elif config.init.run:
                raise UserError("init.run is set, but there are no weights: call find_initial_weights first.")
        except BaseException:
            if not resuming:
                folder.discard_if_empty()
            raise
        folder.write_config(to_toml(config))
        description = describe_environment(
            plugins=host.describe(), threads=config.threads, device=str(choose_device(config.device))
        )
        if resuming and (changes := folder.differences(description)):
            warn(f"since this run began: {', '.join(changes)}. From here on its course may be another.")
        folder.write_environment(description)
        folder.traceback.unlink(missing_ok=True)
        folder.write_status("running", assembly.runner.step)
        try:
            begin()
            with handle(assembly.runner.request_stop):
                run_ended = assembly.runner.run()
            folder.require_in_place()
        except BaseException as error:
            interrupted = isinstance(error, KeyboardInterrupt)
            folder.write_status("interrupted" if interrupted else "failed", assembly.runner.step)
            if not interrupted:
                folder.keep_traceback(error)
            if isinstance(error, CartpoleDqnError):
                owner = host.owner_of_failure(error)
                blame = "" if owner is None else f" It was raised in code of the plugin {owner}."
                place = f"\nThe run's folder: {folder.path}" if folder.in_place else ""
                raise type(error)(f"{error}{blame}{place}") from error.__cause__
            raise
        finally:
            if folder.in_place:
                draw(folder, console)
        folder.write_status("done" if run_ended.reason in ("done", "solved") else "interrupted", assembly.runner.step)
        return run_ended


def _is_over(folder: RunFolder, state: State, config: RunConfig) -> bool:
    """Return whether a saved run has reached its budget, and nothing is left: no evaluation, not even its ending."""
    step, steps = state["step"], config.steps
    if step < steps if steps is not None else state["episode"] < (config.episodes or 0):
        return False
    evaluated = not config.evaluation.every or state["evaluated_at"] == step
    is_ended = run_state(folder.path).state == "done"  # else it was killed between its last checkpoint and its end
    return (evaluated and is_ended) or (steps is not None and step - state["collected"] >= steps)


def _stopped_as_solved(folder: RunFolder, run: State, config: RunConfig) -> bool:
    """Return whether a saved run is complete, but for the budget that `until_solved` left over."""
    solved = config.evaluation.until_solved and run["selection"]["solved_step"] is not None
    return solved and run_state(folder.path).state == "done"


def _restore(
    assembly: Assembly,
    folder: RunFolder,
    config: RunConfig,
    saved: tuple[State, State | None] | None,
    warn: Callable[[str], None],
) -> None:
    if saved is None:
        warn("no checkpoint was written yet: starting from the beginning.")
        if config.init.run:
            InitialWeights.read(folder).load_into(assembly.agent, assembly.statistics)
        folder.metrics_csv.unlink(missing_ok=True)
        folder.metrics_jsonl.unlink(missing_ok=True)
        return
    run, replay = saved
    if replay is None:
        warn("the replay was not saved: it starts empty, so results will differ.")
    with taking_over(folder.checkpoint):
        lost = assembly.runner.load_state_dict(run, replay)
    if lost:
        warn(assembly.collector.why_lost)
