"""The collector checks: right ones pass them all, and each way to be wrong is named by its check."""

from __future__ import annotations

import dataclasses
import multiprocessing
import time
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pytest

from cartpole_dqn import Rollout, UserError, builtin_collection
from cartpole_dqn.contracts.collector import Collected, Collector, CollectorContext
from cartpole_dqn.contracts.options import option, options_class
from cartpole_dqn.contracts.parts import Agent, State
from cartpole_dqn.envs.lanes import Lockstep, LockstepOptions
from cartpole_dqn.testing import check_collector, checks_for, collector, run_checks


@pytest.fixture(autouse=True)
def shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "ENOUGH", 120)
    monkeypatch.setattr(collector, "_LEAVING", 1.0)


@options_class
class FragmentsOptions:
    steps: int = option(default=7, ge=1, effect="steps of a lane that come at once")


class Fragments(Collector):
    """Several steps of one lane after the other, as somebody else's processes would send them."""

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
    """Does something to what is collected."""

    lockstep: ClassVar[bool] = False

    def collect(self, agent: Agent) -> Collected:
        return self.spoil(super().collect(agent))

    def spoil(self, collected: Collected) -> Collected:
        return collected


class LosesSteps(Mended):
    count = 0

    def spoil(self, collected: Collected) -> Collected:
        self.count += 1
        return dataclasses.replace(collected, transitions=collected.transitions[: 1 if self.count == 30 else None])


class SwapsSteps(Mended):
    """The agent's own replay would notice too; this one is told the lanes' steps in another order."""

    held: Any = None

    def spoil(self, collected: Collected) -> Collected:
        if self.held is None and not collected.endings:
            self.held = collected
            return Collected()
        if self.held is not None and self.held is not ...:
            old, self.held = self.held, ...
            return dataclasses.replace(collected, transitions=[*collected.transitions, *old.transitions])
        return collected


class OneLaneShort(Mended):
    def spoil(self, collected: Collected) -> Collected:
        return dataclasses.replace(collected, transitions=[s for s in collected.transitions if s.env == 0])


class DoublePrecision(Mended):
    @property
    def observation_space(self) -> Any:
        box: Any = super().observation_space
        return type(box)(box.low, box.high, box.shape, np.float64)


class NegativePriority(Mended):
    def spoil(self, collected: Collected) -> Collected:
        return dataclasses.replace(collected, transitions=[s._replace(priority=-1.0) for s in collected.transitions])


class KeepsOneArray(Mended):
    """Writes every observation into the arrays that it handed over before."""

    kept: Any = None

    def spoil(self, collected: Collected) -> Collected:
        steps = list(collected.transitions)
        if self.kept is not None:
            for old, new in zip(self.kept, steps, strict=True):
                old.obs[...] = new.obs
        else:
            steps = [step._replace(obs=step.obs.copy()) for step in steps]
            self.kept = steps
        return dataclasses.replace(collected, transitions=steps)


class ForgetsEndings(Mended):
    def spoil(self, collected: Collected) -> Collected:
        self.ended = [ending.env for ending in collected.endings]
        return dataclasses.replace(collected, endings=())

    def collect(self, agent: Agent) -> Collected:
        if getattr(self, "ended", []):
            self.lanes.begin(self.ended)
        return super().collect(agent)


class WrongReturns(Mended):
    def spoil(self, collected: Collected) -> Collected:
        endings = [dataclasses.replace(e, episode_return=e.episode_return + 1) for e in collected.endings]
        return dataclasses.replace(collected, endings=endings)


class SameSeeds(Mended):
    def begin(self, envs: Sequence[int]) -> None:
        self.lanes._episodes = [0] * len(self.lanes)
        super().begin(envs)


class PromisesLockstep(Fragments):
    lockstep: ClassVar[bool] = True


class OddFigures(Mended):
    def spoil(self, collected: Collected) -> Collected:
        return dataclasses.replace(collected, figures={"lanes": [1, 2]})


class PlaysAgain(Fragments):
    def load_state_dict(self, state: State) -> list[int]:
        self.start()
        return list(range(self.context.num_envs))


class HidesLosses(Fragments):
    def load_state_dict(self, state: State) -> list[int]:
        super().load_state_dict(state)
        return []


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
    monkeypatch.setattr(collector, "PATIENCE", 5.0)
    if cls is OneLaneShort:
        monkeypatch.setattr(collector, "PATIENCE", 0.3)
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


def test_surroundings_are_asked_for_in_words() -> None:
    results = run_checks("collector", Lockstep, {})
    assert "check_collector(MyCollector, cartpole_dqn.builtin_collection)" in results[2].message
    assert [result.passed for result in run_checks("collector", Lockstep, {}, surroundings=builtin_collection)] == [
        True
    ] * len(results)
    with pytest.raises(UserError, match="no checks for the kind 'collectors'"):
        checks_for("collectors")
    assert LockstepOptions() == LockstepOptions()
