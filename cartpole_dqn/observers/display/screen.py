"""A terminal that is drawn on as a whole.

* `Screen`: draws in a thread of its own.
* `is_live`: whether a console can be drawn on in place.
* `spinner`: shows what a command is doing, in one line.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console, ConsoleDimensions, ConsoleOptions, ConsoleRenderable, RenderHook
from rich.control import Control
from rich.file_proxy import FileProxy
from rich.segment import ControlType, Segment, Segments

from cartpole_dqn.system import leaving_on_signals

_PRINTED_BELOW = 3
"""Lines below the drawing for what was printed last."""
_ERASE = Control((ControlType.ERASE_IN_LINE, 0)).segment
"""Erases the rest of a line."""
_LEAVE = "\x1b[2J\x1b[H\x1b[?25h\x1b[?1049l"
"""Clears the alternate screen, of which a resized terminal may keep lines; shows the cursor and the usual screen."""


def is_live(console: Console) -> bool:
    """Whether a drawing can be redrawn in place on `console`.

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


@contextlib.contextmanager
def spinner(console: Console, doing: str) -> Iterator[Callable[[str], None]]:
    """Show one line below what is printed. Yield a function that changes its text.

    A suspended process (Ctrl-Z) gives the terminal back, and one in the background leaves it alone.
    """
    status = console.status(doing)

    def show() -> None:
        if _is_in_front(console.file):
            status.start()

    def tell(doing: str) -> None:
        status.update(doing)
        show()

    with leaving_on_signals(status.stop, show):
        try:
            show()
            yield tell
        finally:
            status.stop()


def _write(file: Any, text: str) -> None:
    """Write past the file's buffer. A signal may have interrupted a write to it, and Python then refuses another.

    Nothing is written if the terminal was closed meanwhile.
    """
    try:
        number = file.fileno()
    except (AttributeError, OSError):
        file.write(text)
    else:
        with contextlib.suppress(OSError):
            os.write(number, text.encode())


class Screen(RenderHook):
    """Draws on the terminal's alternate screen, in a thread of its own.

    That screen has no scrollback and is drawn anew as a whole, so nothing old stays on it: neither after the terminal
    was resized, nor what another library wrote there. Text printed on the console meanwhile stands below the drawing,
    and is printed again at the end, when the usual screen is back. A suspended process (Ctrl-Z) gives the terminal
    back, and one in the background leaves it alone.

    Args:
        console: where to draw.
        lines: called for each drawing, in the thread; returns lines for the size of the options.
        per_second: drawings.

    `error` is the exception that drawing raised, if any; after it nothing is drawn.
    """

    def __init__(
        self, console: Console, lines: Callable[[ConsoleOptions], list[list[Segment]]], *, per_second: float
    ) -> None:
        self._console, self._lines, self._seconds = console, lines, 1 / per_second
        self._printed: list[ConsoleRenderable] = []
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
        self._ways_back.enter_context(leaving_on_signals(self._leave, lambda: None))
        self._draw()
        threading.Thread(target=self._keep_drawing, name="display", daemon=True).start()

    def stop(self) -> None:
        """Give the terminal back, with what was printed meanwhile."""
        self._over.set()
        self._leave()
        self._ways_back.close()
        while self._printed:
            self._console.print(self._printed.pop(0))

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Draw in place of what is printed on the console, which is kept."""
        with self._lock:
            self._printed += [part for part in renderables if not isinstance(part, Control)]
            return [Segments(self._screen() if self._on_screen else [])]

    def _keep_drawing(self) -> None:
        while not self._over.wait(self._seconds):
            self._draw()

    def _draw(self) -> None:
        with self._lock:
            if self._over.is_set() or self.error is not None or not _is_in_front(self._console.file):
                return
            if not self._on_screen:
                self._on_screen = True
                self._console.control(Control.alt_screen(True), Control.show_cursor(False))
            self._console.print(Control(), crop=False)

    def _leave(self) -> None:
        # A signal may interrupt a print of the main thread, for which the thread that draws then waits.
        acquired = self._lock.acquire(timeout=1.0)
        if self._on_screen:
            self._on_screen = False
            _write(self._console.file, _LEAVE)
        if acquired:
            self._lock.release()

    def _screen(self) -> list[Segment]:
        """Return what to write for a whole screen."""
        try:
            options = self._console.options
            width, height = options.size
            below = self._printed[-_PRINTED_BELOW:]
            room = options.update(height=max(1, height - len(below)))
            room.size = ConsoleDimensions(width, room.height or 1)
            lines = self._lines(room)
            # A terminal erases the last character, too, when a line is full.
            narrow = options.update(width=max(1, width - 1), height=None)
            lines += [self._console.render_lines(renderable, narrow, pad=False)[0] for renderable in below]
        except Exception as error:  # In the thread it would be lost.
            self.error = error
            return []
        segments = [Control.home().segment]
        for line in [*lines, *([[]] * (height - len(lines)))][:height]:
            segments += [*line, _ERASE, Segment.line()]
        return segments[:-1]  # Without the last end of line, which would scroll.
