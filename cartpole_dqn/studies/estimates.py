"""Statistics over a few seeds, with stratified bootstrap intervals.

* `interquartile_mean`, `probability_of_improvement`: estimates from scores.
* `bootstrap_means`, `bootstrap_improvements`: the same on resampled runs. `interval`: percentiles of these.
* `score_of`: the score that a shared agent claims, with its 95 % interval. `holds`: whether a claimed score holds.
* `median_of_reached`: the median of times, some of which were never reached.

The strata are tasks (environments). Source: Agarwal et al., "Deep reinforcement learning at the edge of the statistical
precipice", 2021.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cartpole_dqn.contracts.events import Evaluation
from cartpole_dqn.contracts.seeding import SeedTree
from cartpole_dqn.runs.shared import Score

Floats = NDArray[np.float64]
Strata = Sequence[Floats]
"""Scores [R_t] of the runs on each task t."""
_FEWEST = 10
"""Episodes from which an interval of the mean says something."""


def interquartile_mean(scores: Floats) -> float:
    """Return the mean without the lowest and the highest quarter of the scores (whole runs, rounded down)."""
    return float(_middle_means(scores[None])[0])


def probability_of_improvement(xs: Strata, ys: Strata) -> float:
    """Return the probability that a run of `xs` scores higher than a run of `ys`; equal scores count half.

    It is the mean over tasks of the mean over all pairs. `xs` and `ys` have the same tasks in the same order.
    """
    return float(np.mean([_higher(x, y).mean() for x, y in zip(xs, ys, strict=True)]))


def bootstrap_means(scores: Floats, generator: np.random.Generator, resamples: int) -> Floats:
    """Return the interquartile means of runs resampled with replacement: [resamples]."""
    return _middle_means(scores[_draw(generator, resamples, len(scores))])


def bootstrap_improvements(xs: Strata, ys: Strata, generator: np.random.Generator, resamples: int) -> Floats:
    """Return the probabilities of improvement of runs resampled with replacement within tasks: [resamples]."""
    chances = []
    for x, y in zip(xs, ys, strict=True):
        # Counting how often each run was drawn avoids a list of all pairs.
        often_x = _frequencies(_draw(generator, resamples, len(x)), len(x))
        often_y = _frequencies(_draw(generator, resamples, len(y)), len(y))
        chances.append(((often_x @ _higher(x, y)) * often_y).sum(axis=1) / (len(x) * len(y)))
    means: Floats = np.mean(chances, axis=0)
    return means


def interval(values: Floats, confidence: float) -> tuple[float, float]:
    """Return the two-sided percentile interval: percentiles 2.5 and 97.5 for a confidence of 0.95."""
    outside = (1 - confidence) / 2
    low, high = np.quantile(values, [outside, 1 - outside])
    return float(low), float(high)


def score_of(evaluation: Evaluation, seed: int) -> Score:
    """Return the score of an evaluation on held-out seeds, with an interval from 10,000 resamples."""
    returns, generator = np.asarray(evaluation.returns, dtype=np.float64), SeedTree(seed).numpy("score")
    means = np.concatenate([returns[_draw(generator, 1_000, len(returns))].mean(axis=1) for _ in range(10)])
    low, high = interval(means, 0.95)
    mean = evaluation.mean
    low, high = min(low, mean), max(high, mean)  # Rounding may put a mean of equal returns beside them.
    return Score(mean=mean, std=evaluation.std, low=low, high=high, episodes=len(returns), seed=seed)


def holds(claimed: Score, measured: Score) -> bool | None:
    """Return whether a claimed score holds: False if the interval here is below the claimed one.

    None if there are too few episodes here to tell.
    """
    if measured.episodes < _FEWEST:
        return None
    return measured.high >= claimed.low


def median_of_reached(times: Sequence[float | None]) -> float | None:
    """Return the median, with None counted as later than any time. Return None if the median is not reached."""
    ordered = sorted(float("inf") if time is None else time for time in times)
    if not ordered:
        return None
    median = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    return median if np.isfinite(median) else None


def _middle_means(scores: Floats) -> Floats:
    """Return the mean of the middle half of each row: [B, n] -> [B]."""
    cut = scores.shape[1] // 4
    ordered = np.sort(scores, axis=1)
    means: Floats = ordered[:, cut : scores.shape[1] - cut].mean(axis=1)
    return means


def _higher(x: Floats, y: Floats) -> Floats:
    """Return 1 where x is higher, 0.5 where equal, else 0, for each pair: [R_x, R_y]."""
    pairs: Floats = (x[:, None] > y[None]) + 0.5 * (x[:, None] == y[None])
    return pairs


def _draw(generator: np.random.Generator, count: int, runs: int) -> NDArray[np.int64]:
    return generator.integers(0, runs, size=(count, runs))


def _frequencies(samples: NDArray[np.int64], runs: int) -> Floats:
    """Return how often each run is in each row: [B, n] -> [B, runs]."""
    rows = np.arange(len(samples))[:, None] * runs
    counts = np.bincount((rows + samples).ravel(), minlength=len(samples) * runs)
    return counts.reshape(len(samples), runs).astype(np.float64)
