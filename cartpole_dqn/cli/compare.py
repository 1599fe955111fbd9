"""`compare` compares runs and groups of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from cartpole_dqn.cli import options
from cartpole_dqn.cli.session import Session
from cartpole_dqn.files import replace_file, writing

_BY_SUFFIX = {".md": "markdown", ".json": "json"}


def compare(
    ctx: typer.Context,
    runs: options.Runs,
    group_by: options.GroupBy = None,
    episodes: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Play N episodes with the best and the last model of each run.",
            show_default="play none",
        ),
    ] = None,
    seed: options.Seed = 0,
    score: Annotated[
        Literal["best", "last"],
        options.choice(
            ("best", "last"), help="Compute the probability of improvement from the best or the last models."
        ),
    ] = "best",
    format_: Annotated[
        str | None,
        options.format_choice("table", "markdown", "json"),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write to FILE instead of printing.")] = None,
) -> None:
    """Compare runs, and groups of runs.

    The tables show scores with intervals over seeds, steps and time to solved, and probabilities of improvement.

    Examples:
        cartpole-dqn compare runs/
        cartpole-dqn compare a/ b/ --group-by agent.replay --episodes 100
        cartpole-dqn compare runs/ --out comparison.md
    """
    from cartpole_dqn.studies.comparison import compare as compare_groups
    from cartpole_dqn.studies.grouping import group_records, read_records
    from cartpole_dqn.views.comparison_tables import comparison_text, print_comparison

    form = format_ or _BY_SUFFIX.get(out.suffix.lower() if out else "", "table")
    session: Session = ctx.obj
    records = read_records(runs, session.warn)
    groups = group_records(records, options.group_keys(group_by))
    played = None
    if episodes is not None:
        from cartpole_dqn.studies.playing import play_models

        played = play_models(
            records,
            session.host,
            episodes=episodes,
            seed=seed,
            say=session.say,
            showing=session.showing_evaluation,
        )
    comparison = compare_groups(groups, played, score=score)
    if out is None:
        print_comparison(session.out, comparison, form)
        return
    with writing(out):
        replace_file(out, comparison_text(comparison, form).encode())
    print(out)
