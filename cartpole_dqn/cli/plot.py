"""`plot` draws a run's curves, or the curves of groups of runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cartpole_dqn.cli import options

if TYPE_CHECKING:
    from cartpole_dqn.views.colours import Theme


def plot(
    ctx: typer.Context,
    runs: options.Runs,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Output file, .png or .svg.",
            show_default="curves.png; for one run, curve.png in its folder",
        ),
    ] = None,
    group_by: options.GroupBy = None,
    x: Annotated[
        Literal["steps", "episodes", "time"], options.choice(("steps", "episodes", "time"), help="The x axis.")
    ] = "steps",
    theme: Annotated[
        Literal["light", "dark", "both"],
        options.choice(("light", "dark", "both"), help="Colours. `both` draws a second picture, FILE-dark."),
    ] = "light",
    title: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Title of the picture.", show_default="from the runs")
    ] = None,
) -> None:
    """Plot the curves of a run, or of groups of runs.

    For one run, the curves are returns, evaluations, loss and epsilon. For groups, they are medians and quartiles.

    Examples:
        cartpole-dqn plot latest
        cartpole-dqn plot runs/a runs/b
        cartpole-dqn plot sweep/ --out sweep.svg --group-by lr --x time
    """
    from cartpole_dqn.studies.grouping import BUDGET, group_records, read_records
    from cartpole_dqn.views.overlay import draw_records

    themes: tuple[Theme, ...] = ("light", "dark") if theme == "both" else (theme,)
    records = read_records(runs, ctx.obj.warn)
    groups = group_records(records, options.group_keys(group_by), ignoring=BUDGET)
    target = out or (records[0].path / "curve.png" if len(records) == 1 else Path("curves.png"))
    for theme_name in themes:
        picture = target.with_name(f"{target.stem}-dark{target.suffix}") if theme_name != themes[0] else target
        draw_records(groups, picture, title=title or "", theme=theme_name, x=x)
        print(picture)
