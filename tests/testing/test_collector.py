"""The collector checks: right ones pass them all, and each way to be wrong is named by its check."""

from __future__ import annotations

import dataclasses
import multiprocessing
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import cartpole_dqn
import scripts
from broken import after, broken, name_all
from cartpole_dqn import builtin_collection
from cartpole_dqn.contracts.collector import Collected
from cartpole_dqn.contracts.parts import Agent
from cartpole_dqn.envs.lanes import Lockstep
from cartpole_dqn.testing import run_checks

TEMPLATE = Path(cartpole_dqn.__file__).parent / "plugin" / "template" / "cartpole_dqn_acme"
Bursts: Any = scripts.load(TEMPLATE / "collector.py").Bursts
"""Returns several steps of one lane after the other, as worker processes would send them."""

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


OneLaneShort = returning(lambda result: {"transitions": [step for step in result.transitions if step.env == 0]})
NegativePriority = returning(lambda result: {"transitions": [s._replace(priority=-1.0) for s in result.transitions]})
OddFigures = returning(lambda result: {"figures": {"lanes": [1, 2]}})
WrongReturns = returning(
    lambda result: {"endings": [dataclasses.replace(e, episode_return=e.episode_return + 1) for e in result.endings]}
)
PromisesLockstep = broken(Bursts, lockstep=True)
HidesLosses = after(Bursts, "load_state_dict", lambda lost: [])
PlaysAgain = broken(Bursts, load_state_dict=lambda self, state: list(range(self._context.num_envs)))


class LosesSteps(Mended):
    count = 0

    def spoil(self, collected: Collected) -> Collected:
        self.count += 1
        return dataclasses.replace(collected, transitions=collected.transitions[: 1 if self.count == 30 else None])


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
            self.begin(self.ended)
        return super().collect(agent)


class SameSeeds(Mended):
    def begin(self, envs: Sequence[int]) -> None:
        self._episodes = [0] * len(self)
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
        LeavesAProcess.child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(30,), daemon=True)
        LeavesAProcess.child.start()


class ClosesOnce(Mended):
    closed = False

    def close(self, *, at_once: bool = False) -> None:
        super().close()
        if self.closed:
            raise OSError("it is closed")
        self.closed = True


name_all(globals())
RIGHT = [Lockstep, Bursts]
TABLE = [
    # (class, the check that names the fault, words of its message)
    (LosesSteps, "check_steps_in_order", "does not begin where step"),
    (OneLaneShort, "check_steps_in_order", "the lanes made"),
    (DoublePrecision, "check_steps_fit", "by its space: expected float64 [4], got float32 [4]"),
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


def test_surroundings_are_required() -> None:
    results = run_checks("collector", Lockstep, {})
    assert "check_collector(MyCollector, cartpole_dqn.builtin_collection)" in results[2].message
    results = run_checks("collector", Lockstep, surroundings=builtin_collection)
    assert all(result.passed for result in results)
