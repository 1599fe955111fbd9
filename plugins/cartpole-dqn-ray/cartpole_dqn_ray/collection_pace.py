"""Pure rules of distributed collection, without Ray.

* `Pace`: which fragments may be asked for, and which taken, so that none is learned from when its weights are too old.
* `ladder`: the lanes' epsilons.
* `Meter`: rates over windows of time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

_WINDOW = 2.0


class Pace:
    """Keeps every fragment's staleness within a bound.

    A fragment's staleness is the learner's updates at the moment it is taken, less those at which the weights it was
    asked for with were published. Fragments that were asked for stand in a queue. Whoever stands at place k (from 0)
    may have to wait until k others were learned from, which takes at most `cost` updates each, so that

        updates + k * cost - version <= bound

    must hold for each: a new one is asked for only if it holds at the end of the queue, and one that is ready may go
    before others only if it still holds for them one learning later.

    Args:
        bound: the most updates that weights may lag, 0 or more.
        cost: the most updates that learning from one fragment takes.
    """

    def __init__(self, bound: int, cost: int) -> None:
        self.bound = bound
        self.cost = cost
        self._queue: list[tuple[Any, int]] = []

    def __len__(self) -> int:
        """How many fragments were asked for and not taken."""
        return len(self._queue)

    def may_ask(self, updates: int, version: int) -> bool:
        """Whether a fragment may be asked for now with weights of `version`; with fresh ones it may if none waits."""
        return updates + len(self._queue) * self.cost - version <= self.bound

    def ask(self, fragment: Any, version: int) -> None:
        """Called when it was asked for."""
        self._queue.append((fragment, version))

    def choose(self, ready: Iterable[Any], updates: int) -> Any:
        """Return the first of those that are ready that may be taken now; None where those before must come first."""
        there = set(ready)
        for place, (fragment, version) in enumerate(self._queue):
            if fragment in there:
                return fragment
            if updates + (place + 1) * self.cost - version > self.bound:
                return None
        return None

    def take(self, fragment: Any, updates: int) -> int:
        """Take it out of the queue, and return its staleness."""
        place = next(i for i, (queued, _) in enumerate(self._queue) if queued == fragment)
        return updates - self._queue.pop(place)[1]

    def drop(self, fragment: Any) -> None:
        """Called when it will never come."""
        self._queue = [entry for entry in self._queue if entry[0] != fragment]


def ladder(lanes: int, epsilon: float, alpha: float) -> list[float]:
    """Return each lane's epsilon: epsilon^(1 + i alpha / (N - 1)) for lane i of N (Horgan et al. 2018, section 4.1)."""
    return [epsilon ** (1 + i * alpha / max(1, lanes - 1)) for i in range(lanes)]


@dataclass
class Meter:
    """Adds up what happens, and tells rates whenever a window of `_WINDOW` seconds is over."""

    clock: Callable[[], float]
    _began: float = 0.0
    _updates: int = 0
    _sums: dict[str, float] = field(default_factory=dict)
    _figures: dict[str, float] = field(default_factory=dict)

    def begin(self, updates: int) -> None:
        """Begin a window, and forget what was added before."""
        self._began, self._updates, self._sums = self.clock(), updates, {}

    def add(self, **amounts: float) -> None:
        """Add `steps`, `bytes`, `idle` (seconds), `busy` (seconds of actors), `fragments`, `staleness`."""
        for name, amount in amounts.items():
            self._sums[name] = self._sums.get(name, 0.0) + amount

    def figures(self, updates: int, actors: int) -> dict[str, float]:
        """Return the figures of the last whole window; none before the first was."""
        seconds = self.clock() - self._began
        if seconds >= _WINDOW:
            total = self._sums.get
            self._figures = {
                "env_steps_per_second": total("steps", 0.0) / seconds,
                "updates_per_second": (updates - self._updates) / seconds,
                "bytes_per_second": total("bytes", 0.0) / seconds,
                "learner_idle": min(1.0, total("idle", 0.0) / seconds),
                "actors_busy": min(1.0, total("busy", 0.0) / seconds / max(1, actors)),
                "staleness": total("staleness", 0.0) / max(1.0, total("fragments", 0.0)),
            }
            self.begin(updates)
        return dict(self._figures)
