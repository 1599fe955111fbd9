"""`Display`: shows a run while it trains: a live panel on a terminal, plain lines elsewhere.

* `Display`: the observer. `DisplayOptions`: its options.
* `first_screen`: the panel while a run is prepared.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from typing import ClassVar

from rich.console import Console, ConsoleOptions
from rich.segment import Segment

from cartpole_dqn.contracts import events
from cartpole_dqn.contracts.options import option, options_class
from cartpole_dqn.observers import wording
from cartpole_dqn.observers.display.panel import EYE_FROM, RunPanel
from cartpole_dqn.observers.display.screen import Screen, is_live
from cartpole_dqn.observers.display.tracker import Tracker

_SAID_AFTER = 6
"""Lines that a run prints below its last panel, with the shell's prompt."""


@options_class
class DisplayOptions:
    """Options of the observer `display`."""

    refresh_per_second: float = option(
        default=2.0, gt=0, le=30, effect="how often the live panel is drawn", typical="1 to 10"
    )
    plain_every_seconds: float = option(
        default=5.0, gt=0, effect="seconds between lines where there is no live panel", typical="5 to 60"
    )
    curve: bool = option(default=True, effect="draw the chart of returns where there is room")
    eye: bool = option(default=True, effect="draw what the agent sees where there are 130 columns")


class Display(Tracker):
    """Shows a run on `context.console`: live on a terminal unless `context.plain` is set, otherwise in lines.

    A thread draws the panel from immutable snapshots, so a training step never waits for drawing. However the run ends,
    and when this observer fails, drawing stops and the cursor is shown again.
    """

    Options: ClassVar[type] = DisplayOptions

    def __init__(self, options: DisplayOptions, context: events.ObserverContext) -> None:
        super().__init__(context.clock)
        self._options = options
        self._console: Console = context.console
        self._wraps = is_live(self._console)
        self._plain = context.plain or not self._wraps
        self._next_line = 0.0
        self._screen: Screen | None = None

    @property
    def wants_glimpses(self) -> bool:
        return self._screen is not None and self._options.eye and self._console.width >= EYE_FROM

    def run_started(self, event: events.RunStarted) -> None:
        super().run_started(event)
        if self._plain:
            self._say(wording.opening(event))
            self._next_line = self.now() + self._options.plain_every_seconds
            return
        self._screen = _screen(self, self._console, self._options)
        self._screen.start()

    def updated(self, event: events.Progress) -> None:
        super().updated(event)
        if self._is_due(self._last_event):
            self._say(wording.plain_line(self.snapshot()))
        if self._screen is not None and self._screen.error is not None:
            error = self._screen.error
            self._stop()
            raise error

    def evaluating(self, event: events.Evaluating) -> None:
        super().evaluating(event)
        if self._is_due(self.now()):
            self._say(wording.describe_evaluating(event, self.run.started.solved_at))

    def evaluated(self, event: events.Evaluation) -> None:
        super().evaluated(event)
        if self._plain:
            self._say(wording.describe_evaluation(event, self.run.started.solved_at))

    def checkpoint_written(self, event: events.Checkpoint) -> None:
        super().checkpoint_written(event)
        if self._plain:
            self._say(wording.describe_checkpoint(event))

    def run_ended(self, event: events.RunEnded) -> None:
        super().run_ended(event)
        left = self._stop(leave=True)
        for line in wording.summary_lines(self.snapshot(), scored=left):
            self._say(line)

    def run_failed(self, event: events.RunFailed) -> None:
        super().run_failed(event)
        self._stop(leave=True)  # The caller of the run reports the error.

    def _is_due(self, now: float) -> bool:
        """Whether a plain line is due; if so, start waiting for the next one."""
        if not self._plain or now < self._next_line:
            return False
        self._next_line = now + self._options.plain_every_seconds
        return True

    def _say(self, text: str) -> None:
        try:
            text.encode(self._console.encoding)
        except (UnicodeEncodeError, LookupError):
            text = text.replace("±", "+-")
        # In a log long lines stay whole, so that they can be searched.
        self._console.print(text, markup=False, highlight=False, emoji=False, soft_wrap=not self._wraps)

    def _stop(self, *, leave: bool = False) -> bool:
        """Stop drawing. If `leave`, the panel stays on the terminal. Return whether it does."""
        screen, self._screen = self._screen, None
        if screen is None:
            return False
        screen.stop()
        if not leave or screen.error is not None:
            return False
        # What is printed below it should not push its top off the terminal.
        below = min(_SAID_AFTER, self._console.height // 4)
        self._console.print(RunPanel(self.snapshot(), self._options.curve, below=below))
        return True


@contextlib.contextmanager
def first_screen(console: Console, event: events.RunStarted) -> Iterator[Callable[[], None]]:
    """Show the panel of a run that is being prepared, on a live console. Yield a function that takes it away.

    torch is not imported for it, which takes seconds.
    """
    if not is_live(console):
        yield lambda: None
        return
    tracker = Tracker(time.perf_counter)
    tracker.run_started(event)
    screen = _screen(tracker, console, DisplayOptions())
    screen.start()
    try:
        yield screen.stop
    finally:
        screen.stop()


def _screen(tracker: Tracker, console: Console, options: DisplayOptions) -> Screen:
    """Return a screen that shows a run's panel."""
    # The handler that a run installs saves and stops, and then gives way to Python's, which raises KeyboardInterrupt.
    handler = signal.getsignal(signal.SIGINT)
    ours = str(getattr(handler, "__module__", "")).startswith("cartpole_dqn")

    def lines(room: ConsoleOptions) -> list[list[Segment]]:
        stopping = signal.getsignal(signal.SIGINT) is not handler if ours else None
        return RunPanel(tracker.snapshot(), options.curve, stopping).lines(console, room)

    return Screen(console, lines, per_second=options.refresh_per_second)
