"""The contract of `Observer`: it watches a run and changes nothing in it."""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from cartpole_dqn.contracts.events import (
    Checkpoint,
    Episode,
    Evaluating,
    Evaluation,
    Glimpse,
    Observer,
    ObserverContext,
    Progress,
    RunEnded,
    RunFailed,
    RunStarted,
)
from cartpole_dqn.contracts.parts import State
from cartpole_dqn.contracts.pictures import Panel
from cartpole_dqn.contracts.seeding import SeedTree
from cartpole_dqn.testing._contract import Contract, Subject
from cartpole_dqn.testing._course import OPTIONS, STATE, Course, check_global_randomness
from cartpole_dqn.testing._state import assert_same, snapshot

Call = tuple[str, Any]
"""A method of `Observer`, and the event it is called with."""


class Rig:
    """An observer with a folder, console and clock of its own."""

    def __init__(self, part: Subject, folder: Path | None, *, plain: bool) -> None:
        self.seconds = 0.0
        self.part = part
        console = Console(file=io.StringIO(), force_terminal=not plain, width=100, height=30)
        place = None if folder is None else str(folder)
        self.context = ObserverContext(folder=place, console=console, clock=lambda: self.seconds, plain=plain)
        self.renew()

    def renew(self, state: State | None = None) -> None:
        """Build the observer, or another in its place, which loads a state."""
        self.observer: Observer = self.part.cls(self.part.options(), self.context)
        if state is not None:
            self.observer.load_state_dict(state)

    def play(self, *events: Call) -> None:
        """Call the observer with events in order; half a second passes before each step."""
        for method, event in events:
            self.seconds += 0.5 if method == "updated" else 0.0
            getattr(self.observer, method)(event)


class Watching(Course):
    """Observers of one run, live and plain, each with a folder and, if the class does not need one, without."""

    def __init__(self, part: Subject, seed: int = 0) -> None:
        self._place = tempfile.TemporaryDirectory()
        folders: list[Path | None] = [Path(self._place.name) / name for name in ("live", "plain")]
        for folder in filter(None, folders):
            folder.mkdir()
        if not getattr(part.cls, "needs_folder", False):
            folders += [None, None]
        self.rigs = [Rig(part, folder, plain=i % 2 == 1) for i, folder in enumerate(folders)]
        self.step = 0
        self._begun = False

    def plan(self) -> tuple[int, Iterable[int]]:
        return 60, (0, 25, 60)

    def go(self, steps: int) -> Any:
        events = [*([] if self._begun else [started(self.step)]), *happening(self.step, self.step + steps)]
        self.step, self._begun = self.step + steps, True
        self.play(*events)
        return snapshot(self.state())

    def play(self, *events: Call) -> None:
        """Call every observer with the events."""
        for rig in self.rigs:
            rig.play(*events)

    def state(self) -> list[State]:
        return [rig.observer.state_dict() for rig in self.rigs]

    def take_over(self, state: list[State], other: Watching) -> None:
        """See `Course`; the new observers find copies of the old ones' folders."""
        self._end()
        self.step = other.step
        for mine, theirs, saved in zip(self.rigs, other.rigs, state, strict=True):
            mine.seconds = theirs.seconds
            if mine.context.folder is not None and theirs.context.folder is not None:
                shutil.rmtree(mine.context.folder)
                shutil.copytree(theirs.context.folder, mine.context.folder)
            mine.renew(saved)
        problem = f"a state that was loaded after {self.step} steps became another"
        assert_same(state, snapshot(self.state()), problem, "state")

    def _end(self) -> None:
        if self._begun:
            self.play(*ended("done", self.step))
        self._begun = False

    def close(self) -> None:
        self._end()
        self._place.cleanup()


OBSERVER = Contract("observer", Watching, OPTIONS)


def check_observer(cls: Callable[..., Observer], /, **options: object) -> None:
    """Run every check of an observer.

    The kit calls it with the events of made-up runs: with and without a folder, for a live display and for plain lines,
    new, resumed, ended and failed.
    """
    OBSERVER.hold(cls, **options)


@OBSERVER.check
def check_whole_runs(part: Subject) -> None:
    """It accepts every event of a whole run, new or resumed, without an exception."""
    with closing(part.course()) as course:
        for rig in course.rigs:
            rig.play(started(0), *happening(0, 60), *ended("solved", 60))
            rig.renew(snapshot(rig.observer.state_dict()))
            rig.play(started(60), *happening(60, 120), *ended("SIGINT", 120))


@OBSERVER.check
def check_short_runs(part: Subject) -> None:
    """It accepts a run that ends or fails at once, and one that it sees from the middle."""
    for events in (
        [started(0), *ended("SIGTERM", 0)],
        [started(0), ("run_failed", RunFailed(0, ValueError("made up")))],
        [started(0), *happening(0, 3), ("run_failed", RunFailed(3, KeyboardInterrupt()))],
        [started(500), *happening(500, 560), *ended("done", 560)],
    ):
        with closing(part.course()) as course:
            course.play(*events)


@OBSERVER.check
def check_events_are_left_alone(part: Subject) -> None:
    """It changes neither events nor the mappings in them."""
    before, events = ([started(0), *happening(0, 60), *ended("done", 60)] for _ in range(2))
    with closing(part.course()) as course:
        course.play(*events)
    assert_same(before, events, "it changed an event", "events")


@OBSERVER.check
def check_stdout_is_left_alone(part: Subject) -> None:
    """It prints nothing to stdout, which is for a command's results; `context.console` is for observers."""
    with closing(part.course()) as course, contextlib.redirect_stdout(io.StringIO()) as printed:
        course.play(started(0), *happening(0, 60), *ended("done", 60))
    text = printed.getvalue()
    assert not text, f"it printed {text[:60]!r} to stdout: write to context.console."


@OBSERVER.check
def check_nothing_runs_on(part: Subject) -> None:
    """After `run_ended` or `run_failed` none of its threads is running."""
    before = set(threading.enumerate())
    for last in (ended("done", 60), [("run_failed", RunFailed(60, RuntimeError("made up")))]):
        with closing(part.course()) as course:
            course.play(started(0), *happening(0, 60), *last)
            _assert_over(before, last[-1][0])


OBSERVER.share((check_global_randomness, *STATE))


# Made-up runs ---------------------------------------------------------------------------------------------------------


def started(step: int) -> Call:
    """A run begins, or is resumed at a step of `happening`; an odd one has a limit of episodes."""
    steps, episodes = (None, 40) if step % 2 else (1000, None)
    return "run_started", RunStarted(
        name="made up", folder=None, steps=steps, episodes=episodes, step=step, episode=step // 6, num_envs=2,
        replay_bytes=12_345,
    )  # fmt: skip


def happening(begin: int, end: int) -> list[Call]:
    """The events from one step to another, in the order in which the runner reports them.

    The agent does not learn before step 10. Every sixth step ends an episode, every twentieth brings an evaluation,
    and every thirtieth a checkpoint.
    """
    events: list[Call] = []
    for step in range(begin + 1, end + 1):
        events.append(("updated", _progress(step, (step - 1) // 6)))
        if step % 15 == 0:
            panel = Panel("", np.full((4, 8), step % 256, dtype=np.uint8), "grey", 0.0, 255.0)
            events.append(("glimpsed", Glimpse(step=step, panels=[panel], q_values=np.zeros(2, dtype=np.float32))))
        if step % 6 == 0:
            events.append(("episode_ended", _episode(step)))
        if step % 20 == 0:
            best = step % 40 == 0
            for done, mean in ((0, None), (1, 9.0), (2, 20.0), (3, 80.0)):
                events.append(("evaluating", Evaluating(step, "select", done, 3, mean)))
            events.append(("evaluated", Evaluation(step, (9.0, 31.0, 200.0), (9, 31, 200), "select", 0.25, best)))
        if step % 30 == 0:
            events.append(("checkpoint_written", Checkpoint(step, "checkpoint", 1 << 20, 0.125)))
    return events


def ended(reason: str, step: int) -> list[Call]:
    """A run ends; if it was evaluated at all, it was evaluated once more."""
    best = Evaluation(step, (500.0,), (500,), "confirm", 0.5, True) if step >= 20 else None
    return [("run_ended", RunEnded(reason, _progress(step, step // 6), best, 1.5, 0.25, None))]


def _progress(step: int, episode: int) -> Progress:
    random = SeedTree(step).numpy("figures")
    metrics = {} if step < 10 else {"loss": float(random.random()), "q_mean": float(random.normal())}
    status: dict[str, float | str] = {
        "epsilon": 1 / (1 + step),
        "lr": 1e-3,
        "replay_size": step,
        "replay_capacity": 1000,
        "updates": max(0, step - 9),
        "mood": "curious",
    }
    return Progress(step, episode, step / 50, metrics, status)


def _episode(step: int) -> Episode:
    number = step // 6
    return Episode(
        episode=number, step=step, env=number % 2, seed=number, episode_return=float(number * 3 % 17), length=6,
        terminated=bool(number % 3), progress=_progress(step, number),
    )  # fmt: skip


def _assert_over(before: set[threading.Thread], event: str) -> None:
    for _ in range(100):
        left = [thread for thread in threading.enumerate() if thread not in before]
        if not left:
            return
        time.sleep(0.01)
    raise AssertionError(f"after {event} these threads are still running: {', '.join(t.name for t in left)}.")
