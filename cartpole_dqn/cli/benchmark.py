"""`benchmark`: measurements that print tables.

* `speed`: training speed beside the notebooks' loops.
* `learning`: scores over seeds.
* `ablation`: a default without each of its choices.
* `vector`: steps a second of environments side by side.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from cartpole_dqn.cli.session import Session

app = typer.Typer(no_args_is_help=True, help="Measurements that print ratios.", rich_markup_mode="rich")


@app.callback()
def benchmark() -> None:
    """Measurements that print ratios."""


@app.command(
    "speed",
    epilog="Examples: cartpole-dqn benchmark speed   |   "
    "cartpole-dqn benchmark speed --preset tutorial-state --repeats 5",
)
def speed(
    ctx: typer.Context,
    preset: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this preset. May be repeated.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Pairs of timings.")] = 3,
    threads: Annotated[int, typer.Option(min=1, help="torch's threads, on both sides.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Time presets and the notebooks' plain loops in turn, and print steps per second and their ratio."""
    from rich.table import Table

    from cartpole_dqn.errors import UserError, did_you_mean
    from cartpole_dqn.studies.speed import COMPARISONS, measure_speed

    known = {c.preset: c for c in COMPARISONS}
    for name in preset or []:
        if name not in known:
            raise UserError(f"--preset {name}: no such comparison.{did_you_mean(name, known)}")
    chosen = [known[name] for name in preset or known]
    session: Session = ctx.obj
    results = measure_speed(
        chosen, repeats=repeats, threads=threads, said=lambda text: session.err.print(text, highlight=False)
    )
    if as_json:
        print(json.dumps([{**asdict(r), "ratios": r.ratios, "ratio": r.ratio} for r in results]))
        return
    table = Table(box=None, pad_edge=False)
    for column in ("preset", "steps", "threads", "notebook steps/s", "preset steps/s", "ratio", "lowest", "highest"):
        table.add_column(column, justify="left" if column == "preset" else "right", no_wrap=column == "preset")
    for result in results:
        middle = (sorted(result.notebook)[len(result.notebook) // 2], sorted(result.preset)[len(result.preset) // 2])
        table.add_row(
            result.comparison.preset,
            f"{result.comparison.preset_steps:,}",
            str(result.threads),
            *(f"{value:,.0f}" for value in middle),
            f"{result.ratio:.2f}",
            f"{min(result.ratios):.2f}",
            f"{max(result.ratios):.2f}",
        )
    session.out.print(table)


@app.command(
    "learning",
    epilog="Examples: cartpole-dqn benchmark learning --obs state --seeds 3   |   "
    "cartpole-dqn benchmark learning --out benchmarks/mine --set agent.n_step=3",
)
def learning(
    ctx: typer.Context,
    obs: Annotated[str, typer.Option(help="pixels, or native.")] = "pixels",
    env: Annotated[str, typer.Option(help="A Gymnasium id.")] = "CartPole-v1",
    preset: Annotated[str | None, typer.Option(metavar="NAME", help="A preset instead of the default one.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Environment steps of each run.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds.")] = 10,
    first_seed: Annotated[int, typer.Option(min=0, help="The first of them.")] = 0,
    jobs: Annotated[int, typer.Option(min=1, help="Runs side by side; times are worth reading with one only.")] = 1,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where the runs are kept; goes on there.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Train many seeds, and print when each was solved and how its models do on seeds that it never saw."""
    import gymnasium
    from rich.table import Table

    from cartpole_dqn.studies.learning import machine_line, run_seeds, summarise

    session: Session = ctx.obj
    chosen = ["--preset", preset] if preset else ["--obs", obs]
    arguments = [*chosen, "--env", env, *(["--steps", str(steps)] if steps else [])]
    for setting in set_ or []:
        arguments += ["--set", setting]
    folder = out or Path("benchmarks") / f"learning-{preset or obs}"
    trials = run_seeds(
        arguments,
        range(first_seed, first_seed + seeds),
        folder,
        jobs=jobs,
        said=lambda text: session.err.print(text, highlight=False, markup=False),
    )
    spec = gymnasium.registry.get(env.split(":")[-1])  # one that a module registers is known in its runs alone
    known = None if spec is None else spec.reward_threshold
    summary = summarise(trials, threshold=float("inf") if known is None else known)
    machine = machine_line(folder / f"seed-{first_seed}")
    if as_json:
        figures = {"arguments": arguments, "machine": machine, "jobs": jobs}
        print(json.dumps({**figures, "trials": [asdict(t) for t in trials], "summary": summary}))
        return
    table = Table(box=None, pad_edge=False)
    for column in ("seed", "solved at step", "training s", "with evaluation s", "best", "worst", "last"):
        table.add_column(column, justify="right")
    for t in trials:
        table.add_row(
            str(t.seed),
            *("-" if value is None else f"{value:,.0f}" for value in (t.solved_step, t.solved_seconds, t.solved_wall)),
            f"{t.best:.1f}",
            f"{t.best_worst:.0f}",
            f"{t.last:.1f}",
        )
    session.out.print(table)
    session.out.print(_sentence(summary), highlight=False)
    session.out.print(f"{machine}; {jobs} run{'' if jobs == 1 else 's'} at a time", highlight=False)


@app.command(
    "ablation",
    epilog="Examples: cartpole-dqn benchmark ablation --obs state --seeds 3   |   "
    "cartpole-dqn benchmark ablation --obs pixels --jobs 2",
)
def ablation(
    ctx: typer.Context,
    obs: Annotated[str, typer.Option(help="pixels, or native: whose default.")] = "pixels",
    without: Annotated[
        list[str] | None, typer.Option(metavar="CHOICE", help="Only without this choice. May be repeated.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Environment steps of each run.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds.")] = 5,
    first_seed: Annotated[int, typer.Option(min=0, help="The first of them.")] = 0,
    jobs: Annotated[int, typer.Option(min=1, help="Runs side by side.")] = 1,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where the runs are kept; goes on there.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Train a default for CartPole without each of its choices, over the same seeds."""
    from rich.table import Table

    from cartpole_dqn.errors import UserError, did_you_mean
    from cartpole_dqn.studies.ablation import CHOICES, DEFAULT, run_ablation
    from cartpole_dqn.studies.learning import machine_line, summarise

    obs = {"state": "native"}.get(obs, obs)
    if obs not in CHOICES:
        raise UserError(f"--obs {obs}: expected pixels or native.{did_you_mean(obs, CHOICES)}")
    known = {choice.name: choice for choice in (DEFAULT, *CHOICES[obs])}
    for name in without or []:
        if name not in known:
            raise UserError(f"--without {name}: no such choice.{did_you_mean(name, known)}")
    chosen = [known[name] for name in without or known]
    session: Session = ctx.obj
    folder = out or Path("benchmarks") / f"ablation-{obs}"
    results = run_ablation(
        obs,
        range(first_seed, first_seed + seeds),
        folder,
        choices=chosen,
        steps=steps,
        jobs=jobs,
        said=lambda text: session.err.print(text, highlight=False, markup=False),
    )
    if as_json:
        print(json.dumps({name: [asdict(t) for t in trials] for name, trials in results.items()}))
        return
    table = Table(box=None, pad_edge=False)
    for column in ("without", "instead", "solved", "median step", "best: mean", "last: mean", "last: lowest"):
        words = column in ("without", "instead")
        table.add_column(column, justify="left" if words else "right", no_wrap=column == "without")
    for choice in chosen:
        trials = results[choice.name]
        summary = summarise(trials, threshold=475.0)
        at = summary["solved_step"]
        table.add_row(
            choice.name,
            choice.instead,
            f"{sum(t.solved_step is not None for t in trials)} of {len(trials)}",
            "-" if at is None else f"{at['median']:,.0f}",
            f"{summary['best_mean']:.0f}",
            f"{summary['last_mean']:.0f}",
            f"{summary['last_lowest']:.0f}",
        )
    session.out.print(table)
    machine = machine_line(folder / chosen[0].name / f"seed-{first_seed}")
    session.out.print(f"{machine}; {jobs} run{'' if jobs == 1 else 's'} at a time", highlight=False)


@app.command(
    "vector",
    epilog="Examples: cartpole-dqn benchmark vector   |   "
    "cartpole-dqn benchmark vector --obs pixels --num-envs 4 --seconds 5",
)
def vector(
    ctx: typer.Context,
    env: Annotated[str, typer.Option(help="A Gymnasium id.")] = "CartPole-v1",
    obs: Annotated[
        list[str] | None, typer.Option(metavar="OBS", help="state or pixels; both by default. May be repeated.")
    ] = None,
    num_envs: Annotated[
        list[int] | None,
        typer.Option(min=1, metavar="N", help="How many side by side; 1, 2, 4 and 8 by default. May be repeated."),
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.05, help="How long each timing takes.")] = 1.0,
    repeats: Annotated[int, typer.Option(min=1, help="Timings of each.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Time environments side by side, in this process and each in its own, and print a Markdown table."""
    from cartpole_dqn.envs.factory import EnvFactory
    from cartpole_dqn.runs.folder import describe_environment
    from cartpole_dqn.studies.vector import COUNTS, OBSERVATIONS, as_markdown, measure_vector
    from cartpole_dqn.training.resolve import resolve_config

    session: Session = ctx.obj
    host = session.host()
    host.register_environments()
    chosen = list(dict.fromkeys(obs or OBSERVATIONS))
    for kind in chosen:
        config, _ = resolve_config(host, flags={"obs": kind, "env": {"id": env}, "steps": 1})
        EnvFactory(config, host.registry).make().close()  # says in words what does not fit, before anything is timed
    results = measure_vector(
        env,
        observations=chosen,
        counts=list(dict.fromkeys(num_envs or COUNTS)),
        seconds=seconds,
        repeats=repeats,
        said=lambda text: session.err.print(text, highlight=False, markup=False),
    )
    machine = describe_environment(plugins=[], threads=1, device="cpu")
    if as_json:
        print(json.dumps({"env": env, "machine": machine, "rates": [asdict(rates) for rates in results]}))
        return
    print(as_markdown(env, results, machine))


def _sentence(summary: dict[str, Any]) -> str:
    text = (
        f"best/ reaches the threshold on {summary['solved']} of {summary['seeds']} seeds: "
        f"mean {summary['best_mean']:.1f}, "
        f"lowest {summary['best_lowest']:.1f}; last model: mean {summary['last_mean']:.1f}, "
        f"lowest {summary['last_lowest']:.1f}"
    )
    for key, unit in (("solved_step", "steps"), ("solved_seconds", "s of training"), ("solved_wall", "s in all")):
        q = summary[key]
        if q is not None:
            text += f"\nsolved after {q['median']:,.0f} {unit} (quartiles {q['lower']:,.0f} to {q['upper']:,.0f})"
    return text
