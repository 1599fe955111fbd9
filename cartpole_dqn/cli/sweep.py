"""`sweep` runs many settings with many seeds, several at once."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import shlex
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cartpole_dqn.cli import options
from cartpole_dqn.cli.session import Session
from cartpole_dqn.errors import CartpoleDqnError, RunError, UserError, said_by
from cartpole_dqn.system import stopping_on_signals

if TYPE_CHECKING:
    from cartpole_dqn.config.schema import RunConfig
    from cartpole_dqn.contracts.sweep_engine import SweepEngine
    from cartpole_dqn.plugin.host import PluginHost
    from cartpole_dqn.studies.sweep import Sweep, SweepView
    from cartpole_dqn.studies.sweep_plan import SweepPlan

SWEEP_EXAMPLES = (
    "cartpole-dqn sweep --obs state --seeds 10\n"
    "cartpole-dqn sweep --obs state --grid agent.optimiser.lr=1e-3,5e-4 --grid agent.n_step=1,3 --out lr\n"
    "cartpole-dqn sweep --obs state --variant default --variant no-double:agent.double=false\n"
    "cartpole-dqn sweep --obs state --random 20 --space ranges.toml\n"
    "cartpole-dqn sweep --resume lr"
)

_SEEDS = 5
_WAYS = ("--grid", "--variant", "--random", "--search")
_GOING_ON = ("--resume", "--retry-failed", "--jobs", "--engine", "--engine-set", "--plain")
"""Options that may be given together with `--resume`."""
_USED_BY = {"--space": ("--random", "--search"), "--sweep-seed": ("--random", "--search"), "--trials": ("--search",)}
_how_long = functools.partial(options.count, rich_help_panel=options.HOW_LONG)
_vary = functools.partial(typer.Option, rich_help_panel="Settings and seeds to try")
_where = functools.partial(typer.Option, rich_help_panel=options.WHERE)


def sweep(
    ctx: typer.Context,
    obs: options.Obs = None,
    env: options.Env = None,
    preset: options.Preset = None,
    config: options.Config = None,
    set_: options.Set = None,
    steps: Annotated[
        int | None, _how_long(help="Train each run for N environment steps.", show_default="the preset's")
    ] = None,
    episodes: Annotated[int | None, _how_long(help="Train each run for N episodes instead.")] = None,
    seeds: Annotated[
        int | None, _vary(metavar="N", min=1, help="Seeds to try with each setting.", show_default=str(_SEEDS))
    ] = None,
    first_seed: Annotated[int | None, _vary(metavar="N", min=0, help="The first seed.", show_default="0")] = None,
    grid: Annotated[
        list[str] | None,
        _vary(metavar="KEY=A,B,...", help="Values to try. If repeated, the sweep tries all combinations."),
    ] = None,
    variant: Annotated[
        list[str] | None,
        _vary(
            metavar="NAME[:KEY=VALUE,...]",
            help="A named setting, or a TOML file of several. NAME alone changes nothing. May be repeated.",
        ),
    ] = None,
    random: Annotated[int | None, _vary(metavar="N", min=1, help="Draw N random settings from --space.")] = None,
    search: Annotated[
        str | None, _vary(metavar="optuna", help="Search --space. The scores so far guide the search.")
    ] = None,
    trials: Annotated[int | None, _vary(metavar="N", min=1, help="Settings that --search tries.")] = None,
    space: Annotated[
        Path | None, _vary(metavar="FILE.toml", help="Ranges of settings, for --random and --search.")
    ] = None,
    sweep_seed: Annotated[
        int | None, _vary(metavar="N", min=0, help="Seed of --random and --search.", show_default="0")
    ] = None,
    out: Annotated[
        Path | None,
        _where(
            metavar="DIR",
            parser=options.new_folder,
            help="The sweep's folder. If it has a sweep, resume it.",
            show_default="a new folder in sweeps/",
        ),
    ] = None,
    resume: Annotated[Path | None, _where(metavar="DIR", help="Resume the sweep in this folder.")] = None,
    retry_failed: Annotated[bool, _where("--retry-failed", help="Run failed trials again.")] = False,
    device: options.NewDevice = None,
    jobs: Annotated[
        int | None, _where(metavar="N", min=1, help="Trials to run at once.", show_default="one per core")
    ] = None,
    engine: Annotated[
        str | None, _where(metavar="NAME", help="The sweep engine, which runs the trials.", show_default="local")
    ] = None,
    engine_set: Annotated[
        list[str] | None,
        _where("--engine-set", metavar="KEY=VALUE", help="Set an option of the engine. May be repeated."),
    ] = None,
    plain: options.Plain = False,
) -> None:
    """Train every setting with every seed, and compare them.

    Each setting and seed is a trial with a run folder of its own.
    """
    values = {option.opts[0]: ctx.params[option.name] for option in ctx.command.params}
    asked = {name: value for name, value in values.items() if value not in (None, [], ()) and name not in _GOING_ON}
    if resume is not None and asked:
        raise UserError(f"--resume {resume} resumes a sweep unchanged: leave out {', '.join(asked)}.")
    _require_sense(asked)

    from cartpole_dqn.runs import lock as folder_lock
    from cartpole_dqn.runs.folder import RunFolder
    from cartpole_dqn.studies.sweep_plan import BASE, FILE, SweepPlan

    session: Session = ctx.obj
    plan = SweepPlan.read(resume) if resume is not None else _plan(asked)
    plan = _with_engine(plan, engine, engine_set or [], jobs)
    begun = resume if resume is not None else out if out is not None and (out / FILE).is_file() else None
    if begun is not None:
        folder = RunFolder(begun)
    else:
        name = env or preset or (config.stem if config is not None else "CartPole-v1")
        folder = RunFolder.create(out, env_id=name, obs=obs or "sweep", root=Path("sweeps"))
    base = None if plan.config is None else config or folder.path / BASE
    stop: list[str] = []
    try:
        with folder_lock.hold(folder.path), stopping_on_signals(stop.append):
            _run(session, folder.path, plan, base=base, retry_failed=retry_failed, plain=plain, stop=stop)
    except CartpoleDqnError:
        folder.discard_if_empty()
        raise


def _require_sense(asked: dict[str, Any]) -> None:
    """Raise `UserError` for options that conflict or have no effect."""
    given = [name for name in _WAYS if name in asked]
    if len(given) > 1:
        raise UserError(f"{' and '.join(given)}: give one of them.")
    if "--steps" in asked and "--episodes" in asked:
        raise UserError("--steps and --episodes: give one of them.")
    for name, needed in (("--random", "--space"), ("--search", "--space"), ("--search", "--trials")):
        if name in asked and needed not in asked:
            raise UserError(f"{name} needs {needed}.")
    for name, users in _USED_BY.items():
        if name in asked and not asked.keys() & users:
            raise UserError(f"{name} is for {' and '.join(users)}, which is not given.")
    if asked.get("--search", "optuna") != "optuna":
        raise UserError(f"--search {asked['--search']}: expected optuna.")
    for text in asked.get("--set", []):
        if text.partition("=")[0].strip() == "seed":
            raise UserError(f"--set {text}: a sweep takes its seeds from --seeds and --first-seed.")


def _plan(asked: dict[str, Any]) -> SweepPlan:
    from cartpole_dqn.config.schema import read_text
    from cartpole_dqn.studies.sweep_plan import SweepPlan
    from cartpole_dqn.studies.sweep_space import parse_grid, parse_variants, read_space

    flags = {name: asked[f"--{name}"] for name in ("obs", "steps", "episodes", "device") if f"--{name}" in asked}
    if "--env" in asked:
        flags["env"] = {"id": asked["--env"]}
    first = asked.get("--first-seed", 0)
    return SweepPlan(
        seeds=tuple(range(first, first + asked.get("--seeds", _SEEDS))),
        preset=asked.get("--preset"),
        config=read_text(asked["--config"]) if "--config" in asked else None,
        flags=flags,
        sets=tuple(asked.get("--set", [])),
        grid=parse_grid(asked.get("--grid", [])),
        variants=tuple(parse_variants(asked.get("--variant", []))),
        space=read_space(asked["--space"]) if "--space" in asked else {},
        draws=asked.get("--random", 0),
        searches=asked.get("--trials", 0),
        seed=asked.get("--sweep-seed", 0),
    )


def _with_engine(plan: SweepPlan, name: str | None, settings: Sequence[str], jobs: int | None) -> SweepPlan:
    """Return the plan with these engine options. Options that are None keep the plan's value."""
    from cartpole_dqn.config.layers import parse_set

    table = dict(plan.engine_options) if name in (None, plan.engine) else {}
    for text in settings:
        parse_set(text, table)
    return dataclasses.replace(
        plan, engine=name or plan.engine, engine_options=table, jobs=plan.jobs if jobs is None else jobs
    )


def _run(
    session: Session,
    folder: Path,
    plan: SweepPlan,
    *,
    base: Path | None,
    retry_failed: bool,
    plain: bool,
    stop: list[str],
) -> None:
    from cartpole_dqn.contracts.options import check_options
    from cartpole_dqn.contracts.sweep_engine import SweepEngineContext
    from cartpole_dqn.studies.sweep import Sweep
    from cartpole_dqn.training.session import say_notes
    from cartpole_dqn.views.sweep_table import watching

    host = session.host
    say_notes(session.err, host, [])
    made = Sweep(
        folder.resolve(),
        plan,
        host,
        base=base,
        retry_failed=retry_failed,
        prepare=lambda config: _with_initial_weights(config, host),
        warn=session.warn,
    )
    cls = host.registry.load("sweep-engine", plan.engine)
    declared = host.registry.options("sweep-engine", plan.engine)
    given: Any = check_options(declared, plan.engine_options, where=f"sweep-engine '{plan.engine}'")
    with _engine_errors(host, plan.engine):
        engine: SweepEngine = cls(given, SweepEngineContext(folder=folder.resolve(), jobs=plan.jobs, say=session.say))
    hint = f"resume with: cartpole-dqn sweep --resume {shlex.quote(str(folder))}"
    try:
        with _engine_errors(host, plan.engine), watching(session.err, time.monotonic, plain=plain) as watch:
            view = made.run(engine, watch=watch, should_stop=lambda: bool(stop))
    except KeyboardInterrupt:
        session.say(hint)
        raise
    except RunError as error:
        raise RunError(f"{error}\n{hint}") from error.__cause__
    _finish(session, folder, made, view, stop, hint)


def _with_initial_weights(config: RunConfig, host: PluginHost) -> RunConfig:
    """Return the configuration with an absolute path and a checksum for its initial weights, if it has any."""
    from cartpole_dqn.contracts.options import changed
    from cartpole_dqn.runs.catalogue import find_run
    from cartpole_dqn.training.initial_weights import find_initial_weights

    if not config.init.run:
        return config
    found = find_run(config.init.run).path.resolve()
    named, _ = find_initial_weights(config, host)
    return changed(named, init=changed(named.init, run=str(found)))


def _finish(session: Session, folder: Path, made: Sweep, view: SweepView, stop: list[str], hint: str) -> None:
    """Report failed and unfinished trials, print the comparison, and exit with the right code."""
    from cartpole_dqn.views.comparison_tables import MARKDOWN, print_comparison, sweep_comparison, write_results

    failed = [f"{trial.name}: {trial.error}" for trial in view.trials if trial.state == "failed"]
    for text in failed:
        session.say(f"failed: {text}", "red")
    if left := view.total - view.count("done") - len(failed):
        session.say(f"{left} of {view.total} trials are left; {hint}")
        if stop:
            raise typer.Exit(128 + signal.Signals[stop[0]].value)
        raise RunError(f"{left} trials did not finish.")
    comparison = sweep_comparison(made.done_folders(), failed)
    if comparison is not None:
        write_results(folder, comparison)
        print_comparison(session.out, comparison)
        session.say(f"written to {folder / MARKDOWN}")
    if failed:
        again = f"cartpole-dqn sweep --resume {shlex.quote(str(folder))} --retry-failed"
        raise RunError(f"{len(failed)} of {view.total} trials failed. Try them again with: {again}")


@contextlib.contextmanager
def _engine_errors(host: PluginHost, name: str) -> Iterator[None]:
    """Turn unexpected exceptions into a `RunError` that names the engine and its distribution."""
    try:
        yield
    except CartpoleDqnError:
        raise
    except Exception as error:
        owner = host.registry.component("sweep-engine", name).owner
        raise RunError(f"the sweep engine '{name}' of {owner} failed: {said_by(error)}") from error
