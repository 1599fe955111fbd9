"""`benchmark speed`: training speed beside the notebooks' loops."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cartpole_dqn.cli.session import Session

app = typer.Typer(no_args_is_help=True, help="Measurements that print ratios.", rich_markup_mode="rich")


@app.callback()
def benchmark() -> None:
    """Measurements that print ratios."""


@app.command("speed")
def speed(
    ctx: typer.Context,
    preset: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this preset. May be repeated.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Pairs of timings.")] = 3,
    threads: Annotated[int, typer.Option(min=1, help="torch's threads, on both sides.")] = 1,
    steps: Annotated[int | None, typer.Option(min=200, help="Steps a timing takes, instead of the usual.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Time presets and the notebooks' plain loops in turn, and print steps per second and their ratio."""
    from dataclasses import replace

    from rich.table import Table

    from cartpole_dqn.errors import UserError, did_you_mean
    from cartpole_dqn.studies.speed import COMPARISONS, measure_speed

    known = {c.preset: c for c in COMPARISONS}
    for name in preset or []:
        if name not in known:
            raise UserError(f"--preset {name}: no such comparison.{did_you_mean(name, known)}")
    chosen = [known[name] for name in preset or known]
    if steps is not None:
        chosen = [replace(c, steps=steps) for c in chosen]
    session: Session = ctx.obj
    results = measure_speed(
        chosen, repeats=repeats, threads=threads, said=lambda text: session.err.print(text, highlight=False)
    )
    if as_json:
        print(json.dumps([{**asdict(r), "ratios": r.ratios, "ratio": r.ratio} for r in results]))
        return
    table = Table(box=None, pad_edge=False)
    for column in ("preset", "steps", "threads", "notebook steps/s", "preset steps/s", "ratio", "lowest", "highest"):
        table.add_column(column, justify="left" if column == "preset" else "right")
    for result in results:
        middle = (sorted(result.notebook)[len(result.notebook) // 2], sorted(result.preset)[len(result.preset) // 2])
        table.add_row(
            result.comparison.preset,
            f"{result.comparison.steps:,}",
            str(result.threads),
            *(f"{value:,.0f}" for value in middle),
            f"{result.ratio:.2f}",
            f"{min(result.ratios):.2f}",
            f"{max(result.ratios):.2f}",
        )
    session.out.print(table)
