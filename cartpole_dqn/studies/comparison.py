"""Runs beside each other, and groups of runs over their seeds.

* `compare`: groups of runs and the scores of their models -> `Comparison`.
* `kept_scores`: the scores of the evaluations that were made during training.
* `Comparison`: a `RunScore` a run, a `GroupScore` a group, an `Improvement` a pair of groups, and notes.

A run has two scores: `best`, the mean return of the model in `best/`, and `last`, that of the last model. How they
become figures of a group is in `estimates`.

There is one answer to how long a run took to be solved: its training seconds up to the step at which the first model
was confirmed (`RunHistory.solved_seconds`). Evaluations are not in it: the better a model is, the longer its episodes
last, so a clock that went on meanwhile would be against what learns well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cartpole_dqn.contracts.seeding import SeedTree
from cartpole_dqn.runs.folder import run_state
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

Source = Literal["played", "metrics"]
Score = Literal["best", "last"]

CONFIDENCE = 0.95
RESAMPLES = 10_000

_FEW = 5
"""Fewer runs than this give intervals that are plainly too narrow."""


@dataclass(frozen=True)
class Played:
    """Greedy episodes of a model: how many, and of their returns the mean, the standard deviation and the lowest."""

    episodes: int
    mean: float
    std: float
    lowest: float

    @classmethod
    def of(cls, returns: Sequence[float]) -> Played | None:
        """Return what these returns come to; None where there are none, or one is not finite."""
        if not returns or not np.isfinite(returns).all():
            return None
        return cls(len(returns), float(np.mean(returns)), float(np.std(returns)), float(min(returns)))


@dataclass(frozen=True)
class Scores:
    """What a run's models reached, None where that is not known."""

    best: Played | None = None
    last: Played | None = None


@dataclass(frozen=True)
class RunScore:
    """A run: its scores, and when it was solved, in steps and in seconds of training."""

    name: str
    path: Path
    group: str
    env: str
    seed: Any
    state: str
    step: int
    best: Played | None
    last: Played | None
    solved_step: int | None
    solved_seconds: float | None


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
    best_lowest: float | None
    """The lowest mean of a run."""
    last: Estimate | None
    last_lowest: float | None
    solved: int
    solved_step: float | None
    solved_seconds: float | None


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


def kept_scores(records: Sequence[Record]) -> dict[Path, Scores]:
    """Return what the evaluations in training tell of each run's models, by its `Record.path`."""
    return {r.path: Scores(Played.of(r.history.best_returns), Played.of(r.history.last_returns)) for r in records}


# Runs and groups ------------------------------------------------------------------------------------------------------


def _run_score(record: Record, label: str, scores: Scores) -> RunScore:
    history, status = record.history, run_state(record.path)
    steps = [status.step, *history.step[-1:], *([history.end[0]] if history.end else [])]
    return RunScore(
        name=record.name,
        path=record.path,
        group=label,
        env=record.env,
        seed=record.seed,
        state=status.state,
        step=int(max(steps)),
        best=scores.best,
        last=scores.last,
        solved_step=history.solved_step,
        solved_seconds=history.solved_seconds,
    )


def _group_score(group: Group, runs: Sequence[RunScore], seeds: SeedTree, resamples: int) -> GroupScore:
    best, last = _only(_strata(runs, "best")), _only(_strata(runs, "last"))
    generators = seeds.child(group.label)
    return GroupScore(
        label=group.label,
        settings=group.settings,
        runs=len(runs),
        best=_estimate(best, generators.numpy("best"), resamples),
        best_lowest=None if best is None else float(best.min()),
        last=_estimate(last, generators.numpy("last"), resamples),
        last_lowest=None if last is None else float(last.min()),
        solved=sum(run.solved_step is not None for run in runs),
        solved_step=median_of_reached([run.solved_step for run in runs]),
        solved_seconds=median_of_reached([run.solved_seconds for run in runs]),
    )


def _strata(runs: Sequence[RunScore], score: Score) -> dict[str, Floats]:
    """Return the known scores by environment."""
    found: dict[str, list[float]] = {}
    for run in runs:
        played = run.best if score == "best" else run.last
        if played is not None:
            found.setdefault(run.env, []).append(played.mean)
    return {env: np.array(values) for env, values in found.items()}


def _only(strata: Mapping[str, Floats]) -> Floats | None:
    """Return the scores of one environment; returns of different ones have no common scale, and no mean."""
    return next(iter(strata.values())) if len(strata) == 1 else None


def _estimate(scores: Floats | None, generator: np.random.Generator, resamples: int) -> Estimate | None:
    if scores is None:
        return None
    if len(scores) < 2:
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
