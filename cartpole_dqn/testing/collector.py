"""The contract of `Collector`: every lane's steps in order, with the endings that belong to them.

* `check_collector`: every check of the kind.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import psutil
from gymnasium import spaces

from cartpole_dqn.contracts.collector import Collected, Collector, CollectorContext, Ending
from cartpole_dqn.contracts.parts import Agent, State, Transition
from cartpole_dqn.testing._contract import Contract, Subject
from cartpole_dqn.testing._options import SHARED
from cartpole_dqn.testing._state import snapshot

Surroundings = Callable[[], tuple[CollectorContext, Agent]]
"""Makes what a collector is told, and an agent to collect for: `cartpole_dqn.builtin_collection`."""

ENOUGH = 150
"""Steps that every lane must have made before a check is content; an episode of the kit's takes 40 at most."""
PATIENCE = 600.0
"""Seconds that all of that may take."""
_LEAVING = 10.0


class CollectorSubject(Subject[Collector]):
    """A collector class, and where its surroundings come from."""

    def __init__(
        self, cls: Callable[..., Collector], surroundings: Surroundings | None = None, /, **options: Any
    ) -> None:
        super().__init__(cls, **options)
        self.surroundings = surroundings

    @contextlib.contextmanager
    def course(self) -> Iterator[Course]:
        """A new collector and its agent; closed at the end."""
        assert self.surroundings is not None, (
            "a collector is checked in surroundings: check_collector(MyCollector, cartpole_dqn.builtin_collection)."
        )
        context, agent = self.surroundings()
        collector = self.cls(self.options(), context)
        try:
            yield Course(collector, context, agent)
        finally:
            collector.close()


COLLECTOR: Contract[CollectorSubject] = Contract("collector", CollectorSubject, SHARED)


def check_collector(
    cls: Callable[..., Collector], surroundings: Surroundings | None = None, /, **options: object
) -> None:
    """Hold a collector to its contract.

    The kit collects until every lane has made 150 steps, for ten minutes at most, and lets the agent learn meanwhile.

    Args:
        cls: built as `cls(options, context)`.
        surroundings: makes the context and an agent: `cartpole_dqn.builtin_collection`, or another of its kind.
        **options: values of `cls.Options`.
    """
    COLLECTOR.hold(cls, surroundings, **options)


class Course:
    """A collector at work, as a run has it: its agent hears and learns, and every lane's story is kept."""

    def __init__(self, collector: Collector, context: CollectorContext, agent: Agent) -> None:
        self.collector, self.agent = collector, agent
        self.lanes = context.num_envs
        self.steps: list[list[Transition]] = [[] for _ in range(self.lanes)]
        self.endings: list[list[Ending]] = [[] for _ in range(self.lanes)]
        self.cuts: list[set[int]] = [set() for _ in range(self.lanes)]
        """How many steps a lane had made when it was broken."""

    def collect(self) -> Collected:
        """Collect once, let the agent learn, and begin where episodes ended."""
        collected = self.collector.collect(self.agent)
        for lane in collected.broken:
            assert 0 <= lane < self.lanes, f"it broke lane {lane}, and there are {self.lanes}."
            self.cuts[lane].add(len(self.steps[lane]))
            self.agent.break_lane(lane)
        for step in collected.transitions:
            assert 0 <= step.env < self.lanes, f"it brought a step of lane {step.env}, and there are {self.lanes}."
            self._require_next(step)
            self.steps[step.env].append(step)
        for ending in collected.endings:
            assert 0 <= ending.env < self.lanes, f"it told an end in lane {ending.env}, and there are {self.lanes}."
            self.endings[ending.env].append(ending)
        if collected.transitions:
            self.agent.observe(collected.transitions)
            self.agent.learn()
        if collected.endings:
            self.collector.begin([ending.env for ending in collected.endings])
        return collected

    def _require_next(self, step: Transition) -> None:
        """Fail unless the step begins where the lane's last one led. An agent may go wrong where this does not hold."""
        before = self.steps[step.env]
        if not before or len(before) in self.cuts[step.env] or before[-1].terminated or before[-1].truncated:
            return
        assert np.array_equal(before[-1].next_obs, step.obs), (
            f"step {len(before)} of lane {step.env} does not begin where step {len(before) - 1} led, although the "
            f"episode went on."
        )

    def go_on(self, more: int = ENOUGH) -> None:
        """Collect until every lane has made so many more steps."""
        goal = [len(steps) + more for steps in self.steps]
        late = time.monotonic() + PATIENCE
        while any(len(steps) < wanted for steps, wanted in zip(self.steps, goal, strict=True)):
            self.collect()
            made = [len(steps) for steps in self.steps]
            assert time.monotonic() < late, f"in {PATIENCE:g} seconds the lanes made {made} steps."


@COLLECTOR.check
def check_steps_in_order(part: CollectorSubject) -> None:
    """In every lane each step begins where the last one led, until the episode ends or the lane is broken."""
    with part.course() as course:
        course.collector.start()
        course.go_on()
        ends = [step for steps in course.steps for step in steps if step.terminated or step.truncated]
        assert ends, "no episode ever ended."


@COLLECTOR.check
def check_steps_fit(part: CollectorSubject) -> None:
    """Observations lie in `observation_space` and own their numbers, actions go from 0 to A - 1, rewards are finite."""
    with part.course() as course:
        box, actions = course.collector.observation_space, course.collector.action_space
        assert isinstance(box, spaces.Box), f"observation_space is {box}: agents need a Box."
        assert isinstance(actions, spaces.Discrete), f"action_space is {actions}: agents need Discrete."
        course.collector.start()
        first = course.collect()
        kept = [(step.obs, step.obs.copy()) for step in first.transitions]
        course.go_on()
        for lane, steps in enumerate(course.steps):
            for i, step in enumerate(steps):
                where = f"step {i} of lane {lane}"
                for obs in (step.obs, step.next_obs):
                    assert obs.shape == box.shape, f"{where} observes {list(obs.shape)}: expected {list(box.shape)}."
                    assert obs.dtype == box.dtype, f"{where} observes {obs.dtype}: expected {box.dtype}."
                    assert box.contains(obs), f"{where} observes what is not in {box}."
                assert 0 <= step.action < int(actions.n), f"{where} took action {step.action} of {int(actions.n)}."
                assert np.isfinite(step.reward), f"{where} was rewarded by {step.reward}."
                told = step.priority
                assert told is None or (np.isfinite(told) and told >= 0), f"{where} has the priority {told}."
        assert all(np.array_equal(obs, copy) for obs, copy in kept), (
            "observations that it had handed over changed afterwards: hand over copies."
        )


@COLLECTOR.check
def check_endings_match(part: CollectorSubject) -> None:
    """Each episode that ends is told once, with its last step: its lane's return and length, and how it ended."""
    with part.course() as course:
        course.collector.start()
        course.go_on()
        for lane, steps in enumerate(course.steps):
            told, total, length = list(course.endings[lane]), 0.0, 0
            for i, step in enumerate(steps):
                if i in course.cuts[lane]:
                    total, length = 0.0, 0
                total, length = total + step.reward, length + 1
                if not (step.terminated or step.truncated):
                    continue
                assert told, f"the episode that ended with step {i} of lane {lane} was not told."
                ending = told.pop(0)
                found = (ending.episode_return, ending.length, ending.terminated)
                assert found == (total, length, step.terminated), (
                    f"the episode that ended with step {i} of lane {lane} had return {total:g}, length {length}, "
                    f"terminated {step.terminated}; it was told as {found}."
                )
                total, length = 0.0, 0
            assert not told, f"lane {lane} was told of {len(told)} episodes more than ended."


@COLLECTOR.check
def check_episodes_differ(part: CollectorSubject) -> None:
    """No two episodes are reset with the same seed."""
    with part.course() as course:
        course.collector.start()
        course.go_on()
        seeds = [ending.seed for endings in course.endings for ending in endings]
        assert len(seeds) > 1, "no two episodes ever ended."
        assert len(set(seeds)) == len(seeds), (
            f"of {len(seeds)} episodes only {len(set(seeds))} had a seed of their own."
        )


@COLLECTOR.check
def check_lockstep_is_kept(part: CollectorSubject) -> None:
    """One whose class says `lockstep` brings one step of every lane at once, in the order of lanes."""
    if not getattr(part.cls, "lockstep", False):
        return
    with part.course() as course:
        course.collector.start()
        for _ in range(50):
            lanes = [step.env for step in course.collect().transitions]
            assert lanes == list(range(course.lanes)), f"it brought steps of the lanes {lanes}."


@COLLECTOR.check
def check_figures(part: CollectorSubject) -> None:
    """What it tells of itself are numbers and texts by name."""
    with part.course() as course:
        course.collector.start()
        for _ in range(20):
            for name, value in course.collect().figures.items():
                fits = isinstance(name, str) and isinstance(value, int | float | str)
                assert fits, f"it tells {name!r}: {value!r}: expected names with numbers or texts."


@COLLECTOR.check
def check_resume(part: CollectorSubject) -> None:
    """A new one that takes over its state goes on in every lane but those that it names, and there begins anew."""
    with part.course() as course:
        course.collector.start()
        course.go_on(50)
        state: State = snapshot(course.collector.state_dict())
        told = {ending.seed for endings in course.endings for ending in endings}
        old = [list(steps) for steps in course.steps]
    with part.course() as other:
        lost = other.collector.load_state_dict(state)
        assert set(lost) <= set(range(other.lanes)), f"it lost the lanes {lost}, and there are {other.lanes}."
        assert len(set(lost)) == len(lost), f"it lost the lanes {lost}."
        other.go_on(50)
        again = told & {ending.seed for endings in other.endings for ending in endings}
        assert not again, f"{len(again)} episodes that had ended before were played again."
        for lane in set(range(other.lanes)) - set(lost):
            last, step = old[lane][-1], other.steps[lane][0]
            if not (last.terminated or last.truncated):
                assert np.array_equal(last.next_obs, step.obs), (
                    f"lane {lane} does not go on where it was, and is not among those that were lost."
                )


@COLLECTOR.check
def check_hurry(part: CollectorSubject) -> None:
    """After `hurry` a collection under way, and one that comes, takes little time."""
    with part.course() as course:
        course.collector.start()
        course.go_on(5)
        course.collector.hurry()
        began = time.monotonic()
        course.collect()
        took = time.monotonic() - began
        assert took < _LEAVING, f"after hurry() a collection took {took:.1f} seconds."


@COLLECTOR.check
def check_close(part: CollectorSubject) -> None:
    """`close` leaves no process behind, may be called again, and before anything was begun."""
    before = _children()
    with part.course() as course:
        course.collector.start()
        course.go_on(5)
    course.collector.close(at_once=True)
    with part.course():
        pass
    late = time.monotonic() + _LEAVING
    while (left := _children() - before) and time.monotonic() < late:
        time.sleep(0.05)
    assert not left, f"{len(left)} processes of its own are still there after close()."


def _children() -> set[int]:
    """The processes that this one started and that still run."""
    found = set()
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                found.add(process.pid)
    return found
