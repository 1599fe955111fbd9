"""How a report looks: what is known of a run -> the text of one HTML page.

* `report_page`: a `Report` -> its page.

The page asks for nothing beyond itself: pictures are in it, it has no script, and a policy forbids loading anything.
Whatever comes from a run's folder is escaped by `observers.markup`.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterator
from datetime import UTC, datetime

from cartpole_dqn.contracts.events import Evaluation
from cartpole_dqn.system import __version__
from cartpole_dqn.text.figures import duration, number
from cartpole_dqn.text.markup import Html, count_of, data_uri, rows_table, section, tag
from cartpole_dqn.text.tables import score
from cartpole_dqn.views.report.content import Curves, Play, Report
from cartpole_dqn.views.report.course import alike, course_section, evaluations_section
from cartpole_dqn.views.report.pictures import picture_of_both, spread_of, stages_list, still_of
from cartpole_dqn.views.report.setup import commands_section, configuration_section, made_with_section, table_at


def report_page(report: Report) -> str:
    """Return the page of a run."""
    style = importlib.resources.files("cartpole_dqn.views.report").joinpath("report.css").read_text(encoding="utf-8")
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="generator", content=f"cartpole-dqn {__version__}"),
        tag("title", f"{report.title}: {report.name}"),
        tag("style", Html(style)),
    )
    body = tag("body", _head(report), tag("main", *_sections(report)), _foot(report))
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def _sections(report: Report) -> Iterator[Html]:
    yield _tiles(report)
    if report.missing:
        sentences = tag("ul", *(tag("li", text) for text in report.missing))
        yield section("What is missing on this page", sentences, class_="missing")
    if report.play is not None:
        yield _play_section(report, report.play)
    if report.curves is not None:
        yield _curves_section(report.curves)
    if report.stages:
        said = "The same moment after each of the observation's wrappers: what each of them hands to the next."
        yield section("What the agent sees", tag("p", said), stages_list(report.stages, report.names), class_="long")
    if report.evaluation is not None:
        yield _evaluation_section(report, report.evaluation)
    if report.history is not None:
        yield evaluations_section(report.history)
        yield course_section(report.history)
    yield configuration_section(report)
    yield made_with_section(report)
    yield commands_section(report)


# Head and foot --------------------------------------------------------------------------------------------------------

_STATES = {
    "running": "still running when this page was made",
    "interrupted": "interrupted before its end",
    "failed": "ended by a failure",
    "killed": "killed before its end",
}


def _head(report: Report) -> Html:
    """Return what was trained, and what came of it in a sentence."""
    agent, env = table_at(report.settings, "agent").get("name"), table_at(report.settings, "env").get("id")
    obs, preset, seed = (report.settings.get(key) for key in ("obs", "preset", "seed"))
    about = [f"observing {obs}", f"preset {preset}" if preset else "no preset", f"seed {seed}"]
    if report.summary.started is not None:
        about.append(_date(report.summary.started))
    if report.summary.state in _STATES:
        about.append(_STATES[report.summary.state])
    return tag(
        "header",
        tag("h1", f"{agent} on {env}"),
        tag("p", " · ".join([*about, report.name]), class_="about"),
        tag("p", _outcome(report), class_="lead"),
    )


def _outcome(report: Report) -> str:
    """Return whether it was solved, in a sentence or two."""
    solved = report.summary.solved_step
    threshold = "" if report.solved_at is None else f" a mean of {score(report.solved_at)}"
    if solved is not None:
        played = _confirmation(report, solved)
        return f"Solved at step {solved:,}: a model reached{threshold or ' the threshold'} and was confirmed{played}."
    if report.solved_at is not None and report.history is not None:
        return f"Not solved: no model was confirmed to reach{threshold}."
    return ""


def _confirmation(report: Report, step: int) -> str:
    if report.history is None:
        return ""
    for at, returns in zip(report.history.confirmation_step, report.history.confirmation_returns, strict=True):
        if at == step and returns:
            return f" on {len(returns)} further episodes with a mean of {score(sum(returns) / len(returns))}"
    return ""


def _tiles(report: Report) -> Html:
    """Return the figures that a reader wants first."""
    run, history, found = report.summary, report.history, report.evaluation
    tiles = []
    if found is not None:
        mean, std = alike((found.mean, found.std))
        said = f"± {std} over {count_of(len(found.returns), 'greedy episode')} on report seeds"
        tiles.append(("Mean return", mean, f"{said}, {report.which} model of step {found.step:,}"))
    if run.solved_step is not None:
        tiles.append(("Solved", f"step {run.solved_step:,}", "the first model that was confirmed"))
    if run.best is not None:
        how = (
            "confirmed" if history is not None and history.best_has_confirmation else "in the evaluation that chose it"
        )
        tiles.append(("Kept as best", score(run.best), f"{how}, step {number(run.best_step)}"))
    trained = f"{run.step:,} steps"
    more = [f"of {run.steps:,}"] if run.steps is not None and run.step < run.steps else []
    if history is not None:
        more.append(count_of(len(history.returns), "episode"))
        seconds = history.end[1] if history.end else next(iter(history.seconds[::-1]), float("nan"))
        more.append(f"{duration(float(seconds))} of training")
    tiles.append(("Trained", trained, ", ".join(more)))
    made = [
        tag("div", tag("dt", name), tag("dd", figure, class_="figure"), tag("dd", text, class_="said"), class_="tile")
        for name, figure, text in tiles
    ]
    return tag("dl", *made, class_="tiles")


def _foot(report: Report) -> Html:
    made = f"Made by cartpole-dqn {__version__} on {_date(report.now)}. This page loads nothing from anywhere."
    return tag("footer", tag("p", made))


# What came of it ------------------------------------------------------------------------------------------------------


def _play_section(report: Report, play: Play) -> Html:
    end = "and went on from there" if play.cut else "to its end"
    said = f"The {report.which} model in the first episode of the report seeds of {report.seed}: "
    said += f"{count_of(play.steps, 'step')}, return {number(play.total)}, {end}."
    # For those who want no motion, and for paper, its first picture.
    still = tag("source", srcset=data_uri(still_of(play.gif), "image/png"), media="print, (prefers-reduced-motion)")
    image = tag("img", src=data_uri(play.gif, "image/gif"), alt="The environment, what the agent sees, and its values")
    return section("At play", tag("p", said), tag("figure", tag("picture", still, image), class_="play"))


def _curves_section(curves: Curves) -> Html:
    said = (
        "Every training episode with the exploration that training has, and greedy evaluations on seeds of their own."
    )
    alt = "Returns, evaluations, loss and epsilon over environment steps"
    picture = picture_of_both(curves.light, curves.dark, curves.kind, alt)
    return section("Curves", tag("p", said), tag("div", tag("figure", picture, class_="chart"), class_="wide"))


def _evaluation_section(report: Report, found: Evaluation) -> Html:
    said = (
        f"The {report.which} model, trained for {found.step:,} steps, played {count_of(len(found.returns), 'episode')} "
        f"greedily when this page was made, reset with the report seeds of {report.seed}: neither training nor the "
        f"choice of the model ever saw them."
    )
    returns = sorted(found.returns)
    middle = (returns[(len(returns) - 1) // 2] + returns[len(returns) // 2]) / 2
    figures = (found.mean, found.std, returns[0], middle, returns[-1], sum(found.lengths) / len(found.lengths))
    columns = ("mean", "std", "least", "median", "greatest", "mean length")
    table = rows_table(columns, [alike(figures)], left=0)
    return section("How good it is", tag("p", said), table, spread_of(found.returns))


def _date(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, ValueError, OSError):
        return "an unknown date"
