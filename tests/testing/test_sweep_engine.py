"""The sweep engine checks: right ones pass them all, and each way to be wrong is named by its check."""

from __future__ import annotations

import json
import queue
import shutil
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from broken import after, broken, name_all
from cartpole_dqn.contracts.sweep_engine import SweepEngine, SweepEngineContext, Trial, TrialEnd
from cartpole_dqn.errors import ConfigError
from cartpole_dqn.studies.local_engine import LocalEngine
from cartpole_dqn.testing import checks_for, run_checks


class Writer(SweepEngine):
    """Keeps the contract without training: a thread for each trial writes an episode every millisecond."""

    def __init__(self, options: Any, context: SweepEngineContext) -> None:
        super().__init__(options, context)
        self._ends: queue.SimpleQueue[TrialEnd] = queue.SimpleQueue()
        self._threads: dict[str, threading.Thread] = {}
        self._asked = threading.Event()
        self._left = threading.Event()

    @property
    def slots(self) -> int:
        return self.context.jobs or 2

    def start(self, trial: Trial) -> None:
        self._threads[trial.name] = threading.Thread(target=self._write, args=(trial,), daemon=True)
        self._threads[trial.name].start()

    def wait(self, timeout: float) -> list[TrialEnd]:
        try:
            return [self._ends.get(timeout=timeout)]
        except queue.Empty:
            return []

    def stop(self) -> None:
        self._asked.set()

    def close(self) -> None:
        self._left.set()
        for thread in self._threads.values():
            thread.join()

    def _write(self, trial: Trial) -> None:
        if "no_such_module" in trial.config:
            self._ends.put(TrialEnd(trial.name, "failed", "there is no such environment."))
            return
        trial.folder.mkdir(parents=True, exist_ok=True)
        (trial.folder / "checkpoint").mkdir(exist_ok=True)
        for name in ("config.toml", "environment.json", "checkpoint/state.json"):
            (trial.folder / name).write_text(trial.config)
        total = int(trial.config.partition("steps = ")[2].split()[0])
        status = trial.folder / "status.json"
        step = json.loads(status.read_text())["step"] if status.exists() else 0
        with (trial.folder / "metrics.jsonl").open("a", buffering=1) as file:
            while step < total and not self._asked.is_set() and not self._left.is_set():
                step = min(step + 20, total)
                file.write(json.dumps({"event": "episode", "step": step, "return": 20.0, "seed": step}) + "\n")
                time.sleep(0.001)
        state: Any = "done" if step == total else "interrupted"
        status.write_text(json.dumps({"state": state, "step": step}))
        self._ends.put(TrialEnd(trial.name, state))


def ending(change: Callable[[TrialEnd], TrialEnd]) -> Any:
    """An engine that reports changed ends."""
    return after(Writer, "wait", lambda ends: [change(end) for end in ends])


NoSlots = broken(Writer, slots=property(lambda self: 0 if self.context.jobs is None else 1))
MoreSlots = broken(Writer, slots=3)
TellsOfNothing = after(Writer, "wait", lambda ends: ends or [TrialEnd("", "done")])
SaysNoReason = ending(lambda end: TrialEnd(end.name, end.state))
HidesFailures = ending(lambda end: TrialEnd(end.name, "done" if end.error else end.state))
SaysDoneWhenStopped = ending(lambda end: TrialEnd(end.name, "done"))
RunsOn = broken(Writer, close=lambda self: None)
PlacesNothing = broken(Writer, place=lambda self, name: None)


class TellsTwice(Writer):
    def wait(self, timeout: float) -> list[TrialEnd]:
        ends = super().wait(timeout)
        for end in ends if not getattr(self, "_told", False) else []:
            self._told = True
            self._ends.put(end)
        return ends


class ForgetsTheFolder(Writer):
    def wait(self, timeout: float) -> list[TrialEnd]:
        ends = super().wait(timeout)
        for path in self.context.folder.glob("trials/*/environment.json"):
            path.unlink()
        return ends


class OwnSeeds(Writer):
    def start(self, trial: Trial) -> None:
        steps = 300 if trial.name.endswith("0") else 310
        config = trial.config.replace("steps = 300\n", f"steps = {steps}\n")
        super().start(Trial(name=trial.name, config=config, folder=trial.folder))


class BeginsAnew(Writer):
    def start(self, trial: Trial) -> None:
        shutil.rmtree(trial.folder, ignore_errors=True)
        super().start(trial)


class StopsWithoutCheckpoint(Writer):
    def stop(self) -> None:
        super().stop()
        for thread in self._threads.values():
            thread.join()
        for path in self.context.folder.glob("trials/*/checkpoint/state.json"):
            path.unlink()


name_all(globals())
RIGHT = [Writer]
TABLE = [
    # (class, the check that names the fault, words of its message)
    (NoSlots, "check_slots", "slots is 0"),
    (MoreSlots, "check_slots", "the user asked for 1"),
    (TellsOfNothing, "check_waiting", "before a trial was started"),
    (TellsTwice, "check_trials_are_runs", "wait returned"),
    (ForgetsTheFolder, "check_trials_are_runs", "holds no environment.json"),
    (OwnSeeds, "check_trials_are_runs", "status.json says"),
    (SaysNoReason, "check_a_failing_trial", "has no error"),
    (HidesFailures, "check_a_failing_trial", "ended as TrialEnd(name='bad', state='done'"),
    (BeginsAnew, "check_stopping_and_going_on", "must go on from its checkpoint"),
    (StopsWithoutCheckpoint, "check_stopping_and_going_on", "without checkpoint"),
    (SaysDoneWhenStopped, "check_stopping_and_going_on", "a trial that was stopped ended as"),
    (RunsOn, "check_close_leaves_nothing", "bytes of metrics after close"),
    (PlacesNothing, "check_place_is_text", "place returned None"),
]


@pytest.mark.parametrize("check", checks_for("sweep-engine"), ids=lambda check: check.__name__)
@pytest.mark.process
def test_the_built_in_engine_keeps_its_contract(check: Callable[..., None]) -> None:
    check(LocalEngine)


def test_options_are_checked_as_those_of_other_kinds() -> None:
    with pytest.raises(ConfigError, match=r"LocalEngine\.stop_seconds: expected greater than 0"):
        run_checks("sweep-engine", LocalEngine, {"stop_seconds": -1.0})
