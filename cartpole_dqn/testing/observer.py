"""The contract of `Observer`: hears of a run and changes nothing in it.

* `check_observer`: every check of the kind.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from cartpole_dqn.contracts.events import (
    Checkpoint,
    Episode,
    Evaluating,
    Evaluation,
    Observer,
    ObserverContext,
    Progress,
    RunEnded,
    RunFailed,
    RunStarted,
)
from cartpole_dqn.contracts.parts import State
from cartpole_dqn.contracts.seeding import SeedTree
from cartpole_dqn.testing._contract import Contract
from cartpole_dqn.testing._course import STATE, Course, Lasting, check_global_randomness
from cartpole_dqn.testing._options import SHARED
from cartpole_dqn.testing._state import difference, snapshot

Told = tuple[str, Any]
"""A method of `Observer` and the event that it hears."""


class ObserverSubject(Lasting[Observer]):
    """An observer class."""

    saved_after = (0, 25, 60)

    def course(self, seed: int = 0) -> Watching:
        """See `Lasting`."""
        return Watching(self)

    def watch(self, stage: Stage) -> Observer:
        """Return a new observer on a stage."""
        return self.cls(self.options(), stage.context)


OBSERVER: Contract[ObserverSubject] = Contract("observer", ObserverSubject, SHARED)


def check_observer(cls: Callable[..., Observer], /, **options: object) -> None:
    """Hold an observer to its contract.

    The kit tells it of made-up runs: with and without a folder, for a live display and for plain lines, begun, resumed,
    ended and failed.
    """
    OBSERVER.hold(cls, **options)


class Stage:
    """Where an observer is built: its folder, console and clock, all made up."""

    def __init__(self, folder: Path | None, *, plain: bool = True) -> None:
        self.seconds = 0.0
        self.console = Console(file=io.StringIO(), force_terminal=not plain, width=100, height=30)
        self.context = ObserverContext(
            folder=None if folder is None else str(folder),
            console=self.console,
            clock=lambda: self.seconds,
            plain=plain,
        )

    def tell(self, observer: Observer, events: list[Told]) -> None:
        """Tell events in order; half a second passes before each step."""
        for method, event in events:
            self.seconds += 0.5 if method == "updated" else 0.0
            getattr(observer, method)(event)


@contextlib.contextmanager
def stages(part: ObserverSubject) -> Iterator[list[Stage]]:
    """A folder and, where the observer does not need one, none; live and plain."""
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "live").mkdir()
        (Path(place) / "plain").mkdir()
        kept = [Stage(Path(place) / "live", plain=False), Stage(Path(place) / "plain")]
        yield kept if getattr(part.cls, "needs_folder", False) else [*kept, Stage(None, plain=False), Stage(None)]


class Watching(Course):
    """Observers of one run, on every kind of stage."""

    def __init__(self, part: ObserverSubject) -> None:
        self._part = part
        self._open = contextlib.ExitStack()
        self.stages = self._open.enter_context(stages(part))
        self.step = 0
        self._begin()

    def _begin(self) -> None:
        self.observers = [self._part.watch(stage) for stage in self.stages]
        self._told = False

    def go(self, steps: int) -> Any:
        """See `Course`."""
        events = [*([] if self._told else [started(self.step)]), *happening(self.step, self.step + steps)]
        self.step, self._told = self.step + steps, True
        for stage, observer in zip(self.stages, self.observers, strict=True):
            stage.tell(observer, events)
        return snapshot(self.state())

    def state(self) -> list[State]:
        """See `Course`."""
        return [observer.state_dict() for observer in self.observers]

    def take_over(self, state: list[State], other: Watching) -> None:
        """See `Course`; the new observers find copies of the folders of the old ones."""
        self._end()
        self.step = other.step
        for mine, theirs in zip(self.stages, other.stages, strict=True):
            mine.seconds = theirs.seconds
            if mine.context.folder is not None and theirs.context.folder is not None:
                shutil.rmtree(mine.context.folder)
                shutil.copytree(theirs.context.folder, mine.context.folder)
        self._begin()
        for observer, saved in zip(self.observers, state, strict=True):
            observer.load_state_dict(saved)
        place = difference(state, snapshot(self.state()), "state")
        assert not place, f"a state that was taken over after {self.step} steps became another: {place}."

    def _end(self) -> None:
        for stage, observer in zip(self.stages, self.observers, strict=True):
            stage.tell(observer, ended("done", self.step) if self._told else [])

    def close(self) -> None:
        """See `Course`."""
        self._end()
        self._open.close()


@OBSERVER.check
def check_whole_runs(part: ObserverSubject) -> None:
    """It hears a whole run, begun or resumed, from the first event to its end, and raises nothing."""
    with stages(part) as found:
        for stage in found:
            observer = part.watch(stage)
            stage.tell(observer, [started(0), *happening(0, 60), *ended("solved", 60)])
            resumed = part.watch(stage)
            resumed.load_state_dict(snapshot(observer.state_dict()))
            stage.tell(resumed, [started(60), *happening(60, 120), *ended("SIGINT", 120)])


@OBSERVER.check
def check_short_runs(part: ObserverSubject) -> None:
    """It bears a run that ends, or fails, before anything happened, and one that it hears of in the middle."""
    for events in (
        [started(0), *ended("SIGTERM", 0)],
        [started(0), ("run_failed", RunFailed(0, ValueError("made up")))],
        [started(0), *happening(0, 3), ("run_failed", RunFailed(3, KeyboardInterrupt()))],
        [started(500), *happening(500, 560), *ended("done", 560)],
    ):
        with stages(part) as found:
            for stage in found:
                stage.tell(part.watch(stage), events)


@OBSERVER.check
def check_events_are_left_alone(part: ObserverSubject) -> None:
    """Events, and the mappings in them, are read and not changed."""
    with stages(part) as found:
        for stage in found:
            events = [started(0), *happening(0, 60), *ended("done", 60)]
            stage.tell(part.watch(stage), events)
            place = difference([started(0), *happening(0, 60), *ended("done", 60)], events, "events")
            assert not place, f"it changed what it was told: {place}."


@OBSERVER.check
def check_stdout_is_left_alone(part: ObserverSubject) -> None:
    """Nothing goes to stdout, where a command's results are: write to `context.console`."""
    with stages(part) as found, contextlib.redirect_stdout(io.StringIO()) as printed:
        for stage in found:
            observer = part.watch(stage)
            stage.tell(observer, [started(0), *happening(0, 60), *ended("done", 60)])
        text = printed.getvalue()
    assert not text, f"it printed {text[:60]!r} to stdout: write to context.console."


@OBSERVER.check
def check_nothing_runs_on(part: ObserverSubject) -> None:
    """After `run_ended` or `run_failed` no thread of its own is left running."""
    before = set(threading.enumerate())
    for last in (ended("done", 60), [("run_failed", RunFailed(60, RuntimeError("made up")))]):
        with stages(part) as found:
            for stage in found:
                observer = part.watch(stage)
                stage.tell(observer, [started(0), *happening(0, 60), *last])
                _assert_over(before, last[-1][0])


OBSERVER.share((check_global_randomness, *STATE))


# Made-up runs ---------------------------------------------------------------------------------------------------------


def started(step: int) -> Told:
    """A run begins, or is resumed at a step of `happening`."""
    bounds = (None, 40) if step % 2 else (1000, None)
    return "run_started", RunStarted(
        name="made up", folder=None, steps=bounds[0], episodes=bounds[1], step=step, episode=step // 6, num_envs=2,
        replay_bytes=12_345,
    )  # fmt: skip


def happening(begin: int, end: int) -> list[Told]:
    """What happens from one step to another: nothing is learned before step 10, an episode ends at every sixth.

    Evaluations and checkpoints come now and then, as the runner tells of them: after the step's other events.
    """
    events: list[Told] = []
    for step in range(begin + 1, end + 1):
        progress = _progress(step, (step - 1) // 6)
        events.append(("updated", progress))
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


def ended(reason: str, step: int) -> list[Told]:
    """A run ends, in order; it was evaluated once more if it was evaluated at all."""
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
