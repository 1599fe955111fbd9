"""Runs beside each other, and groups of runs over their seeds.

* `compare`: groups of runs and the scores of their models -> `Comparison`.
* `kept_scores`: the scores that the runs' folders already hold, and where these come from.
* `Comparison`: a `RunScore` a run, a `GroupScore` a group, an `Improvement` a pair of groups, and notes.

A run has two scores: `best`, the mean return of the model in `best/`, and `last`, that of the last model. Where both
were played on report seeds for every run and kept (`report.json`, as `benchmark learning` leaves it), those figures
are taken; else the evaluations made during training. How they become figures of a group is in `estimates`.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cartpole_dqn.contracts.seeding import SeedTree
from cartpole_dqn.runs.folder import RunFolder, run_state
from cartpole_dqn.studies.estimates import (
    Floats,
    bootstrap_improvements,
    bootstrap_means,
    interquartile_mean,
    interval,
    median_of_reached,
    probability_of_improvement,
)
from cartpole_dqn.studies.grouping import Group, Record, has_effect

Source = Literal["played", "report", "metrics"]
Score = Literal["best", "last"]

CONFIDENCE = 0.95
RESAMPLES = 10_000

_FEW = 5
"""Fewer runs than this give intervals that are plainly too narrow."""


@dataclass(frozen=True)
class Scores:
    """Mean returns of a run's models, None where there is none, and over how many episodes each was taken."""

    best: float | None = None
    last: float | None = None
    best_episodes: int = 0
    last_episodes: int = 0


@dataclass(frozen=True)
class RunScore:
    """A run: its scores, and when it was solved. Seconds are of training alone, `*_wall` with evaluations."""

    name: str
    path: Path
    group: str
    env: str
    seed: Any
    state: str
    step: int
    best: float | None
    best_episodes: int
    last: float | None
    last_episodes: int
    solved_step: int | None
    solved_seconds: float | None
    solved_wall: float | None


@dataclass(frozen=True)
class Estimate:
    """A figure and its interval, where there is more than one run to draw from."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class GroupScore:
    """A group: interquartile means over its runs, how many were solved, and medians of when.

    A run that was not solved counts as later than any, so a median is None where half of the runs or more were not.
    """

    label: str
    settings: Mapping[str, Any]
    runs: int
    best: Estimate | None
    last: Estimate | None
    solved: int
    solved_step: float | None
    solved_seconds: float | None
    solved_wall: float | None


@dataclass(frozen=True)
class Improvement:
    """The chance that a run of `group` scores higher than one of `over`."""

    group: str
    over: str
    chance: Estimate


@dataclass(frozen=True)
class Comparison:
    """Runs and groups beside each other."""

    source: Source
    score: Score
    """Which score improvements are about."""
    runs: tuple[RunScore, ...]
    groups: tuple[GroupScore, ...]
    improvements: tuple[Improvement, ...]
    notes: tuple[str, ...] = field(default=())
    """What to know before believing the figures, in sentences."""
    confidence: float = CONFIDENCE
    resamples: int = RESAMPLES
    seed: int = 0


def compare(
    groups: Sequence[Group],
    scores: Mapping[Path, Scores],
    source: Source,
    *,
    score: Score = "best",
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Comparison:
    """Compare groups of runs.

    Args:
        groups: the runs.
        scores: each run's, by its `Record.path`.
        source: where the scores come from.
        score: which of the two the chances of improvement are about.
        seed: where the intervals' draws come from: equal seeds give equal intervals.
        resamples: how often runs are drawn again.
    """
    runs = {group.label: [_run_score(r, group.label, scores[r.path]) for r in group.records] for group in groups}
    seeds = SeedTree(seed).child("compare")
    group_scores = tuple(_group_score(group, runs[group.label], seeds, resamples) for group in groups)
    improvements = []
    for i, group in enumerate(groups):
        for other in groups[i + 1 :]:
            found = _improvement(runs[group.label], runs[other.label], score, seeds, resamples)
            if found is not None:
                improvements.append(Improvement(group.label, other.label, found))
    notes = [note for group in groups for note in _group_notes(group)]
    every = [run for members in runs.values() for run in members]
    return Comparison(
        source=source,
        score=score,
        runs=tuple(every),
        groups=group_scores,
        improvements=tuple(improvements),
        notes=(*_run_notes(every), *notes, *_few(group_scores)),
        resamples=resamples,
        seed=seed,
    )


def kept_scores(records: Sequence[Record]) -> tuple[dict[Path, Scores], Source]:
    """Return what the runs' folders hold: reports where every run has one that is up to date, else evaluations."""
    reports = {record.path: _report(record.path) for record in records}
    if reports and all(reports.values()):
        return {path: report for path, report in reports.items() if report is not None}, "report"
    return {record.path: _evaluated(record) for record in records}, "metrics"


# Runs -----------------------------------------------------------------------------------------------------------------


def _report(path: Path) -> Scores | None:
    """Return the scores in `report.json`; None where it is missing, damaged, or older than a model."""
    report, folder = path / "report.json", RunFolder(path)
    try:
        written = report.stat().st_mtime
        models = [place / "state.json" for place in (folder.best, folder.checkpoint)]
        if any(model.stat().st_mtime > written for model in models if model.exists()):
            return None
        table = json.loads(report.read_text(encoding="utf-8"))
        best, last = table["best"], table["last"]
        return Scores(float(best["mean"]), float(last["mean"]), int(best["episodes"]), int(last["episodes"]))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def _evaluated(record: Record) -> Scores:
    best, last = record.history.best_returns, record.history.last_returns
    return Scores(_mean(best), _mean(last), len(best), len(last))


def _mean(returns: Sequence[float]) -> float | None:
    mean = float(np.mean(returns)) if returns else math.nan
    return mean if math.isfinite(mean) else None


def _run_score(record: Record, label: str, scores: Scores) -> RunScore:
    history, status = record.history, run_state(record.path)
    solved = history.solved_step
    seconds = None if solved is None else history.seconds_at(solved)
    wall = None if solved is None or seconds is None else seconds + history.evaluating_until(solved)
    told = [float(history.step[-1])] if len(history.step) else []
    return RunScore(
        name=record.name,
        path=record.path,
        group=label,
        env=record.env,
        seed=record.seed,
        state=status.state,
        step=int(max([status.step, *told, *([history.end[0]] if history.end else [])])),
        best=scores.best,
        best_episodes=scores.best_episodes,
        last=scores.last,
        last_episodes=scores.last_episodes,
        solved_step=solved,
        solved_seconds=seconds if seconds is not None and math.isfinite(seconds) else None,
        solved_wall=wall if wall is not None and math.isfinite(wall) else None,
    )


# Groups ---------------------------------------------------------------------------------------------------------------


def _group_score(group: Group, runs: Sequence[RunScore], seeds: SeedTree, resamples: int) -> GroupScore:
    return GroupScore(
        label=group.label,
        settings=group.settings,
        runs=len(runs),
        best=_estimate(_strata(runs, "best"), seeds.child(group.label).numpy("best"), resamples),
        last=_estimate(_strata(runs, "last"), seeds.child(group.label).numpy("last"), resamples),
        solved=sum(run.solved_step is not None for run in runs),
        solved_step=median_of_reached([run.solved_step for run in runs]),
        solved_seconds=median_of_reached([run.solved_seconds for run in runs]),
        solved_wall=median_of_reached([run.solved_wall for run in runs]),
    )


def _strata(runs: Sequence[RunScore], score: Score) -> dict[str, Floats]:
    """Return the known scores by environment."""
    found: dict[str, list[float]] = {}
    for run in runs:
        value = run.best if score == "best" else run.last
        if value is not None:
            found.setdefault(run.env, []).append(value)
    return {env: np.array(values) for env, values in found.items()}


def _estimate(strata: Mapping[str, Floats], generator: np.random.Generator, resamples: int) -> Estimate | None:
    # Returns of different environments have no common scale, and no mean.
    if len(strata) != 1:
        return None
    scores = list(strata.values())
    if len(scores[0]) < 2:
        return Estimate(interquartile_mean(scores))
    return Estimate(interquartile_mean(scores), *interval(bootstrap_means(scores, generator, resamples), CONFIDENCE))


def _improvement(
    xs: Sequence[RunScore], ys: Sequence[RunScore], score: Score, seeds: SeedTree, resamples: int
) -> Estimate | None:
    """Return the chance that one of `xs` scores higher than one of `ys` on an environment that both have."""
    x, y = _strata(xs, score), _strata(ys, score)
    shared = sorted(x.keys() & y.keys())
    if not shared:
        return None
    x_scores, y_scores = [x[env] for env in shared], [y[env] for env in shared]
    chance = probability_of_improvement(x_scores, y_scores)
    if min(map(len, [*x_scores, *y_scores])) < 2:
        return Estimate(chance)
    generator = seeds.child(xs[0].group).child(ys[0].group).numpy("improvement")
    draws = bootstrap_improvements(x_scores, y_scores, generator, resamples)
    return Estimate(chance, *interval(draws, CONFIDENCE))


# Notes ----------------------------------------------------------------------------------------------------------------


def _run_notes(runs: Sequence[RunScore]) -> list[str]:
    notes = []
    steps = [run.step for run in runs]
    if len(set(steps)) > 1:
        notes.append(f"The runs took different numbers of steps: {min(steps):,} to {max(steps):,}.")
    for state, words in (("running", "still under way"), ("killed", "killed"), ("failed", "ended by a failure")):
        names = [run.name for run in runs if run.state == state]
        if names:
            notes.append(f"Not at their end, {words}: {_listed(names)}.")
    without = [run.name for run in runs if run.best is None and run.last is None]
    if without:
        notes.append(f"Never evaluated, so in no mean: {_listed(without)}.")
    return notes


def _group_notes(group: Group) -> list[str]:
    notes = []
    same = Counter(
        (str(record.seed), *(f"{key}={value}" for key, value in sorted(record.settings.items()) if has_effect(key)))
        for record in group.records
    )
    twice = sorted({seed for (seed, *_), count in same.items() if count > 1})
    if twice:
        notes.append(f"{group.label}: seed {_listed(twice)} came more than once, and one seed gives one run, not two.")
    if len(group.envs) > 1:
        notes.append(f"{group.label}: no mean over different environments ({', '.join(group.envs)}).")
    return notes


def _few(groups: Sequence[GroupScore]) -> list[str]:
    few = [group.label for group in groups if 1 < group.runs < _FEW]
    if not few:
        return []
    return [f"Intervals from fewer than {_FEW} runs are too narrow ({_listed(few)}): read them as a hint."]


def _listed(names: Sequence[str], shown: int = 6) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return "; ".join(names[:shown]) + more
