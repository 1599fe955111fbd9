"""Checks that kinds share: options, determinism, randomness and state.

* `Course`: a part at work in the kit's surroundings; each kind has its own.
* `OPTIONS`, `DETERMINISTIC`, `SEEDED`, `STATE`: the checks, for `Contract`.
* `assert_undisturbed`, `assert_figures`: what several checks do.
"""

from __future__ import annotations

import abc
import copy
import dataclasses
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from typing import Any

from torch import nn

from cartpole_dqn.contracts.options import check_options, describe_options, fields_of, to_table
from cartpole_dqn.contracts.seeding import seeded_torch
from cartpole_dqn.errors import ConfigError
from cartpole_dqn.testing._contract import Subject
from cartpole_dqn.testing._state import assert_same, difference, global_randomness_untouched, snapshot


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


def check_options_are_declared(part: Subject) -> None:
    """`Options` is a frozen `@options_class`, gives each field's effect, and survives a TOML table."""
    cls = part.options_class
    options = part.options()
    mute = [info.name for info in describe_options(cls) if not info.effect]
    assert not mute, f"the options {', '.join(mute)} of {part.name} have no effect text: use option(effect=...)."
    for name in fields_of(cls):
        try:
            setattr(options, name, getattr(options, name))
        except dataclasses.FrozenInstanceError:
            continue
        raise AssertionError(
            f"option {name} can be set after it is checked: decorate {cls.__name__} with @options_class."
        )
    again: Any = check_options(cls, to_table(options), where=part.name)
    assert again == options, f"the options {options!r} changed in a TOML table to {again!r}."


def check_bad_options_are_refused(part: Subject) -> None:
    """A boolean, string, NaN or infinity where a number is expected raises `ConfigError`."""
    cls = part.options_class
    for name, field in fields_of(cls).items():
        for value in (True, "1", math.nan, math.inf) if _is_number(field.annotation) else ():
            try:
                check_options(cls, {**part.table, name: value}, where=part.name)
            except ConfigError:
                continue
            raise AssertionError(
                f"option {name} accepts {value!r} as a number: decorate {cls.__name__} with @options_class."
            )


def check_same_seed(part: Subject) -> None:
    """Equal seeds give exactly equal results, whatever torch's global seed is."""
    one, other = _results(part, 0, 0)
    assert_same(one, other, "equal seeds gave different results", "results")


def check_other_seed(part: Subject) -> None:
    """Different seeds give different results: randomness comes from `context.seeds`."""
    assert difference(*_results(part, 0, 1)), "two seeds gave the same results: use context.seeds."


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
            problem = f"saved after {done} steps and loaded into another, it continued differently"
            assert_same(old.go(steps), new.go(steps), problem)


def check_saving_changes_nothing(part: Subject) -> None:
    """Calling `state_dict` does not change what the part does next."""
    assert_undisturbed(part, lambda course: snapshot(course.state()), "after state_dict() was called, it")


def assert_undisturbed(part: Subject, disturb: Callable[[Any], object], who: str) -> None:
    """Call `disturb` with a course now and then; fail if that course and its state become unlike another."""
    few = max(1, _plan(part)[0] // 4)
    with closing(part.course()) as plain, closing(part.course()) as other:
        for _ in range(4):
            disturb(other)
            assert_same(plain.go(few), other.go(few), f"{who} continued differently", "results")
        assert_same(snapshot(plain.state()), snapshot(other.state()), f"{who} came to another state", "state")


def assert_figures(who: str, figures: Mapping[str, object]) -> None:
    """Fail unless the figures are numbers or strings by name."""
    for name, value in figures.items():
        fits = isinstance(name, str) and isinstance(value, int | float | str)
        assert fits, f"{who} says {name!r}: {value!r}: expected names with numbers or strings."


OPTIONS = (check_options_are_declared, check_bad_options_are_refused)
STATE = (check_state_round_trip, check_saving_changes_nothing)
DETERMINISTIC = (check_same_seed, check_global_randomness, *STATE)
"""For kinds without randomness."""
SEEDED = (check_same_seed, check_other_seed, check_global_randomness, *STATE)
"""For kinds that draw from `context.seeds`."""


def _results(part: Subject, *seeds: int) -> list[Any]:
    """Return the results of a course with each seed, whatever torch's global seed is."""
    steps, results = _plan(part)[0], []
    for number, seed in enumerate(seeds):
        with seeded_torch(number), closing(part.course(seed=seed)) as course:
            results.append(course.go(steps))
    return results


def _plan(part: Subject) -> tuple[int, Iterable[int]]:
    with closing(part.course()) as course:
        plan: tuple[int, Iterable[int]] = course.plan()
        return plan


def _is_number(annotation: Any) -> bool:
    union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    choices = set(typing.get_args(annotation)) if union else {annotation}
    return choices <= {int, float, type(None)}
