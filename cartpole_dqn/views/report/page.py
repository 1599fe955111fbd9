"""`report_page`: a `Report` as the text of one HTML page.

Pictures are embedded, there are no scripts, a policy forbids loading anything, and text from a run's folder is escaped.
"""

from __future__ import annotations

import math
import statistics
from datetime import UTC, datetime

from cartpole_dqn.contracts.events import Evaluation
from cartpole_dqn.runs.catalogue import run_title
from cartpole_dqn.runs.history import RunHistory
from cartpole_dqn.system import __version__
from cartpole_dqn.text.figures import alike, count_of, duration, number, score
from cartpole_dqn.text.pages import render
from cartpole_dqn.text.tables import TextTable
from cartpole_dqn.views.report.content import Report
from cartpole_dqn.views.report.course import course_of, evaluations_of
from cartpole_dqn.views.report.pictures import drawn_stage, spread_of
from cartpole_dqn.views.report.setup import (
    commands,
    differences_of,
    made_with,
    parts_of,
    plugins_of,
    preset_of,
    table_at,
)


def report_page(report: Report) -> str:
    """Return the page of a run."""
    evaluation, history = report.evaluation, report.history
    page = render(
        "views/report/report.html.jinja",
        report=report,
        title=run_title(report.settings),
        version=__version__,
        made_at=_date(report.now),
        heading=f"{table_at(report.settings, 'agent').get('name')} on {table_at(report.settings, 'env').get('id')}",
        about=" · ".join(_about(report)),
        outcome=_outcome(report),
        tiles=_tiles(report),
        stages=[drawn_stage(stage) for stage in report.stages],
        evaluation=None if evaluation is None else _evaluation_table(evaluation),
        spread=None if evaluation is None else spread_of(evaluation.returns),
        evaluations=None if history is None else evaluations_of(history),
        course=None if history is None else course_of(history),
        than=preset_of(report),
        differences=differences_of(report),
        parts=parts_of(report.settings),
        plugins=plugins_of(report),
        made_with=made_with(report.environment),
        commands=commands(report.place),
    )
    return page.lstrip()


_STATES = {
    "running": "still running when this page was made",
    "interrupted": "interrupted before its end",
    "failed": "ended by a failure",
    "killed": "killed before its end",
}


def _about(report: Report) -> list[str]:
    obs, preset, seed = (report.settings.get(key) for key in ("obs", "preset", "seed"))
    about = [f"observing {obs}", f"preset {preset}" if preset else "no preset", f"seed {seed}"]
    if report.summary.started is not None:
        about.append(_date(report.summary.started))
    if report.summary.state in _STATES:
        about.append(_STATES[report.summary.state])
    return [*about, report.name]


def _outcome(report: Report) -> str:
    """Return a sentence on whether the run was solved."""
    history = report.history
    if history is None:
        return ""
    threshold = "" if history.solved_at is None else f" a mean of {score(history.solved_at)}"
    if history.solved_step is not None:
        solved = f"Solved at step {history.solved_step:,}: a model reached{threshold or ' the threshold'}"
        return f"{solved} and was confirmed{_confirmation(history, history.solved_step)}."
    return f"Not solved: no model was confirmed to reach{threshold}." if threshold else ""


def _confirmation(history: RunHistory, step: int) -> str:
    for at, returns in zip(history.confirmation_step, history.confirmation_returns, strict=True):
        if at == step and returns:
            return f" on {len(returns)} further episodes with a mean of {score(sum(returns) / len(returns))}"
    return ""


def _tiles(report: Report) -> list[tuple[str, str, str]]:
    """Return the most important figures: name, figure, explanation."""
    run, history, evaluation = report.summary, report.history, report.evaluation
    tiles = []
    if evaluation is not None:
        mean, std = alike((evaluation.mean, evaluation.std))
        episodes_text = f"± {std} over {count_of(len(evaluation.returns), 'greedy episode')} on held-out seeds"
        tiles.append(("Mean return", mean, f"{episodes_text}, {report.which} model of step {evaluation.step:,}"))
    if run.solved_step is not None:
        tiles.append(("Solved", f"step {run.solved_step:,}", "the first model that was confirmed"))
    if run.best is not None:
        confirmed = history is not None and history.best_has_confirmation
        chosen = "as it claims" if run.state == "shared" else "in the evaluation that chose it"
        source = "confirmed" if confirmed else chosen
        tiles.append(("Kept as best", score(run.best), f"{source}, step {number(run.best_step)}"))
    more = [f"of {run.steps:,}"] if run.steps is not None and run.step < run.steps else []
    if history is not None:
        more.append(count_of(len(history.returns), "episode"))
        seconds = history.end[1] if history.end else next(iter(history.seconds[::-1]), math.nan)
        more.append(f"{duration(float(seconds))} of training")
    return [*tiles, ("Trained", f"{run.step:,} steps", ", ".join(more))]


def _evaluation_table(evaluation: Evaluation) -> TextTable:
    returns = evaluation.returns
    middle, length = statistics.median(returns), statistics.fmean(evaluation.lengths)
    figures = (evaluation.mean, evaluation.std, min(returns), middle, max(returns), length)
    columns = ("mean", "std", "least", "median", "greatest", "mean length")
    return TextTable("", columns, (tuple(alike(figures)),), left=0)


def _date(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, ValueError, OSError):
        return "an unknown date"
