"""Each estimate beside the same thing written out run by run."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartpole_dqn.studies import estimates
from cartpole_dqn.studies.estimates import (
    bootstrap_improvements,
    bootstrap_means,
    interquartile_mean,
    interval,
    median_of_reached,
    probability_of_improvement,
)

Scores = st.lists(st.integers(-20, 20).map(float), min_size=1, max_size=9)
Strata = st.lists(Scores, min_size=1, max_size=3)
Pairs = st.lists(st.tuples(Scores, Scores), min_size=1, max_size=3)


def arrays(strata: Sequence[Sequence[float]]) -> list[np.ndarray]:
    return [np.array(scores) for scores in strata]


def slow_mean(strata: Sequence[Sequence[float]]) -> float:
    every = sorted(score for scores in strata for score in scores)
    quarter = math.floor(0.25 * len(every))
    middle = every[quarter : len(every) - quarter]
    return sum(middle) / len(middle)


def slow_improvement(xs: Sequence[Sequence[float]], ys: Sequence[Sequence[float]]) -> float:
    chances = []
    for x, y in zip(xs, ys, strict=True):
        wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a in x for b in y]
        chances.append(sum(wins) / len(wins))
    return sum(chances) / len(chances)


@given(Strata)
def test_interquartile_mean_equals_the_slow_reference(strata: list[list[float]]) -> None:
    assert interquartile_mean(arrays(strata)) == pytest.approx(slow_mean(strata))


def test_interquartile_mean_of_known_scores() -> None:
    assert interquartile_mean([np.array([0.0, 1, 2, 100])]) == 1.5
    assert interquartile_mean([np.array([3.0, 1, 2])]) == 2, "nothing is left out of three"
    assert interquartile_mean([np.arange(8.0), np.array([-1000.0, 1000.0])]) == 3.5


@given(Pairs)
def test_probability_of_improvement_equals_the_slow_reference(pairs: list[tuple[list[float], list[float]]]) -> None:
    xs, ys = [x for x, _ in pairs], [y for _, y in pairs]
    found = probability_of_improvement(arrays(xs), arrays(ys))
    assert found == pytest.approx(slow_improvement(xs, ys))
    assert found + probability_of_improvement(arrays(ys), arrays(xs)) == pytest.approx(1)


@given(Strata, st.integers(0, 5))
def test_bootstrap_of_the_mean_equals_the_slow_reference(strata: list[list[float]], seed: int) -> None:
    generator = np.random.default_rng(seed)
    drawn = [generator.integers(0, len(scores), size=(7, len(scores))) for scores in strata]
    slow = [
        slow_mean([[scores[i] for i in picks[b]] for scores, picks in zip(strata, drawn, strict=True)])
        for b in range(7)
    ]
    assert bootstrap_means(arrays(strata), np.random.default_rng(seed), 7).tolist() == pytest.approx(slow)


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


def test_many_draws_are_made_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = [np.arange(10.0)]
    whole = bootstrap_means(scores, np.random.default_rng(0), 1000)
    monkeypatch.setattr(estimates, "_CELLS", 70)
    pieces = bootstrap_means(scores, np.random.default_rng(0), 1000)
    assert len(pieces) == 1000
    assert pieces.tolist() == whole.tolist(), "the same draws, since the generator goes on"
    assert len(bootstrap_improvements(scores, scores, np.random.default_rng(0), 100)) == 100


def test_interval_leaves_out_as_much_on_either_side() -> None:
    assert interval(np.arange(101.0), 0.9) == pytest.approx((5, 95))
    assert interval(np.array([3.0]), 0.95) == (3, 3)


def test_interval_covers_the_mean_of_what_runs_are_drawn_from() -> None:
    """Of 20 runs drawn from a known distribution, about 95 in 100 intervals hold its interquartile mean, which is 0."""
    generator = np.random.default_rng(1)
    held = 0
    for _ in range(200):
        scores = [generator.normal(size=20)]
        low, high = interval(bootstrap_means(scores, generator, 400), 0.95)
        held += low <= 0 <= high
    assert 176 <= held <= 198, "88 to 99 in a hundred"


@given(st.lists(st.none() | st.integers(1, 50).map(float), max_size=9))
def test_median_of_reached_counts_the_others_as_later(times: list[float | None]) -> None:
    found = median_of_reached(times)
    known = sorted(time for time in times if time is not None)
    if not times or 2 * len(known) <= len(times):
        assert found is None, "half or more were never reached"
    else:
        ordered = known + [math.inf] * (len(times) - len(known))
        middle = [ordered[(len(times) - 1) // 2], ordered[len(times) // 2]]
        assert found == (None if math.inf in middle else sum(middle) / 2)
        assert found is None or found >= np.median(known), "never earlier than among those alone that reached it"
