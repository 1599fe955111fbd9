"""`compare` compares runs and groups of runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cartpole_dqn.cli import options
from cartpole_dqn.cli.session import Session
from cartpole_dqn.files import replace_file, writing

if TYPE_CHECKING:
    from cartpole_dqn.studies.comparison import Played, Scores, Source
    from cartpole_dqn.studies.grouping import Record
    from cartpole_dqn.training.models import Which

COMPARE_EXAMPLES = (
    "cartpole-dqn compare runs/\n"
    "cartpole-dqn compare a/ b/ --group-by agent.replay --episodes 100\n"
    "cartpole-dqn compare runs/ --out comparison.md"
)

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
        options.choice(
            ("table", "markdown", "json"),
            "--format",
            help="Output format.",
            show_default="by the suffix of --out, or table",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write to FILE instead of printing.")] = None,
) -> None:
    """Compare runs, and groups of runs.

    The tables show scores with intervals over seeds, steps and time to solved, and probabilities of improvement.
    """
    from cartpole_dqn.studies.comparison import compare as compare_groups
    from cartpole_dqn.studies.comparison import kept_scores
    from cartpole_dqn.studies.grouping import group_records
    from cartpole_dqn.views.comparison_tables import comparison_text, print_comparison

    form = format_ or _BY_SUFFIX.get(out.suffix.lower() if out else "", "table")
    session: Session = ctx.obj
    records = options.read_records(session, runs)
    groups = group_records(records, options.group_keys(group_by))
    scores = kept_scores(records) if episodes is None else _play(session, records, episodes, seed)
    source: Source = "metrics" if episodes is None else "played"
    comparison = compare_groups(groups, scores, source, score=score)
    if out is None:
        print_comparison(session.out, comparison, form)
        return
    with writing(out):
        replace_file(out, comparison_text(comparison, form).encode())
    print(out)


def _play(session: Session, records: Sequence[Record], episodes: int, seed: int) -> dict[Path, Scores]:
    """Play the models of every run on held-out seeds. A run without models has no scores."""
    from cartpole_dqn.runs.checkpoint import has_state
    from cartpole_dqn.runs.folder import RunFolder
    from cartpole_dqn.studies.comparison import Played, Scores
    from cartpole_dqn.training.models import SavedRun, evaluate_run
    from cartpole_dqn.training.resolve import read_config

    scores = {}
    for i, record in enumerate(records, start=1):
        folder = RunFolder(record.path)
        played: dict[Which, Played | None] = {}
        places: dict[Which, Path] = {"last": folder.checkpoint, "best": folder.best}
        for which, place in places.items():
            if has_state(place):
                session.say(f"{record.name}, {which} model ({i} of {len(records)})")
                run = SavedRun(folder, read_config(folder, session.host), session.host)
                with session.showing_evaluation() as told:
                    found = evaluate_run(run, episodes=episodes, seed=seed, which=which, told=told)
                played[which] = Played.of(found.returns)
        scores[record.path] = Scores(played.get("best", played.get("last")), played.get("last"))
    return scores
