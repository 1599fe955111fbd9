"""What every part that lasts is held to, whatever its kind: equal courses, the right randomness, a state that is whole.

* `Course`: a part at work in surroundings of the kit's own; each kind says how that goes.
* `Lasting`: a `Subject` that has courses.
* `DETERMINISTIC`, `SEEDED`: the checks, for kinds to take up with `Contract.share`.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import Any, TypeVar

from cartpole_dqn.contracts.seeding import seeded_torch
from cartpole_dqn.testing._contract import Subject
from cartpole_dqn.testing._state import difference, global_randomness_untouched, snapshot

T = TypeVar("T")


class Course(abc.ABC):
    """A part at work. What happens depends on the course's seed alone."""

    @abc.abstractmethod
    def go(self, steps: int) -> Any:
        """Let the part work on for so many steps; return what came of it, as `difference` compares it."""

    @abc.abstractmethod
    def state(self) -> Any:
        """The part's state."""

    @abc.abstractmethod
    def take_over(self, state: Any, other: Any) -> None:
        """Load the state into this course's part, and put its surroundings where those of the `other` course are."""

    def close(self) -> None:
        """Free what the course holds."""


class Lasting(Subject[T], abc.ABC):
    """A class whose instances last: they have a state."""

    saved_after: Iterable[int] = (0, 3, 40)
    """Steps after which the state is saved and loaded into another."""
    steps: int = 60
    """Steps in which all that a part does comes up."""

    @abc.abstractmethod
    def course(self, seed: int = 0) -> Course:
        """Return a new part at work, told of this seed."""


def check_same_seed(part: Lasting[Any]) -> None:
    """Equal seeds lead to equal results, to the bit, whatever torch's global seed is."""
    place = _compare(part, lambda _: 0)
    assert not place, f"equal seeds led to different results: {place}."


def check_other_seed(part: Lasting[Any]) -> None:
    """Other seeds lead to other results: randomness comes from `context.seeds`."""
    assert _compare(part, lambda number: number), "two seeds led to the same results: use context.seeds."


def check_global_randomness(part: Lasting[Any]) -> None:
    """Building it and working with it leave the global generators of Python, NumPy and torch alone."""
    with global_randomness_untouched(part.name), closing(part.course()) as course:
        course.go(part.steps)


def check_state_round_trip(part: Lasting[Any]) -> None:
    """A new one that takes over a state goes on exactly as the old one, whenever it was saved."""
    for done in sorted(set(part.saved_after)):
        with closing(part.course()) as old, closing(part.course(seed=1)) as new:
            old.go(done)
            state = snapshot(old.state())
            new.go(2)  # what it did before is forgotten
            new.take_over(state, old)
            place = difference(old.go(part.steps), new.go(part.steps))
        assert not place, f"saved after {done} steps and loaded into another, it went on differently: {place}."


def check_saving_changes_nothing(part: Lasting[Any]) -> None:
    """One whose state is taken goes on as one whose state is not."""
    with closing(part.course()) as plain, closing(part.course()) as saved:
        for _ in range(4):
            snapshot(saved.state())
            few = max(1, part.steps // 4)
            place = difference(plain.go(few), saved.go(few))
            assert not place, f"after state_dict() was called, it went on differently: {place}."


STATE = (check_state_round_trip, check_saving_changes_nothing)
DETERMINISTIC = (check_same_seed, check_global_randomness, *STATE)
"""For kinds that draw nothing of their own."""
SEEDED = (check_same_seed, check_other_seed, check_global_randomness, *STATE)
"""For kinds that draw from the context's seeds."""


def _compare(part: Lasting[Any], seed: Callable[[int], int]) -> str:
    results = []
    for number in (0, 1):
        with seeded_torch(number), closing(part.course(seed(number))) as course:
            results.append(course.go(part.steps))
    return difference(results[0], results[1], "results")
