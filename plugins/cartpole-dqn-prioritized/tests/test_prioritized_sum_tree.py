from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from cartpole_dqn_prioritized.sum_tree import SumTree
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

WHOLE = st.integers(0, 2**20).map(float)
"""Sums of these are exact, in whatever order they are made."""
ANY = st.one_of(st.just(0.0), st.floats(1e-30, 1e30), st.floats(0, 1), st.just(5e-324), st.just(1e300))


class SlowTree:
    """The obvious way: a list, walked from its start."""

    def __init__(self, size: int) -> None:
        self.values = [0.0] * size

    def set(self, leaves: list[int], values: list[float]) -> None:
        for leaf, value in zip(leaves, values, strict=True):
            self.values[leaf] = value

    def find(self, place: float) -> int:
        last = max(i for i, value in enumerate(self.values) if value > 0)
        ends = itertools.accumulate(self.values)
        return next((i for i, end in enumerate(ends) if end > max(place, 0)), last)


@st.composite
def changes(draw: st.DrawFn, values: st.SearchStrategy[float]) -> tuple[int, list[tuple[list[int], list[float]]]]:
    """A size, and batches of leaves with their new values; a leaf may come twice in a batch."""
    size = draw(st.sampled_from([1, 2, 15, 16, 17, 200, 256, 257, 5000]))
    pairs = st.lists(st.tuples(st.integers(0, size - 1), values), min_size=1, max_size=40)
    batches = draw(st.lists(pairs, min_size=1, max_size=6))
    return size, [([leaf for leaf, _ in batch], [value for _, value in batch]) for batch in batches]


def tree_of(values: NDArray[np.float64]) -> SumTree:
    tree = SumTree(len(values))
    tree.set(np.arange(len(values)), values)
    return tree


@given(changes(WHOLE), st.lists(st.floats(-0.1, 1.1), min_size=1, max_size=40), st.booleans())
def test_it_is_the_slow_list_to_the_last_bit(
    case: tuple[int, list[tuple[list[int], list[float]]]], shares: list[float], eager: bool
) -> None:
    size, batches = case
    tree, slow = SumTree(size), SlowTree(size)
    for leaves, values in batches:
        tree.set(np.array(leaves), np.array(values))
        slow.set(leaves, values)
        if eager:  # read between changes, or only after all of them
            assert tree.total == sum(slow.values)
    assert tree.values.tolist() == slow.values
    assert tree.total == sum(slow.values)
    if tree.total > 0:
        edges = [float(end) for end in itertools.accumulate(slow.values[:20])]
        places = np.array([share * tree.total for share in shares] + edges)
        assert tree.find(places).tolist() == [slow.find(place) for place in places]


@given(changes(ANY), st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_any_values_never_drift_and_never_find_nothing(
    case: tuple[int, list[tuple[list[int], list[float]]]], shares: list[float]
) -> None:
    size, batches = case
    tree = SumTree(size)
    for leaves, values in batches:
        tree.set(leaves, np.array(values))
        _ = tree.total
    fresh = tree_of(tree.values)
    assert tree.total == fresh.total
    assert math.isclose(tree.total, math.fsum(tree.values), rel_tol=1e-13, abs_tol=0)
    if tree.total > 0:
        places = np.array(shares) * tree.total
        found = tree.find(places)
        assert np.array_equal(found, fresh.find(places))
        assert (tree.values[found] > 0).all()
        ends = np.cumsum(tree.values)
        slack = 1e-12 * tree.total
        assert (ends[found] >= places - slack).all()
        assert (ends[found] - tree.values[found] <= places + slack).all()


def test_many_changes_without_a_question_are_not_remembered_for_ever() -> None:
    tree = SumTree(50)
    for i in range(1000):
        tree.set([i % 50], float(i))
        assert len(tree._stale) <= 50
    assert tree.total == sum(range(950, 1000))


def test_wrong_leaves_and_values_are_refused_and_change_nothing() -> None:
    tree = tree_of(np.array([1.0, 2.0, 3.0]))
    for leaves in ([3], [-1], [0, 17]):
        with pytest.raises(IndexError, match="leaves 0 to 2"):
            tree.set(leaves, 5.0)
    for value in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="finite values of 0 or more"):
            tree.set([0], value)
        with pytest.raises(ValueError, match="finite values of 0 or more"):
            tree.set(np.array([0, 1]), np.array([7.0, value]))
    assert tree.values.tolist() == [1.0, 2.0, 3.0]
    assert tree.total == 6.0
    with pytest.raises(ValueError, match="read-only"):
        tree.values[0] = 9.0


def test_nothing_to_find() -> None:
    with pytest.raises(ValueError, match="every value is 0"):
        SumTree(10).find(np.zeros(1))
    with pytest.raises(ValueError, match="size of 1 or more, got 0"):
        SumTree(0)


@pytest.mark.parametrize(("size", "levels"), [(1, 1), (16, 1), (17, 2), (1000, 3), (50_000, 4), (1_000_000, 5)])
def test_the_height_is_logarithmic(size: int, levels: int) -> None:
    assert SumTree.bytes_needed(size) < 8 * (size * 16 / 15 + 16 * levels)
    if size <= 50_000:
        tree = SumTree(size)
        assert len(tree) == size
        assert len(tree._levels) == levels
        assert tree.nbytes == SumTree.bytes_needed(size)
