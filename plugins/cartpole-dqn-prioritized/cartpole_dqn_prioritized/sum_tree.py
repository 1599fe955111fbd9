"""`SumTree`: values at numbered leaves; changes or finds a batch of them in O(log n) steps.

Every node is the sum of the sixteen below it. A wide tree is a low one, and in NumPy a level costs a few calls however
many nodes it has: 50,000 leaves are 4 levels, a million are 5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FAN_OUT = 16


class SumTree:
    """Values at the leaves 0 to `size` - 1, all 0 at first, and their sums in float64.

    Each sum is computed again from the values below it, never updated by differences. So the tree equals a new one with
    the same values to the last bit, whatever was changed before.

    Args:
        size: the number of leaves, 1 or more.

    Raises:
        ValueError: there would be no leaf.
    """

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"SumTree expected a size of 1 or more, got {size}.")
        self._size = size
        self._levels = [np.zeros((rows, FAN_OUT)) for rows in _rows(size)]
        self._flat = [level.reshape(-1) for level in self._levels]
        self._total = 0.0
        # Leaves whose change did not reach the sums yet: they are remade together, when somebody asks.
        self._stale: list[int] = []

    @staticmethod
    def bytes_needed(size: int) -> int:
        """Return the bytes that a tree of `size` leaves takes, without building it."""
        return sum(rows * FAN_OUT * 8 for rows in _rows(size))

    def __len__(self) -> int:
        """The number of leaves."""
        return self._size

    @property
    def nbytes(self) -> int:
        """Bytes of memory taken."""
        return sum(level.nbytes for level in self._levels)

    @property
    def values(self) -> NDArray[np.float64]:
        """[size]: every leaf's value; a view, to be read only."""
        view = self._flat[0][: self._size]
        view.flags.writeable = False
        return view

    @property
    def total(self) -> float:
        """The sum of all values."""
        self._refresh()
        return self._total

    def set(self, leaves: Sequence[int] | NDArray[np.int64], values: float | NDArray[np.float64]) -> None:
        """Change the values of `leaves` [K]; where a leaf comes twice, the last of its values counts.

        Args:
            leaves: from 0 to `size` - 1.
            values: one for all or [K]; finite, 0 or more.

        Raises:
            ValueError: a value is below 0 or not finite. Nothing was changed then.
            IndexError: there is no such leaf. Nothing was changed then.
        """
        chosen = leaves if isinstance(leaves, list) else np.asarray(leaves, np.int64).tolist()
        if chosen and (min(chosen) < 0 or max(chosen) >= self._size):
            raise IndexError(f"SumTree has the leaves 0 to {self._size - 1}, got {min(chosen)} to {max(chosen)}.")
        sound = 0 <= values < math.inf if isinstance(values, float) else ((values >= 0) & (values < math.inf)).all()
        if not sound:
            raise ValueError(f"SumTree expected finite values of 0 or more, got {values}.")
        self._flat[0][chosen] = values
        self._stale += chosen
        if len(self._stale) > self._size:
            self._refresh()

    def find(self, places: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the leaves [K] that cover `places` [K] when all values are laid end to end in the leaves' order.

        A leaf of value 0 covers nothing and is never found. A place beyond either end counts as that end.

        Raises:
            ValueError: every value is 0.
        """
        if not self.total > 0:
            raise ValueError("SumTree.find: every value is 0, so that no leaf covers any place.")
        left = np.maximum(places, 0.0)
        each = np.arange(len(left))
        before = np.zeros((len(left), FAN_OUT + 1))
        nodes = np.zeros(len(left), np.int64)
        for level in reversed(self._levels):
            ends = before[:, 1:]
            level.take(nodes, axis=0).cumsum(axis=1, out=ends)
            # What is left may have been rounded up to the node's own sum, where no child would cover it.
            left = np.minimum(left, np.nextafter(ends[:, -1], 0.0))
            children = (ends > left[:, None]).argmax(axis=1)
            left = left - before[each, children]
            nodes = nodes * FAN_OUT + children
        return nodes

    def _refresh(self) -> None:
        """Remake the sums above every changed leaf."""
        if not self._stale:
            return
        nodes: NDArray[np.int64] = np.array(self._stale, np.int64)
        self._stale = []
        for height, level in enumerate(self._levels):
            nodes = nodes // FAN_OUT
            if len(nodes) > len(level):
                nodes = np.arange(len(level))
            # A running sum adds from left to right, as `find` does: both see the same bits.
            sums = level.take(nodes, axis=0).cumsum(axis=1)[:, -1]
            if height + 1 < len(self._levels):
                self._flat[height + 1][nodes] = sums
            else:
                self._total = float(sums[0])


def _rows(size: int) -> list[int]:
    """Return how many rows of sixteen each level has, from the leaves to the single row at the top."""
    rows = [-(-size // FAN_OUT)]
    while rows[-1] > 1:
        rows.append(-(-rows[-1] // FAN_OUT))
    return rows
