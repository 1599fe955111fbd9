"""The observer checks: a right observer passes them all, and each way to be wrong is named by its check."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from broken import broken, name_all
from cartpole_dqn.contracts.events import (
    Checkpoint,
    Episode,
    Evaluation,
    Observer,
    ObserverContext,
    Progress,
    RunEnded,
    RunFailed,
    RunStarted,
)
from cartpole_dqn.contracts.parts import State


class PlainObserver(Observer):
    """Keeps returns, writes a line now and then, counts seconds; a thread of its own runs meanwhile."""

    def __init__(self, options: Any, context: ObserverContext) -> None:
        self.context = context
        self.returns: list[float] = []
        self.seconds = 0.0
        self.last = context.clock()
        self.over = threading.Event()
        self.thread: threading.Thread | None = None

    def run_started(self, event: RunStarted) -> None:
        self.thread = threading.Thread(target=self.over.wait, name="plain observer", daemon=True)
        self.thread.start()

    def updated(self, event: Progress) -> None:
        now = self.context.clock()
        self.seconds, self.last = self.seconds + now - self.last, now
        if event.step % 10 == 0:
            self.say(f"step {event.step}: loss {event.metrics.get('loss', float('nan')):g}")

    def episode_ended(self, event: Episode) -> None:
        self.returns.append(event.episode_return)
        if self.context.folder is not None:
            with (Path(self.context.folder) / "returns.txt").open("a") as file:
                print(event.episode_return, file=file)

    def evaluated(self, event: Evaluation) -> None:
        self.say(f"mean {event.mean:g}")

    def checkpoint_written(self, event: Checkpoint) -> None:
        self.say(event.path)

    def run_ended(self, event: RunEnded) -> None:
        self.say("no evaluation" if event.best is None else f"best {event.best.mean:g}")
        self.stop()

    def run_failed(self, event: RunFailed) -> None:
        self.say(repr(event.error))
        self.stop()

    def say(self, text: str) -> None:
        self.context.console.print(text)

    def stop(self) -> None:
        self.over.set()
        assert self.thread is not None
        self.thread.join()

    def state_dict(self) -> State:
        return {"returns": list(self.returns), "seconds": self.seconds}

    def load_state_dict(self, state: State) -> None:
        self.returns, self.seconds = list(state["returns"]), state["seconds"]


# Broken ones: each in one way -----------------------------------------------------------------------------------------


class NeedsAFolder(PlainObserver):
    def __init__(self, options: Any, context: ObserverContext) -> None:
        super().__init__(options, context)
        assert context.folder is not None, "no folder."


class NeedsMetrics(PlainObserver):
    def updated(self, event: Progress) -> None:
        self.say(f"{event.metrics['loss']:g}")


class NeedsABestModel(PlainObserver):
    def run_ended(self, event: RunEnded) -> None:
        self.stop()
        assert event.best is not None, "no evaluation."


class NeedsEveryEpisode(PlainObserver):
    """Expects to see every episode of the run."""

    def episode_ended(self, event: Episode) -> None:
        super().episode_ended(event)
        assert event.episode == len(self.returns), "an episode is missing."


class ForgetsToListen(PlainObserver):
    """Loads a state of another form than it saves."""

    def load_state_dict(self, state: State) -> None:
        self.returns, self.seconds = list(state["history"]), state["seconds"]


class SpoilsMetrics(PlainObserver):
    def updated(self, event: Progress) -> None:
        super().updated(event)
        event.metrics.clear()  # type: ignore[attr-defined]


def stopping_after(seconds: float, method: str) -> Any:
    """An observer whose thread ends so long after `method`."""
    return broken(PlainObserver, **{method: lambda self, *event: threading.Timer(seconds, self.over.set).start()})


RunsOnAfterTheEnd = stopping_after(1.5, "run_ended")
RunsOnAfterFailure = stopping_after(1.5, "run_failed")
StopsSoon = stopping_after(0.05, "stop")  # which is no fault
Prints = broken(PlainObserver, evaluated=lambda self, event: print(f"mean {event.mean:g}"))


class ForgetsReturns(PlainObserver):
    def load_state_dict(self, state: State) -> None:
        self.seconds = state["seconds"]


class TimesByTheWall(PlainObserver):
    def __init__(self, options: Any, context: ObserverContext) -> None:
        super().__init__(options, context)
        self.begun = time.perf_counter()

    def state_dict(self) -> State:
        return {**super().state_dict(), "begun": self.begun}


name_all(globals())
RIGHT = [PlainObserver, StopsSoon]
TABLE = [
    # (class, the check that names the fault, words of its message)
    (NeedsAFolder, "check_whole_runs", "no folder"),
    (NeedsMetrics, "check_whole_runs", "KeyError: 'loss'"),
    (ForgetsToListen, "check_whole_runs", "KeyError: 'history'"),
    (NeedsABestModel, "check_short_runs", "no evaluation"),
    (NeedsEveryEpisode, "check_short_runs", "an episode is missing"),
    (SpoilsMetrics, "check_events_are_left_alone", "metrics"),
    (Prints, "check_stdout_is_left_alone", "it printed 'mean 80"),
    (RunsOnAfterTheEnd, "check_nothing_runs_on", "after run_ended these threads"),
    (RunsOnAfterFailure, "check_nothing_runs_on", "after run_failed these threads"),
    (ForgetsReturns, "check_state_round_trip", "became another"),
    (TimesByTheWall, "check_state_round_trip", "['begun']"),
]
