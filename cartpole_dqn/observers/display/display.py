"""`Display`: shows a run while it trains: a live panel on a terminal, plain lines elsewhere.

* `Display`: the observer. `DisplayOptions`: its options.
* `is_live`: whether a console can redraw a panel in place.
"""

from __future__ import annotations

import io
import sys
from typing import Any, ClassVar

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType, Segment

from cartpole_dqn.contracts import events
from cartpole_dqn.contracts.options import option, options_class
from cartpole_dqn.observers.display import panel
from cartpole_dqn.observers.display.tracker import Tracker
from cartpole_dqn.text.figures import one_line, size


@options_class
class DisplayOptions:
    """Options of the observer `display`."""

    refresh_per_second: float = option(
        default=4.0, gt=0, le=30, effect="how often the live panel is drawn", typical="2 to 10"
    )
    plain_every_seconds: float = option(
        default=5.0, gt=0, effect="seconds between lines where there is no live panel", typical="5 to 60"
    )
    curve: bool = option(default=True, effect="draw the curve of returns where there is room")


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
        self._drawing: _Drawing | None = None

    def run_started(self, event: events.RunStarted) -> None:
        super().run_started(event)
        if self._plain:
            self._say(_opening(event))
            self._next_line = self.now() + self._options.plain_every_seconds
            return
        self._drawing = _Drawing(self, self._console, self._options)
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
            self._say(panel.describe_evaluating(event))

    def evaluated(self, event: events.Evaluation) -> None:
        super().evaluated(event)
        if self._plain:
            self._say(panel.describe_evaluation(event))

    def checkpoint_written(self, event: events.Checkpoint) -> None:
        super().checkpoint_written(event)
        if self._plain:
            self._say(panel.describe_checkpoint(event))

    def run_ended(self, event: events.RunEnded) -> None:
        super().run_ended(event)
        self._stop()
        for line in panel.summary_lines(self.snapshot(), event):
            self._say(line)

    def run_failed(self, event: events.RunFailed) -> None:
        super().run_failed(event)
        self._stop()  # The caller of the run reports the error.

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

    def _stop(self) -> None:
        drawing, self._drawing = self._drawing, None
        if drawing is not None:
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


class _Drawing(RenderHook):
    """Rich's `Live`, which here survives an error while drawing and a terminal that becomes narrower.

    `error` is the exception that drawing raised, if any; after it nothing is drawn. A narrower terminal folds lines
    that no longer fit. `Live` moves the cursor up by the lines it drew, and this render hook by the extra ones.
    """

    def __init__(self, tracker: Tracker, console: Console, options: DisplayOptions) -> None:
        self._tracker, self._console, self._curve = tracker, console, options.curve
        self._widths: list[int] = []
        self.error: Exception | None = None
        self._live = Live(
            get_renderable=lambda: self,
            console=console,
            refresh_per_second=options.refresh_per_second,
            # Text printed to a redirected stdout belongs there, not on the terminal.
            redirect_stdout=_is_tty(sys.stdout),
        )

    def start(self) -> None:
        # Before the hook of `Live`, which puts its own cursor movement in front of what this hook returns.
        self._console.push_render_hook(self)
        self._live.start(refresh=True)

    def stop(self) -> None:
        try:
            self._live.stop()
        finally:
            self._console.pop_render_hook()
            self._console.show_cursor(True)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # Everything is drawn inside the try: an exception would end the drawing thread silently.
        lines: list[list[Segment]] = []
        if self.error is None:
            try:
                shown = panel.RunPanel(self._tracker.snapshot(), curve=self._curve)
                lines = console.render_lines(shown, options, pad=False)
            except Exception as error:
                self.error = error
        self._widths = [sum(cell_len(segment.text) for segment in line) for line in lines]
        for i, line in enumerate(lines):
            if i:
                yield Segment.line()
            yield from line

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        width = max(1, self._console.width)
        folded = sum(-(-cells // width) - 1 for cells in self._widths if cells > width)
        up = Control(*((ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2)) * folded)
        return [up, *renderables] if folded else renderables
