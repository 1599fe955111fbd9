"""`plot` draws a run's curves, or the curves of groups of runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cartpole_dqn.cli import options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cartpole_dqn.studies.grouping import Record
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
    from cartpole_dqn.views.curves import draw_curves
    from cartpole_dqn.views.overlay import draw_groups

    themes: tuple[Theme, ...] = ("light", "dark") if theme == "both" else (theme,)
    records = read_records(runs, ctx.obj.warn)
    groups = group_records(records, options.group_keys(group_by), ignoring=BUDGET)
    target = out or (records[0].path / "curve.png" if len(records) == 1 else Path("curves.png"))
    for theme_name in themes:
        picture = target.with_name(f"{target.stem}-dark{target.suffix}") if theme_name != themes[0] else target
        if len(records) == 1:
            draw_curves(records[0].history, picture, title=title or records[0].title, theme=theme_name, x=x)
        else:
            histories = {group.label: [record.history for record in group.records] for group in groups}
            draw_groups(histories, picture, title=title or _common_title(records), theme=theme_name, x=x)
        print(picture)


def _common_title(records: Sequence[Record]) -> str:
    """Return the settings that all runs share: "dqn on CartPole-v1, pixels"."""
    shared = [{str(record.settings.get(key)) for record in records} for key in ("agent.name", "env.id", "obs")]
    agent, env, obs = (values.pop() if len(values) == 1 else "" for values in shared)
    start = " on ".join(part for part in (agent, env) if part)
    return ", ".join(part for part in (start, obs) if part) or f"{len(records)} runs"
