"""`sweep` runs many settings with many seeds, several at once."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cartpole_dqn.cli import options
from cartpole_dqn.cli.options import WHERE, where
from cartpole_dqn.cli.session import Session
from cartpole_dqn.errors import RunError, UserError, bad

if TYPE_CHECKING:
    from cartpole_dqn.studies.sweep_plan import SweepPlan
    from cartpole_dqn.views.sweep import Swept


_SEEDS = 5
_WAYS = ("--grid", "--variant", "--random", "--search")
_GOING_ON = ("--resume", "--retry-failed", "--jobs", "--engine", "--engine-set", "--plain")
"""Options that may be given together with `--resume`."""
_USED_BY = {"--space": ("--random", "--search"), "--sweep-seed": ("--random", "--search"), "--trials": ("--search",)}
_vary = functools.partial(typer.Option, rich_help_panel="Settings and seeds to try")


def sweep(
    ctx: typer.Context,
    obs: options.Obs = None,
    env: options.Env = None,
    preset: options.Preset = None,
    config: options.Config = None,
    set_: options.Set = None,
    steps: options.Steps = None,
    episodes: options.Episodes = None,
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
        options.new_folder(
            help="The sweep's folder. If it has a sweep, resume it.",
            show_default="a new folder in sweeps/",
            rich_help_panel=WHERE,
        ),
    ] = None,
    resume: Annotated[Path | None, where(metavar="DIR", help="Resume the sweep in this folder.")] = None,
    retry_failed: Annotated[bool, where("--retry-failed", help="Run failed trials again.")] = False,
    device: options.NewDevice = None,
    jobs: Annotated[
        int | None, where(metavar="N", min=1, help="Trials to run at once.", show_default="one per core")
    ] = None,
    engine: Annotated[
        str | None, where(metavar="NAME", help="The sweep engine, which runs the trials.", show_default="local")
    ] = None,
    engine_set: Annotated[
        list[str] | None,
        where("--engine-set", metavar="KEY=VALUE", help="Set an option of the engine. May be repeated."),
    ] = None,
    plain: options.Plain = False,
) -> None:
    """Train every setting with every seed, and compare them.

    Each setting and seed is a trial with a run folder of its own.

    Examples:
        cartpole-dqn sweep --obs state --seeds 10
        cartpole-dqn sweep --obs state --grid agent.optimiser.lr=1e-3,5e-4 --grid agent.n_step=1,3 --out lr
        cartpole-dqn sweep --obs state --variant default --variant no-double:agent.double=false
        cartpole-dqn sweep --obs state --random 20 --space ranges.toml
        cartpole-dqn sweep --resume lr
    """
    values = {option.opts[0]: ctx.params[option.name] for option in ctx.command.params}
    args = {name: value for name, value in values.items() if value not in (None, [], ()) and name not in _GOING_ON}
    if resume is not None and args:
        raise UserError(f"--resume {resume} resumes a sweep unchanged: leave out {', '.join(args)}.")
    _require_sense(args)

    session: Session = ctx.obj
    with contextlib.nullcontext() if plain else session.spinner("loading"):  # torch, for some seconds
        from cartpole_dqn.runs.folder import RunFolder
        from cartpole_dqn.studies.sweep_plan import SweepPlan
        from cartpole_dqn.views.sweep import run_sweep, sweep_folder

    plan = SweepPlan.read(resume) if resume is not None else _plan(args)
    plan = _with_engine(plan, engine, engine_set or [], jobs)
    if resume is not None:
        folder = RunFolder(resume)
    else:
        name = env or preset or (config.stem if config is not None else "CartPole-v1")
        folder = sweep_folder(out, env_id=name, obs=obs)
    swept = run_sweep(folder, plan, session.host, console=session.err, retry_failed=retry_failed, plain=plain)
    _finish(session, swept)


def _require_sense(args: dict[str, Any]) -> None:
    """Raise `UserError` for options that conflict or have no effect."""
    methods = [name for name in _WAYS if name in args]
    if len(methods) > 1:
        raise UserError(f"{' and '.join(methods)}: give one of them.")
    if "--steps" in args and "--episodes" in args:
        raise UserError("--steps and --episodes: give one of them.")
    for name, needed in (("--random", "--space"), ("--search", "--space"), ("--search", "--trials")):
        if name in args and needed not in args:
            raise UserError(f"{name} needs {needed}.")
    for name, users in _USED_BY.items():
        if name in args and not args.keys() & users:
            raise UserError(f"{name} is for {' and '.join(users)}, which is not given.")
    if args.get("--search", "optuna") != "optuna":
        raise UserError(f"--search {bad(args['--search'])}: expected optuna.")
    for text in args.get("--set", []):
        if text.partition("=")[0].strip() == "seed":
            raise UserError(f"--set {bad(text)}: a sweep takes its seeds from --seeds and --first-seed.")


def _plan(args: dict[str, Any]) -> SweepPlan:
    from cartpole_dqn.studies.sweep_plan import SweepPlan
    from cartpole_dqn.studies.sweep_space import parse_grid, parse_variants, read_space

    flags = {name: args[f"--{name}"] for name in ("obs", "steps", "episodes", "device") if f"--{name}" in args}
    if "--env" in args:
        flags["env"] = {"id": args["--env"]}
    first = args.get("--first-seed", 0)
    return SweepPlan(
        seeds=tuple(range(first, first + args.get("--seeds", _SEEDS))),
        preset=args.get("--preset"),
        config=args.get("--config"),
        flags=flags,
        sets=tuple(args.get("--set", [])),
        grid=parse_grid(args.get("--grid", [])),
        variants=parse_variants(args.get("--variant", [])),
        space=read_space(args["--space"]) if "--space" in args else {},
        draws=args.get("--random", 0),
        searches=args.get("--trials", 0),
        seed=args.get("--sweep-seed", 0),
    )


def _with_engine(plan: SweepPlan, name: str | None, settings: Sequence[str], jobs: int | None) -> SweepPlan:
    """Return the plan with these engine options. Options that are None keep the plan's value."""
    from cartpole_dqn.config.layers import parse_set

    table = dict(plan.engine_options) if name in (None, plan.engine) else {}
    for text in settings:
        parse_set(text, table, option="--engine-set")
    return dataclasses.replace(
        plan, engine=name or plan.engine, engine_options=table, jobs=plan.jobs if jobs is None else jobs
    )


def _finish(session: Session, swept: Swept) -> None:
    """Print the comparison, and exit with the right code."""
    from cartpole_dqn.views.comparison_tables import MARKDOWN, print_comparison

    if swept.left and swept.stopped:
        raise typer.Exit(128 + signal.Signals[swept.stopped].value)
    if swept.left:
        raise RunError(f"{swept.left} trials did not finish.")
    if swept.comparison is not None:
        print_comparison(session.out, swept.comparison)
        session.say(f"written to {swept.folder / MARKDOWN}")
    if swept.failed:
        again = f"{swept.resume} --retry-failed"
        raise RunError(f"{len(swept.failed)} of {swept.total} trials failed. Try them again with: {again}")
