"""Start or resume a run in its folder.

* `execute`: trains to the end. `extended`: the configuration with a new number of steps.
* `say_notes`: prints warnings before a run.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence

from rich.console import Console

from cartpole_dqn.config.schema import RunConfig, to_toml
from cartpole_dqn.contracts.events import RunEnded
from cartpole_dqn.contracts.options import changed
from cartpole_dqn.errors import CartpoleDqnError, UserError
from cartpole_dqn.plugin.host import PluginHost
from cartpole_dqn.runs.checkpoint import has_state, taking_over
from cartpole_dqn.runs.folder import RunFolder, describe_environment
from cartpole_dqn.runs.saved import InitialWeights, Origin, read_checkpoint
from cartpole_dqn.training import assembly

Handle = Callable[[Callable[[str], None]], contextlib.AbstractContextManager[None]]
"""(function that stops the run) -> context manager around the training, which may handle signals."""


def extended(config: RunConfig, steps: int | None) -> RunConfig:
    """Return the configuration with a new budget in steps, if one is given."""
    return config if steps is None else changed(config, steps=steps, episodes=None)


def say_notes(console: Console, host: PluginHost, notes: Sequence[str]) -> None:
    """Print warnings before a run: broken plugins and dropped options."""
    for text in [*host.warnings(), *notes]:
        console.print(text, style="yellow", markup=False, highlight=False)


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
    draw: Callable[[RunFolder, Console], None] = lambda folder, console: None,
) -> RunEnded:
    """Train to the end, and save everything in `folder`.

    Args:
        folder: of the run.
        config: complete.
        host: the loaded plugins.
        console: for the display and warnings.
        plain: print lines instead of a live display.
        resuming: continue from the checkpoint in `folder`.
        initial: the weights to start from, as `find_initial_weights` returned them with `config`.
        handle: see `Handle`.
        draw: called in the end, even after a failure, to draw the curve.

    Raises:
        UserError: the configuration does not fit the environment or the checkpoint.
        RunError: the run failed. The message names its folder.
    """
    if resuming and folder.shared.exists():
        raise UserError(
            f"{folder.path.name} is a shared agent, which has no checkpoint to resume from. Start a run with "
            f"--config and its config.toml, and --init-from for its weights."
        )
    with folder.lock():
        try:
            made = assembly.assemble(config, host, folder=folder, console=console, clock=time.perf_counter, plain=plain)
            if resuming:
                _restore(made, folder, console)
            elif initial is not None:
                initial.give(made.agent)
                initial.keep(folder)
            elif config.init.run:
                raise UserError("init.run is set, but there are no weights: call find_initial_weights first.")
        except CartpoleDqnError:
            if not resuming:
                folder.discard_if_empty()
            raise
        folder.write_config(to_toml(config))
        description = describe_environment(
            plugins=host.describe(), threads=config.threads, device=str(assembly.choose_device(config.device))
        )
        if resuming and (changes := folder.differences(description)):
            text = f"since this run began: {', '.join(changes)}. From here on its course may be another."
            console.print(text, style="yellow", markup=False, highlight=False)
        folder.write_environment(description)
        folder.write_status("running", made.runner.step)
        try:
            with handle(made.runner.request_stop):
                ended = made.runner.run()
        except BaseException as error:
            asked = isinstance(error, KeyboardInterrupt)
            folder.write_status("interrupted" if asked else "failed", made.runner.step)
            if isinstance(error, CartpoleDqnError):
                owner = host.owner_of_failure(error)
                blame = "" if owner is None else f" It was raised in code of the plugin {owner}."
                raise type(error)(f"{error}{blame}\nThe run's folder: {folder.path}") from error.__cause__
            raise
        finally:
            made.close()
            draw(folder, console)
        folder.write_status("done" if ended.reason in ("done", "solved") else "interrupted", made.runner.step)
        return ended


def _restore(made: assembly.Assembly, folder: RunFolder, console: Console) -> None:
    if not has_state(folder.checkpoint):
        console.print("no checkpoint was written yet: starting from the beginning.", style="yellow")
        if made.config.init.run:
            InitialWeights.kept(folder).give(made.agent)
        folder.clear_metrics()
        return
    run, replay = read_checkpoint(folder, Origin(made.config.env.id, made.config.obs))
    if replay is None:
        console.print("the replay was not saved: it starts empty, so results will differ.", style="yellow")
    with taking_over(folder.checkpoint):
        lost = made.runner.load_state_dict(run, replay)
    if lost:
        console.print(made.collector.why_lost, style="yellow", markup=False)
