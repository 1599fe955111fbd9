"""The collector checks: right ones pass them all, and each way to be wrong is named by its check."""

from __future__ import annotations

import dataclasses
import multiprocessing
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest

from broken import after, broken, name_all
from cartpole_dqn import Rollout, builtin_collection
from cartpole_dqn.contracts.collector import Collected, Collector, CollectorContext
from cartpole_dqn.contracts.options import option, options_class
from cartpole_dqn.contracts.parts import Agent, State
from cartpole_dqn.envs.lanes import Lockstep
from cartpole_dqn.testing import check_collector, checks_for, collector, run_checks


@pytest.fixture(autouse=True)
def shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "ENOUGH", 120)
    monkeypatch.setattr(collector, "_LEAVING", 1.0)


@options_class
class FragmentsOptions:
    steps: int = option(default=7, ge=1, effect="steps of a lane in each collection")


class Fragments(Collector):
    """Returns several steps of one lane after the other, as worker processes would send them."""

    Options: ClassVar[type] = FragmentsOptions

    def __init__(self, options: FragmentsOptions, context: CollectorContext) -> None:
        self.options, self.context = options, context
        self.incarnation = 0
        self.rollout = Rollout(context.config, range(context.num_envs))

    @property
    def observation_space(self) -> Any:
        return self.rollout.observation_space

    @property
    def action_space(self) -> Any:
        return self.rollout.action_space

    def start(self) -> None:
        self.rollout.close()
        self.rollout = Rollout(self.context.config, range(self.context.num_envs), incarnation=self.incarnation)

    def collect(self, agent: Agent) -> Collected:
        self.rollout.load(agent.policy().state_dict())
        sent = self.rollout.collect(self.options.steps, [0.5] * self.context.num_envs)
        return Collected(
            [step for fragment in sent for step in fragment.transitions()],
            [ending for fragment in sent for ending in fragment.endings],
        )

    def state_dict(self) -> State:
        return {"incarnation": self.incarnation}

    def load_state_dict(self, state: State) -> list[int]:
        self.incarnation = state["incarnation"] + 1
        self.start()
        return list(range(self.context.num_envs))

    def close(self, *, at_once: bool = False) -> None:
        self.rollout.close()


# Broken ones: each in one way -----------------------------------------------------------------------------------------


class Mended(Lockstep):
    """Changes what is collected."""

    lockstep: ClassVar[bool] = False

    def collect(self, agent: Agent) -> Collected:
        return self.spoil(super().collect(agent))

    def spoil(self, collected: Collected) -> Collected:
        return collected


def returning(change: Callable[[Collected], dict[str, Any]]) -> Any:
    """A collector that changes some fields of what it collected."""
    return after(Mended, "spoil", lambda collected: dataclasses.replace(collected, **change(collected)))


OneLaneShort = returning(lambda found: {"transitions": [step for step in found.transitions if step.env == 0]})
NegativePriority = returning(lambda found: {"transitions": [s._replace(priority=-1.0) for s in found.transitions]})
OddFigures = returning(lambda found: {"figures": {"lanes": [1, 2]}})
WrongReturns = returning(
    lambda found: {"endings": [dataclasses.replace(e, episode_return=e.episode_return + 1) for e in found.endings]}
)
PromisesLockstep = broken(Fragments, lockstep=True)
HidesLosses = after(Fragments, "load_state_dict", lambda lost: [])
PlaysAgain = broken(Fragments, load_state_dict=lambda self, state: self.start() or list(range(self.context.num_envs)))


class LosesSteps(Mended):
    count = 0

    def spoil(self, collected: Collected) -> Collected:
        self.count += 1
        return dataclasses.replace(collected, transitions=collected.transitions[: 1 if self.count == 30 else None])


class SwapsSteps(Mended):
    """Returns two steps of each lane in the wrong order."""

    held: Any = None

    def spoil(self, collected: Collected) -> Collected:
        if self.held is None and not collected.endings:
            self.held = collected
            return Collected()
        if self.held is not None and self.held is not ...:
            old, self.held = self.held, ...
            return dataclasses.replace(collected, transitions=[*collected.transitions, *old.transitions])
        return collected


class DoublePrecision(Mended):
    @property
    def observation_space(self) -> Any:
        box: Any = super().observation_space
        return type(box)(box.low, box.high, box.shape, np.float64)


class KeepsOneArray(Mended):
    """Overwrites the first observations that it returned."""

    kept: Any = None

    def spoil(self, collected: Collected) -> Collected:
        if self.kept is None:
            self.kept = [step._replace(obs=step.obs.copy()) for step in collected.transitions]
            return dataclasses.replace(collected, transitions=self.kept)
        for old, new in zip(self.kept, collected.transitions, strict=True):
            old.obs[...] = new.obs
        return collected


class ForgetsEndings(Mended):
    def spoil(self, collected: Collected) -> Collected:
        self.ended = [ending.env for ending in collected.endings]
        return dataclasses.replace(collected, endings=())

    def collect(self, agent: Agent) -> Collected:
        if getattr(self, "ended", []):
            self.lanes.begin(self.ended)
        return super().collect(agent)


class SameSeeds(Mended):
    def begin(self, envs: Sequence[int]) -> None:
        self.lanes._episodes = [0] * len(self.lanes)
        super().begin(envs)


class Unhurried(Mended):
    hurried = False

    def hurry(self) -> None:
        self.hurried = True

    def spoil(self, collected: Collected) -> Collected:
        time.sleep(1.2 if self.hurried else 0)
        return collected


class LeavesAProcess(Mended):
    def start(self) -> None:
        super().start()
        LeavesAProcess.child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
        LeavesAProcess.child.start()


class ClosesOnce(Mended):
    closed = False

    def close(self, *, at_once: bool = False) -> None:
        super().close()
        if self.closed:
            raise OSError("it is closed")
        self.closed = True


name_all(globals())
BROKEN = [
    (LosesSteps, "check_steps_in_order", "does not begin where step"),
    (SwapsSteps, "check_steps_in_order", "does not begin where step"),
    (OneLaneShort, "check_steps_in_order", "the lanes made"),
    (DoublePrecision, "check_steps_fit", "observes float32: expected float64"),
    (NegativePriority, "check_steps_fit", "has the priority -1"),
    (KeepsOneArray, "check_steps_fit", "changed afterwards"),
    (ForgetsEndings, "check_endings_match", "was not reported"),
    (WrongReturns, "check_endings_match", "it was reported as"),
    (SameSeeds, "check_episodes_differ", "had a seed of their own"),
    (PromisesLockstep, "check_lockstep_is_kept", "had steps of the lanes"),
    (OddFigures, "check_figures", "expected names with numbers or strings"),
    (PlaysAgain, "check_resume", "were played again"),
    (HidesLosses, "check_resume", "does not continue where it was"),
    (Unhurried, "check_hurry", "a collection took 1"),
    (LeavesAProcess, "check_close", "1 processes of its own are still there"),
    (ClosesOnce, "check_close", "OSError: it is closed"),
]


@pytest.mark.parametrize("cls", [Lockstep, Fragments])
def test_right_ones_pass(cls: Any) -> None:
    check_collector(cls, builtin_collection)


@pytest.mark.parametrize(("cls", "check", "words"), BROKEN, ids=lambda value: getattr(value, "__name__", ""))
def test_a_broken_one_is_named_by_its_check(cls: Any, check: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "PATIENCE", 0.3 if cls is OneLaneShort else 5.0)
    held = {held.__name__: held for held in checks_for("collector")}[check]
    try:
        with pytest.raises((AssertionError, ValueError, OSError), match=words.removeprefix("OSError: ")):
            held(cls, builtin_collection)
    finally:
        if cls is LeavesAProcess:
            LeavesAProcess.child.kill()
            LeavesAProcess.child.join()


def test_every_check_has_its_broken_one() -> None:
    shared = {"check_options_are_declared", "check_bad_options_are_refused"}
    assert {check for _, check, _ in BROKEN} | shared == {check.__name__ for check in checks_for("collector")}


def test_surroundings_are_required() -> None:
    results = run_checks("collector", Lockstep, {})
    assert "check_collector(MyCollector, cartpole_dqn.builtin_collection)" in results[2].message
    results = run_checks("collector", Lockstep, surroundings=builtin_collection)
    assert all(result.passed for result in results)
