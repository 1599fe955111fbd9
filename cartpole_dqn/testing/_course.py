"""Checks that kinds share: determinism, randomness and state.

* `Course`: a part at work in the kit's surroundings; each kind has its own.
* `DETERMINISTIC`, `SEEDED`, `STATE`: the checks, for `Contract.share`.
"""

from __future__ import annotations

import abc
import copy
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import Any

from torch import nn

from cartpole_dqn.contracts.seeding import seeded_torch
from cartpole_dqn.testing._contract import Subject
from cartpole_dqn.testing._state import difference, global_randomness_untouched, snapshot


class Course(abc.ABC):
    """A part at work. What happens depends on the course's seed alone."""

    part: Any
    """The part. The course's other attributes are the part's surroundings."""

    def plan(self) -> tuple[int, Iterable[int]]:
        """Return the number of steps in which a part does all that it can do, and after how many steps to save it.

        The checks throw this course away afterwards.
        """
        return 60, (0, 3, 40)

    @abc.abstractmethod
    def go(self, steps: int) -> Any:
        """Let the part work; return results that `difference` can compare."""

    def state(self) -> Any:
        """Return the part's state."""
        return self.part.state_dict()

    def take_over(self, state: Any, other: Any) -> None:
        """Load a state into the part, and copy the surroundings of the `other` course."""
        self.part.load_state_dict(state)
        for name, value in vars(other).items():
            if isinstance(value, nn.Module) and name != "part":
                getattr(self, name).load_state_dict(value.state_dict())  # the part may refer to its tensors
            elif name != "part":
                setattr(self, name, copy.deepcopy(value))

    def close(self) -> None:
        """Free what the course holds."""


def check_same_seed(part: Subject) -> None:
    """Equal seeds give exactly equal results, whatever torch's global seed is."""
    place = _compare(part, lambda _: 0)
    assert not place, f"equal seeds gave different results: {place}."


def check_other_seed(part: Subject) -> None:
    """Different seeds give different results: randomness comes from `context.seeds`."""
    assert _compare(part, lambda number: number), "two seeds gave the same results: use context.seeds."


def check_global_randomness(part: Subject) -> None:
    """The global generators of Python, NumPy and torch do not change while it is built and used."""
    with global_randomness_untouched(part.name), closing(part.course()) as course:
        course.go(course.plan()[0])


def check_state_round_trip(part: Subject) -> None:
    """A new part that loads a state continues exactly as the saved one, whenever that was saved."""
    steps, saved_after = _plan(part)
    for done in sorted(set(saved_after)):
        with closing(part.course()) as old, closing(part.course(seed=1)) as new:
            old.go(done)
            state = snapshot(old.state())
            new.go(2)  # which the state replaces
            new.take_over(state, old)
            place = difference(old.go(steps), new.go(steps))
        assert not place, f"saved after {done} steps and loaded into another, it continued differently: {place}."


def check_saving_changes_nothing(part: Subject) -> None:
    """Calling `state_dict` does not change what the part does next."""
    few = max(1, _plan(part)[0] // 4)
    with closing(part.course()) as plain, closing(part.course()) as saved:
        for _ in range(4):
            snapshot(saved.state())
            place = difference(plain.go(few), saved.go(few))
            assert not place, f"after state_dict() was called, it continued differently: {place}."


STATE = (check_state_round_trip, check_saving_changes_nothing)
DETERMINISTIC = (check_same_seed, check_global_randomness, *STATE)
"""For kinds without randomness."""
SEEDED = (check_same_seed, check_other_seed, check_global_randomness, *STATE)
"""For kinds that draw from `context.seeds`."""


def _compare(part: Subject, seed: Callable[[int], int]) -> str:
    steps, results = _plan(part)[0], []
    for number in (0, 1):
        with seeded_torch(number), closing(part.course(seed=seed(number))) as course:
            results.append(course.go(steps))
    return difference(results[0], results[1], "results")


def _plan(part: Subject) -> tuple[int, Iterable[int]]:
    with closing(part.course()) as course:
        found: tuple[int, Iterable[int]] = course.plan()
        return found
