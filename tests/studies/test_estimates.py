"""Each estimate beside the same thing written out run by run."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartpole_dqn.studies.estimates import (
    bootstrap_improvements,
    bootstrap_means,
    interquartile_mean,
    interval,
    median_of_reached,
    probability_of_improvement,
)

Scores = st.lists(st.integers(-20, 20).map(float), min_size=1, max_size=9)
Pairs = st.lists(st.tuples(Scores, Scores), min_size=1, max_size=3)


def arrays(strata: Sequence[Sequence[float]]) -> list[np.ndarray]:
    return [np.array(scores) for scores in strata]


def slow_mean(scores: Sequence[float]) -> float:
    quarter = math.floor(0.25 * len(scores))
    middle = sorted(scores)[quarter : len(scores) - quarter]
    return sum(middle) / len(middle)


def slow_improvement(xs: Sequence[Sequence[float]], ys: Sequence[Sequence[float]]) -> float:
    chances = []
    for x, y in zip(xs, ys, strict=True):
        wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a in x for b in y]
        chances.append(sum(wins) / len(wins))
    return sum(chances) / len(chances)


@given(Scores)
def test_interquartile_mean_equals_the_slow_reference(scores: list[float]) -> None:
    assert interquartile_mean(np.array(scores)) == pytest.approx(slow_mean(scores))


@given(Pairs)
def test_probability_of_improvement_equals_the_slow_reference(pairs: list[tuple[list[float], list[float]]]) -> None:
    xs, ys = [x for x, _ in pairs], [y for _, y in pairs]
    estimate = probability_of_improvement(arrays(xs), arrays(ys))
    assert estimate == pytest.approx(slow_improvement(xs, ys))
    assert estimate + probability_of_improvement(arrays(ys), arrays(xs)) == pytest.approx(1)


@given(Scores, st.integers(0, 5))
def test_bootstrap_of_the_mean_equals_the_slow_reference(scores: list[float], seed: int) -> None:
    drawn = np.random.default_rng(seed).integers(0, len(scores), size=(7, len(scores)))
    slow = [slow_mean([scores[i] for i in picks]) for picks in drawn]
    assert bootstrap_means(np.array(scores), np.random.default_rng(seed), 7).tolist() == pytest.approx(slow)


@given(Pairs, st.integers(0, 5))
def test_bootstrap_of_the_improvement_equals_the_slow_reference(
    pairs: list[tuple[list[float], list[float]]], seed: int
) -> None:
    generator = np.random.default_rng(seed)
    drawn = []
    for x, y in pairs:
        drawn.append([generator.integers(0, len(side), size=(6, len(side))) for side in (x, y)])
    slow = []
    for b in range(6):
        xs = [[x[i] for i in picks[0][b]] for (x, _), picks in zip(pairs, drawn, strict=True)]
        ys = [[y[i] for i in picks[1][b]] for (_, y), picks in zip(pairs, drawn, strict=True)]
        slow.append(slow_improvement(xs, ys))
    fast_xs, fast_ys = arrays([x for x, _ in pairs]), arrays([y for _, y in pairs])
    assert bootstrap_improvements(fast_xs, fast_ys, np.random.default_rng(seed), 6).tolist() == pytest.approx(slow)


def test_interval_leaves_out_as_much_on_either_side() -> None:
    assert interval(np.arange(101.0), 0.9) == pytest.approx((5, 95))
    assert interval(np.array([3.0]), 0.95) == (3, 3)


@given(st.lists(st.none() | st.integers(1, 50).map(float), max_size=9))
def test_median_of_reached_counts_the_others_as_later(times: list[float | None]) -> None:
    estimate = median_of_reached(times)
    known = sorted(time for time in times if time is not None)
    if not times or 2 * len(known) <= len(times):
        assert estimate is None, "half or more were never reached"
    else:
        ordered = known + [math.inf] * (len(times) - len(known))
        middle = [ordered[(len(times) - 1) // 2], ordered[len(times) // 2]]
        assert estimate == (None if math.inf in middle else sum(middle) / 2)
        assert estimate is None or estimate >= np.median(known), "never earlier than among those alone that reached it"
