"""Compares groups of runs.

* `compare`: groups of runs -> `Comparison`, from `Scores` of models that were played, or those kept during training.
* `Comparison`: a `RunScore` for each run, a `GroupScore` for each group, an `Improvement` for each pair, and notes.

A run has two scores: the mean returns of its best model (`best`) and of its last (`last`).

The time to solved is the training time until the first model was confirmed (`RunHistory.solved_seconds`). It excludes
evaluations: good models play long episodes, so including them would penalise fast learning.
"""

from __future__ import annotations

import itertools
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

_SEEDS = SeedTree(0).child("compare")
_FEW = 5
"""Intervals from fewer runs are too narrow."""
_SHOWN = 6
"""Names in a note."""


@dataclass(frozen=True)
class Played:
    """Returns of a model's greedy episodes: number, mean, standard deviation and minimum."""

    episodes: int
    mean: float
    std: float
    lowest: float

    @classmethod
    def of(cls, returns: Sequence[float]) -> Played | None:
        """Summarise returns. Return None if there are none, or one is not finite."""
        if not returns or not np.isfinite(returns).all():
            return None
        return cls(len(returns), float(np.mean(returns)), float(np.std(returns)), float(min(returns)))


@dataclass(frozen=True)
class Scores:
    """Scores of a run's models; None if unknown."""

    best: Played | None = None
    last: Played | None = None


@dataclass(frozen=True)
class RunScore:
    """A run: its scores, and the environment steps and training seconds until it was solved."""

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
    """An estimate with its interval. A single run has no interval."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class GroupScore:
    """A group: interquartile means over its runs, number of solved runs, and median times to solved.

    Unsolved runs count as later than any other, so a median is None if half of the runs or more are unsolved.
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
    """The probability that a run of `group` scores higher than a run of `over`."""

    group: str
    over: str
    chance: Estimate


@dataclass(frozen=True)
class Comparison:
    """Scores of runs and groups."""

    source: Source
    score: Score
    """The score that `improvements` compares."""
    runs: tuple[RunScore, ...]
    groups: tuple[GroupScore, ...]
    improvements: tuple[Improvement, ...]
    notes: tuple[str, ...] = field(default=())
    """Caveats, as sentences."""
    confidence: float = CONFIDENCE
    resamples: int = RESAMPLES
    seed: int = 0


def compare(
    groups: Sequence[Group], played: Mapping[Path, Scores] | None = None, *, score: Score = "best"
) -> Comparison:
    """Compare groups of runs.

    Args:
        groups: the runs.
        played: scores by `Record.path`; None takes those of the evaluations during training.
        score: the one that the probabilities of improvement compare.
    """
    runs = {group.label: [_run_score(record, group.label, played) for record in group.records] for group in groups}
    group_scores = tuple(_group_score(group, runs[group.label]) for group in groups)
    improvements = [
        Improvement(label, other, chance)
        for label, other in itertools.combinations(runs, 2)
        if (chance := _improvement(runs[label], runs[other], score)) is not None
    ]
    notes = [note for group in groups for note in _group_notes(group)]
    all_runs = [run for members in runs.values() for run in members]
    return Comparison(
        source="metrics" if played is None else "played",
        score=score,
        runs=tuple(all_runs),
        groups=group_scores,
        improvements=tuple(improvements),
        notes=(*_run_notes(all_runs), *notes, *_interval_notes(group_scores)),
    )


# Runs and groups ------------------------------------------------------------------------------------------------------


def _run_score(record: Record, label: str, played: Mapping[Path, Scores] | None) -> RunScore:
    history, status = record.history, run_state(record.path)
    kept = Scores(Played.of(history.best_returns), Played.of(history.last_returns))
    scores = kept if played is None else played[record.path]
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


def _group_score(group: Group, runs: Sequence[RunScore]) -> GroupScore:
    # Returns of different environments have no common scale, so they have no mean.
    strata = (_strata(runs, "best"), _strata(runs, "last"))
    best, last = (next(iter(scores.values())) if len(scores) == 1 else None for scores in strata)
    generators = _SEEDS.child(group.label)
    return GroupScore(
        label=group.label,
        settings=group.settings,
        runs=len(runs),
        best=_estimate(best, generators.numpy("best")),
        best_lowest=None if best is None else float(best.min()),
        last=_estimate(last, generators.numpy("last")),
        last_lowest=None if last is None else float(last.min()),
        solved=sum(run.solved_step is not None for run in runs),
        solved_step=median_of_reached([run.solved_step for run in runs]),
        solved_seconds=median_of_reached([run.solved_seconds for run in runs]),
    )


def _strata(runs: Sequence[RunScore], score: Score) -> dict[str, Floats]:
    """Return the known scores, by environment."""
    means: dict[str, list[float]] = {}
    for run in runs:
        result = run.best if score == "best" else run.last
        if result is not None:
            means.setdefault(run.env, []).append(result.mean)
    return {env: np.array(values) for env, values in means.items()}


def _estimate(scores: Floats | None, generator: np.random.Generator) -> Estimate | None:
    if scores is None:
        return None
    if len(scores) < 2:
        return Estimate(interquartile_mean(scores))
    return Estimate(interquartile_mean(scores), *interval(bootstrap_means(scores, generator, RESAMPLES), CONFIDENCE))


def _improvement(xs: Sequence[RunScore], ys: Sequence[RunScore], score: Score) -> Estimate | None:
    """Return the probability of improvement on the environments that both have, or None without any."""
    x, y = _strata(xs, score), _strata(ys, score)
    shared = sorted(x.keys() & y.keys())
    if not shared:
        return None
    x_scores, y_scores = [x[env] for env in shared], [y[env] for env in shared]
    chance = probability_of_improvement(x_scores, y_scores)
    if min(map(len, [*x_scores, *y_scores])) < 2:
        return Estimate(chance)
    generator = _SEEDS.child(xs[0].group).child(ys[0].group).numpy("improvement")
    draws = bootstrap_improvements(x_scores, y_scores, generator, RESAMPLES)
    return Estimate(chance, *interval(draws, CONFIDENCE))


# Notes ----------------------------------------------------------------------------------------------------------------


def _run_notes(runs: Sequence[RunScore]) -> list[str]:
    notes = []
    steps = [run.step for run in runs]
    if len(set(steps)) > 1:
        notes.append(f"The runs took different numbers of steps: {min(steps):,} to {max(steps):,}.")
    for state, words in (("running", "still under way"), ("killed", "killed"), ("failed", "failed")):
        names = [run.name for run in runs if run.state == state]
        if names:
            notes.append(f"Not finished ({words}): {_listed(names)}.")
    without = [run.name for run in runs if run.best is None and run.last is None]
    if without:
        notes.append(f"Never evaluated, so not in the means: {_listed(without)}.")
    return notes


def _group_notes(group: Group) -> list[str]:
    notes = []
    occurrences = Counter(
        (str(record.seed), *(f"{key}={value}" for key, value in sorted(record.settings.items()) if has_effect(key)))
        for record in group.records
    )
    twice = sorted({seed for (seed, *_), count in occurrences.items() if count > 1})
    if twice:
        notes.append(f"{group.label}: seed {_listed(twice)} occurs more than once, so its runs are not independent.")
    if len(group.envs) > 1:
        notes.append(f"{group.label}: no mean over different environments ({', '.join(group.envs)}).")
    return notes


def _interval_notes(groups: Sequence[GroupScore]) -> list[str]:
    few = [group.label for group in groups if 1 < group.runs < _FEW]
    note = f"Intervals from fewer than {_FEW} runs are too narrow ({_listed(few)}): read them as a hint."
    return [note] if few else []


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return "; ".join(names[:_SHOWN]) + more
