"""The contract of `Collector`: every lane's steps in order, and how its episodes end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import numpy as np
import psutil
from gymnasium import spaces

from cartpole_dqn.contracts.collector import Collected, Collector, CollectorContext, Ending
from cartpole_dqn.contracts.parts import Agent, State, Transition
from cartpole_dqn.testing._contract import Contract, Subject
from cartpole_dqn.testing._course import OPTIONS, assert_figures
from cartpole_dqn.testing._state import assert_in_space, snapshot

Surroundings = Callable[[], tuple[CollectorContext, Agent]]
"""Makes a collector's context, and an agent to collect for: `cartpole_dqn.builtin_collection`."""

ENOUGH = 150
"""Steps of every lane in a check; an episode of the kit's takes 40 at most."""
PATIENCE = 600.0
"""The most seconds that these steps may take."""
_LEAVING = 10.0


class Collecting:
    """A collector that works as in a run, for an agent that learns. Records the steps of every lane."""

    def __init__(self, part: Subject) -> None:
        assert part.beside is not None, (
            "a collector is checked in surroundings: check_collector(MyCollector, cartpole_dqn.builtin_collection)."
        )
        context, self.agent = part.beside()
        self.collector: Collector = part.cls(part.options(), context)
        self.close = self.collector.close
        self.lanes: int = context.num_envs
        self.steps: list[list[Transition]] = [[] for _ in range(self.lanes)]
        self.endings: list[list[Ending]] = [[] for _ in range(self.lanes)]
        self.cuts: list[set[int]] = [set() for _ in range(self.lanes)]
        """The number of steps that a lane had made when it was broken."""

    def collect(self) -> Collected:
        """Collect once, let the agent learn, and begin new episodes."""
        collected = self.collector.collect(self.agent)
        for lane in collected.broken:
            assert 0 <= lane < self.lanes, f"it broke lane {lane}, and there are {self.lanes}."
            self.cuts[lane].add(len(self.steps[lane]))
            self.agent.break_lane(lane)
        for step in collected.transitions:
            assert 0 <= step.env < self.lanes, f"it returned a step of lane {step.env}, and there are {self.lanes}."
            history, cut = self.steps[step.env], len(self.steps[step.env]) in self.cuts[step.env]
            if history and not (cut or history[-1].terminated or history[-1].truncated):
                assert np.array_equal(history[-1].next_obs, step.obs), (  # agents may fail where this is not so
                    f"step {len(history)} of lane {step.env} does not begin where step {len(history) - 1} led, "
                    f"although the episode continued."
                )
            history.append(step)
        for ending in collected.endings:
            assert 0 <= ending.env < self.lanes, f"it ended an episode of lane {ending.env} of {self.lanes}."
            self.endings[ending.env].append(ending)
        if collected.transitions:
            self.agent.observe(collected.transitions)
            self.agent.learn()
        if collected.endings:
            self.collector.begin([ending.env for ending in collected.endings])
        return collected

    def go(self, steps: int) -> None:
        """Collect until every lane has made so many more steps."""
        goal = [len(history) + steps for history in self.steps]
        late = time.monotonic() + PATIENCE
        while any(len(history) < target for history, target in zip(self.steps, goal, strict=True)):
            self.collect()
            assert time.monotonic() < late, (
                f"in {PATIENCE:g} seconds the lanes made {list(map(len, self.steps))} steps."
            )


@contextlib.contextmanager
def collecting(part: Subject, steps: int | None = None) -> Iterator[Collecting]:
    """A collector that has collected `steps` of every lane, by default `ENOUGH`, closed at the end."""
    with closing(Collecting(part)) as course:
        course.collector.start()
        course.go(ENOUGH if steps is None else steps)
        yield course


COLLECTOR = Contract("collector", Collecting, OPTIONS)


def check_collector(
    cls: Callable[..., Collector], surroundings: Surroundings | None = None, /, **options: object
) -> None:
    """Run every check of a collector.

    The kit collects until every lane has made 150 steps, for ten minutes at most, and the agent learns meanwhile.

    Args:
        cls: built as `cls(options, context)`.
        surroundings: makes the context and an agent: `cartpole_dqn.builtin_collection`, or a function like it.
        **options: values of `cls.Options`.
    """
    COLLECTOR.hold(cls, surroundings, **options)


@COLLECTOR.check
def check_steps_in_order(part: Subject) -> None:
    """In every lane each step begins where the last one led, until the episode ends or the lane is broken."""
    with collecting(part) as course:
        ends = [step for steps in course.steps for step in steps if step.terminated or step.truncated]
        assert ends, "no episode ever ended."


@COLLECTOR.check
def check_steps_fit(part: Subject) -> None:
    """Observations are copies in `observation_space`, actions go from 0 to A - 1, rewards are finite."""
    with closing(part.course()) as course:
        box, actions = course.collector.observation_space, course.collector.action_space
        assert isinstance(box, spaces.Box), f"observation_space is {box}: agents need a Box."
        assert isinstance(actions, spaces.Discrete), f"action_space is {actions}: agents need Discrete."
        course.collector.start()
        first = course.collect()
        copies = [(step.obs, step.obs.copy()) for step in first.transitions]
        course.go(ENOUGH)
        for lane, steps in enumerate(course.steps):
            for i, step in enumerate(steps):
                place = f"step {i} of lane {lane}"
                for obs in (step.obs, step.next_obs):
                    assert_in_space(obs, box, f"an observation of {place}")
                assert 0 <= step.action < int(actions.n), f"{place} took action {step.action} of {int(actions.n)}."
                assert np.isfinite(step.reward), f"{place} was rewarded by {step.reward}."
                priority = step.priority
                assert priority is None or 0 <= priority < np.inf, f"{place} has the priority {priority}."
        assert all(np.array_equal(obs, copy) for obs, copy in copies), (
            "observations that it had returned changed afterwards: return copies."
        )


@COLLECTOR.check
def check_endings_match(part: Subject) -> None:
    """Each episode's end is reported once, with its last step: return, length and whether it terminated."""
    with collecting(part) as course:
        for lane, steps in enumerate(course.steps):
            endings, total, length = list(course.endings[lane]), 0.0, 0
            for i, step in enumerate(steps):
                if i in course.cuts[lane]:
                    total, length = 0.0, 0
                total, length = total + step.reward, length + 1
                if not (step.terminated or step.truncated):
                    continue
                assert endings, f"the episode that ended with step {i} of lane {lane} was not reported."
                ending = endings.pop(0)
                reported = (ending.episode_return, ending.length, ending.terminated)
                assert reported == (total, length, step.terminated), (
                    f"the episode that ended with step {i} of lane {lane} had return {total:g}, length {length}, "
                    f"terminated {step.terminated}; it was reported as {reported}."
                )
                total, length = 0.0, 0
            assert not endings, f"lane {lane} reported {len(endings)} more episodes than ended."


@COLLECTOR.check
def check_episodes_differ(part: Subject) -> None:
    """No two episodes have the same reset seed."""
    with collecting(part) as course:
        seeds = [ending.seed for endings in course.endings for ending in endings]
        assert len(seeds) > 1, "no two episodes ever ended."
        assert len(set(seeds)) == len(seeds), (
            f"of {len(seeds)} episodes only {len(set(seeds))} had a seed of their own."
        )


@COLLECTOR.check
def check_lockstep_is_kept(part: Subject) -> None:
    """If the class sets `lockstep`, each collection is one step of every lane, in the order of lanes."""
    if not getattr(part.cls, "lockstep", False):
        return
    with collecting(part, 0) as course:
        for _ in range(50):
            lanes = [step.env for step in course.collect().transitions]
            assert lanes == list(range(course.lanes)), f"a collection had steps of the lanes {lanes}."


@COLLECTOR.check
def check_figures(part: Subject) -> None:
    """`figures` are numbers and strings by name."""
    with collecting(part, 0) as course:
        for _ in range(20):
            assert_figures("figures", course.collect().figures)


@COLLECTOR.check
def check_resume(part: Subject) -> None:
    """A new one that loads its state continues every lane, except those it returns: there new episodes begin."""
    with collecting(part, 50) as course:
        state: State = snapshot(course.collector.state_dict())
        seeds = {ending.seed for endings in course.endings for ending in endings}
        old = [list(steps) for steps in course.steps]
    with closing(part.course()) as other:
        lost = other.collector.load_state_dict(state)
        fits = len(set(lost)) == len(lost) and set(lost) <= set(range(other.lanes))
        assert fits, f"load_state_dict returned the lanes {lost}: expected different ones of {other.lanes}."
        other.go(50)
        again = seeds & {ending.seed for endings in other.endings for ending in endings}
        assert not again, f"{len(again)} episodes that had ended before were played again."
        for lane in set(range(other.lanes)) - set(lost):
            last, step = old[lane][-1], other.steps[lane][0]
            if not (last.terminated or last.truncated):
                assert np.array_equal(last.next_obs, step.obs), (
                    f"lane {lane} does not continue where it was, and load_state_dict did not return it as lost."
                )


@COLLECTOR.check
def check_hurry(part: Subject) -> None:
    """After `hurry` a collection takes little time."""
    with collecting(part, 5) as course:
        course.collector.hurry()
        began = time.monotonic()
        course.collect()
        seconds = time.monotonic() - began
        assert seconds < _LEAVING, f"after hurry() a collection took {seconds:.1f} seconds."


@COLLECTOR.check
def check_close(part: Subject) -> None:
    """`close` leaves no process behind, and may be called twice, or before `start`."""
    before = _children()
    with collecting(part, 5) as course:
        pass
    course.collector.close(at_once=True)
    with closing(part.course()):
        pass
    late = time.monotonic() + _LEAVING
    while (left := _children() - before) and time.monotonic() < late:
        time.sleep(0.05)
    assert not left, f"{len(left)} processes of its own are still there after close()."


def _children() -> set[int]:
    """Return the child processes that still run."""
    pids = set()
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                pids.add(process.pid)
    return pids
