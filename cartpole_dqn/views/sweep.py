"""A sweep from its plan to its results: `run_sweep` in a `sweep_folder` gives a `Swept`."""

from __future__ import annotations

import contextlib
import functools
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from cartpole_dqn.contracts.options import check_options
from cartpole_dqn.contracts.sweep_engine import SweepEngine, SweepEngineContext
from cartpole_dqn.errors import CartpoleDqnError, RunError, error_line
from cartpole_dqn.observers.display.screen import spinner
from cartpole_dqn.plugin.host import PluginHost
from cartpole_dqn.runs.folder import RunFolder
from cartpole_dqn.studies.comparison import Comparison
from cartpole_dqn.studies.sweep import Sweep
from cartpole_dqn.studies.sweep_plan import FILE, SweepPlan
from cartpole_dqn.system import stopping_on_signals
from cartpole_dqn.text.tables import print_warning
from cartpole_dqn.training.session import say_notes
from cartpole_dqn.views.comparison_tables import sweep_comparison, write_results
from cartpole_dqn.views.sweep_table import watching


@dataclass(frozen=True)
class Swept:
    """A sweep that has ended, or was stopped."""

    folder: Path
    total: int
    """Number of trials."""
    failed: dict[str, str]
    """The error of each failed trial, by its name."""
    left: int
    """Number of trials that have not ended."""
    stopped: str
    """The signal that stopped the sweep, or ""."""
    comparison: Comparison | None
    """None if trials are left, or all have failed."""
    resume: str
    """The command that runs the trials that are left."""


def sweep_folder(out: Path | None, *, env_id: str, obs: str | None) -> RunFolder:
    """Return the folder for a sweep: `out`, which may hold a sweep already, or a new one in `sweeps/`."""
    if out is not None and (out / FILE).is_file():
        return RunFolder(out)
    return RunFolder.create(out, env_id=env_id, obs=obs or "sweep", root=Path("sweeps"))


def run_sweep(
    folder: RunFolder,
    plan: SweepPlan,
    host: PluginHost,
    *,
    console: Console,
    retry_failed: bool = False,
    plain: bool = False,
) -> Swept:
    """Run the trials that are left, then write and return their comparison. A signal stops it cleanly.

    Args:
        folder: from `sweep_folder`, or that of a sweep to resume.
        plan: the trials.
        host: the loaded plugins.
        console: for the table and warnings.
        retry_failed: run failed trials again.
        plain: print lines instead of a live table.

    Raises:
        UserError: the plan is invalid, or the folder holds something else. Nothing has started.
        RunError: the engine failed.
    """
    stop: list[str] = []

    def say(text: str, style: str = "") -> None:
        console.print(Text(text, style))

    with _held(folder), stopping_on_signals(stop.append):
        say_notes(console, host, [])
        warn = functools.partial(print_warning, console)
        with contextlib.nullcontext() if plain else spinner(console, "checking the settings"):
            sweep = Sweep(folder.path.resolve(), plan, host, retry_failed=retry_failed, warn=warn)
        engine = _make_engine(plan, host, SweepEngineContext(folder=folder.path.resolve(), jobs=plan.jobs, say=say))
        resume = f"cartpole-dqn sweep --resume {shlex.quote(str(folder.path))}"
        try:
            with _engine_errors(host, plan.engine), watching(console, time.monotonic, plain=plain) as watch:
                view = sweep.run(engine, watch=watch, should_stop=lambda: bool(stop))
        except KeyboardInterrupt:
            say(f"resume with: {resume}")
            raise
        except RunError as error:
            if not (folder.path / FILE).is_file():
                raise  # Nothing was written that could be resumed.
            raise RunError(f"{error}\nresume with: {resume}") from error.__cause__
        failed = {trial.name: trial.error for trial in view.trials if trial.state == "failed"}
        errors = [f"{name}: {error}" for name, error in failed.items()]
        for text in errors:
            say(f"failed: {text}", "red")
        unfinished = view.total - view.count("done") - len(failed)
        if unfinished:
            say(f"{unfinished} of {view.total} trials are left; resume with: {resume}")
        comparison = None if unfinished else sweep_comparison(sweep.done_folders(), errors)
        if comparison is not None:
            write_results(folder.path, comparison)
    return Swept(folder.path, view.total, failed, unfinished, stop[0] if stop else "", comparison, resume)


@contextlib.contextmanager
def _held(folder: RunFolder) -> Iterator[None]:
    """Lock the folder. If the block is refused before anything is written, a new folder is removed again."""
    try:
        with folder.lock():
            yield
    except CartpoleDqnError:
        folder.discard_if_empty()
        raise


def _make_engine(plan: SweepPlan, host: PluginHost, context: SweepEngineContext) -> SweepEngine:
    cls = host.registry.load("sweep-engine", plan.engine)
    declared = host.registry.options("sweep-engine", plan.engine)
    options: Any = check_options(declared, plan.engine_options, where=f"sweep-engine '{plan.engine}'")
    with _engine_errors(host, plan.engine):
        engine: SweepEngine = cls(options, context)
    return engine


@contextlib.contextmanager
def _engine_errors(host: PluginHost, name: str) -> Iterator[None]:
    """Turn unexpected exceptions into a `RunError` that names the engine and its distribution."""
    try:
        yield
    except CartpoleDqnError:
        raise
    except Exception as error:
        owner = host.registry.component("sweep-engine", name).owner
        raise RunError(f"the sweep engine '{name}' of {owner} failed: {error_line(error)}") from error
