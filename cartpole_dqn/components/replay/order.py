"""`Order`: the valid transitions of a `TransitionRing` in order, found by rank in constant time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Order:
    """The indices of the valid transitions, lane by lane, oldest first within each lane.

    Args:
        queue: [slots] int64, the ring's array: one circular queue per lane.
        lanes: the number of lanes, which share it evenly.
    """

    def __init__(self, queue: NDArray[np.int64], lanes: int) -> None:
        self._queue = queue
        self._lanes = lanes
        self._length = len(queue) // lanes
        self.clear()

    def clear(self) -> None:
        """Drop everything."""
        self._starts = [0] * self._lanes  # the start of each lane's queue in its part of the array
        self._counts = [0] * self._lanes
        self._total = 0

    def __len__(self) -> int:
        return self._total

    def push(self, lane: int, index: int) -> None:
        """Append the lane's newest valid transition."""
        self._queue[lane * self._length + (self._starts[lane] + self._counts[lane]) % self._length] = index
        self._counts[lane] += 1
        self._total += 1

    def drop(self, lane: int) -> None:
        """Drop the lane's oldest valid transition."""
        self._starts[lane] = (self._starts[lane] + 1) % self._length
        self._counts[lane] -= 1
        self._total -= 1

    def fill(self, lane: int, indices: NDArray[np.int64]) -> None:
        """Set the indices of an empty lane, oldest first."""
        self._queue[lane * self._length :][: len(indices)] = indices
        self._counts[lane] = len(indices)
        self._total += len(indices)

    def index_at(self, ranks: NDArray[np.int64]) -> NDArray[np.int64]:
        ranks = np.asarray(ranks, np.int64)
        if (ranks.view(np.uint64) >= self._total).any():  # negative numbers are large as unsigned ones
            raise IndexError(f"TransitionRing expected ranks from 0 to {self._total - 1}, got {ranks.tolist()}.")
        if self._lanes == 1:
            places = (ranks + self._starts[0]) % self._length
        else:
            counts = np.asarray(self._counts)
            ends = counts.cumsum()
            lanes = ends.searchsorted(ranks, side="right")
            places = ranks + (np.asarray(self._starts) - ends + counts)[lanes]
            places = lanes * self._length + places % self._length
        indices: NDArray[np.int64] = self._queue.take(places)
        return indices
