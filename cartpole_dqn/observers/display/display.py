"""`Display`: shows a run while it trains: a live panel on a terminal, plain lines elsewhere.

* `Display`: the observer. `DisplayOptions`: its options.
* `is_live`: whether a console can redraw a panel in place.
* `Drawing`: draws the panel. `first_screen`: the panel while a run is prepared.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from rich.console import Console, ConsoleDimensions, ConsoleRenderable, RenderHook
from rich.control import Control
from rich.file_proxy import FileProxy
from rich.segment import ControlType, Segment, Segments

from cartpole_dqn.contracts import events
from cartpole_dqn.contracts.options import option, options_class
from cartpole_dqn.observers.display import panel
from cartpole_dqn.observers.display.tracker import Tracker
from cartpole_dqn.system import leaving_on_signals
from cartpole_dqn.text.figures import one_line, size

_SAID_BELOW = 3
"""Lines below the panel for what was printed last."""
_ERASE = Control((ControlType.ERASE_IN_LINE, 0)).segment
"""Erases the rest of a line."""


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
        self._drawing: Drawing | None = None

    @property
    def wants_glimpses(self) -> bool:
        return self._drawing is not None and self._options.eye and self._console.width >= panel.EYE_FROM

    def run_started(self, event: events.RunStarted) -> None:
        super().run_started(event)
        if self._plain:
            self._say(_opening(event))
            self._next_line = self.now() + self._options.plain_every_seconds
            return
        self._drawing = Drawing(self, self._console, self._options)
        self._drawing.start()

    def updated(self, event: events.Progress) -> None:
        super().updated(event)
        if self._is_due(self._seen):
            self._say(panel.plain_line(self.snapshot()))
        if self._drawing is not None and self._drawing.error is not None:
            error = self._drawing.error
            self._stop()
            raise error

    def evaluating(self, event: events.Evaluating) -> None:
        super().evaluating(event)
        if self._is_due(self.now()):
            self._say(panel.describe_evaluating(event, self.run.started.solved_at))

    def evaluated(self, event: events.Evaluation) -> None:
        super().evaluated(event)
        if self._plain:
            self._say(panel.describe_evaluation(event, self.run.started.solved_at))

    def checkpoint_written(self, event: events.Checkpoint) -> None:
        super().checkpoint_written(event)
        if self._plain:
            self._say(panel.describe_checkpoint(event))

    def run_ended(self, event: events.RunEnded) -> None:
        super().run_ended(event)
        self._stop(show=True)
        for line in panel.summary_lines(self.snapshot(), event):
            self._say(line)

    def run_failed(self, event: events.RunFailed) -> None:
        super().run_failed(event)
        self._stop(show=True)  # The caller of the run reports the error.

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

    def _stop(self, *, show: bool = False) -> None:
        drawing, self._drawing = self._drawing, None
        if drawing is not None:
            drawing.stop(show=show)


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
    drawing = Drawing(tracker, console, DisplayOptions())
    drawing.start()
    try:
        yield drawing.stop
    finally:
        drawing.stop()


def is_live(console: Console) -> bool:
    """Whether a panel can be redrawn in place on `console`.

    FORCE_COLOR makes a console treat a log file as a terminal. Colours are fine there, cursor movements are not.
    """
    if not (console.is_terminal and console.is_interactive) or console.is_dumb_terminal:
        return False
    try:
        console.file.fileno()
    except (AttributeError, OSError, ValueError, io.UnsupportedOperation):
        return True  # No descriptor: the console's maker decides.
    return _is_tty(console.file)


def _is_tty(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False


def _is_in_front(stream: Any) -> bool:
    """Whether this process may write on its terminal: it is no background job."""
    try:
        return os.tcgetpgrp(stream.fileno()) == os.getpgrp()
    except (AttributeError, OSError, ValueError):  # Not on Windows, and not without a terminal of its own.
        return True


def _opening(event: events.RunStarted) -> str:
    limits = ((event.steps, "steps"), (event.episodes, "episodes"))
    parts = [
        next((f"{count:,} {unit}" for count, unit in limits if count is not None), ""),
        f"replay {size(event.replay_bytes)}" if event.replay_bytes else "",
        f"{event.num_envs} environments" if event.num_envs > 1 else "",
        f"going on from step {event.step:,}" if event.step else "",
        f"in {event.folder}" if event.folder else "",
    ]
    return one_line(f"{event.name}: {', '.join(filter(None, parts))}")


class Drawing(RenderHook):
    """Draws a run's panel on the terminal's alternate screen, in a thread of its own.

    That screen has no scrollback and is drawn anew as a whole, so nothing old stays on it: neither after the terminal
    was resized, nor what another library wrote there. Text printed on the console meanwhile stands below the panel, and
    is printed again at the end, when the usual screen is back. A suspended run (Ctrl-Z) gives the terminal back, and
    one in the background leaves it alone.

    `error` is the exception that drawing raised, if any; after it nothing is drawn.
    """

    def __init__(self, tracker: Tracker, console: Console, options: DisplayOptions) -> None:
        self._tracker, self._console, self._options = tracker, console, options
        self._said: list[ConsoleRenderable] = []
        # The handler that a run installs saves and stops. Elsewhere Python's raises KeyboardInterrupt.
        self._stops = str(getattr(signal.getsignal(signal.SIGINT), "__module__", "")).startswith("cartpole_dqn")
        self.error: Exception | None = None
        self._lock = threading.RLock()
        self._on_screen = False
        self._over = threading.Event()
        self._ways_back = contextlib.ExitStack()

    def start(self) -> None:
        """Draw, and go on drawing until `stop`."""
        self._console.push_render_hook(self)
        self._ways_back.callback(self._console.pop_render_hook)
        # Text printed to a redirected stdout belongs there, not on the terminal.
        if _is_tty(sys.stdout):
            self._ways_back.enter_context(contextlib.redirect_stdout(FileProxy(self._console, sys.stdout)))
        self._ways_back.enter_context(contextlib.redirect_stderr(FileProxy(self._console, sys.stderr)))
        self._ways_back.enter_context(leaving_on_signals(self._leave, self._draw))
        self._draw()
        threading.Thread(target=self._keep_drawing, name="display", daemon=True).start()

    def stop(self, *, show: bool = False) -> None:
        """Give the terminal back, with what was printed meanwhile; `show` leaves the panel there too."""
        self._over.set()
        self._leave()
        self._ways_back.close()
        while self._said:
            self._console.print(self._said.pop(0))
        if show and self.error is None:
            self._console.print(self._panel())

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Draw in place of what is printed on the console, which is kept."""
        with self._lock:
            self._said += [part for part in renderables if not isinstance(part, Control)]
            return [Segments(self._screen() if self._on_screen else [])]

    def _keep_drawing(self) -> None:
        while not self._over.wait(1 / self._options.refresh_per_second):
            self._draw()

    def _draw(self) -> None:
        with self._lock:
            if self._over.is_set() or self.error is not None or not _is_in_front(self._console.file):
                return
            if not self._on_screen:
                self._on_screen = True
                self._console.set_alt_screen(True)
                self._console.show_cursor(False)
            self._console.print(Control(), crop=False)

    def _leave(self) -> None:
        # A signal may interrupt a print of the main thread, for which the thread that draws then waits.
        held = self._lock.acquire(timeout=1.0)
        if self._on_screen:
            self._on_screen = False
            # Cleared, since a terminal that was resized may keep lines of the alternate screen.
            self._console.control(Control.clear(), Control.home())
            self._console.show_cursor(True)
            self._console.set_alt_screen(False)
        if held:
            self._lock.release()

    def _screen(self) -> list[Segment]:
        """Return what to write for a whole screen."""
        try:
            options = self._console.options
            width, height = options.size
            below = self._said[-_SAID_BELOW:]
            room = options.update(height=max(1, height - len(below)))
            room.size = ConsoleDimensions(width, room.height or 1)
            lines = self._panel().lines(self._console, room)
            # A terminal erases the last character, too, when a line is full.
            narrow = options.update(width=max(1, width - 1), height=None)
            lines += [self._console.render_lines(said, narrow, pad=False)[0] for said in below]
        except Exception as error:  # In the thread it would be lost.
            self.error = error
            return []
        written = [Control.home().segment]
        for line in [*lines, *([[]] * (height - len(lines)))][:height]:
            written += [*line, _ERASE, Segment.line()]
        return written[:-1]  # Without the last end of line, which would scroll.

    def _panel(self) -> panel.RunPanel:
        return panel.RunPanel(self._tracker.snapshot(), curve=self._options.curve, stops=self._stops)
