"""`Display`: what people see of a run while it goes on: a live panel on a terminal, plain lines elsewhere.

* `Display`: the observer; `DisplayOptions`: its options.
* `is_live`: whether a console can show a panel that is drawn over and over.
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

from cartpole_dqn.contracts.events import (
    Checkpoint,
    Evaluating,
    Evaluation,
    ObserverContext,
    Progress,
    RunEnded,
    RunFailed,
    RunStarted,
)
from cartpole_dqn.contracts.options import option, options_class
from cartpole_dqn.observers.display.panel import (
    RunPanel,
    describe_checkpoint,
    describe_evaluating,
    describe_evaluation,
    plain_line,
    summary_lines,
)
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
    """Shows a run on `context.console`: live where that is a terminal and `context.plain` is not set, else in lines.

    The panel is drawn by a thread of its own from snapshots that are never changed; a step costs the run no drawing.
    However the run ends, and when this observer itself fails, drawing is stopped and the cursor is shown again.
    """

    Options: ClassVar[type] = DisplayOptions

    def __init__(self, options: DisplayOptions, context: ObserverContext) -> None:
        super().__init__(context.clock)
        self._options = options
        self._console: Console = context.console
        self._wraps = is_live(self._console)
        self._plain = context.plain or not self._wraps
        self._next_line = 0.0
        self._drawing: _Drawing | None = None

    def run_started(self, event: RunStarted) -> None:
        """Show that a run begins, or goes on."""
        super().run_started(event)
        if self._plain:
            self._say(_opening(event))
            self._next_line = self.now() + self._options.plain_every_seconds
            return
        self._drawing = _Drawing(self, self._console, self._options)
        self._drawing.start()

    def updated(self, event: Progress) -> None:
        """Keep the snapshot; in plain mode print a line when one is due."""
        super().updated(event)
        if self._plain:
            if self._seen >= self._next_line:
                self._say_now(plain_line(self.snapshot()))
        elif self._drawing is not None and self._drawing.error is not None:
            error = self._drawing.error
            self._stop()
            raise error

    def evaluating(self, event: Evaluating) -> None:
        """Show how far it is; in plain mode print a line when one is due."""
        super().evaluating(event)
        if self._plain and self.now() >= self._next_line:
            self._say_now(describe_evaluating(event))

    def evaluated(self, event: Evaluation) -> None:
        """Show the evaluation."""
        super().evaluated(event)
        if self._plain:
            self._say(describe_evaluation(event))

    def checkpoint_written(self, event: Checkpoint) -> None:
        """Show the checkpoint."""
        super().checkpoint_written(event)
        if self._plain:
            self._say(describe_checkpoint(event))

    def run_ended(self, event: RunEnded) -> None:
        """Draw for the last time and print the summary."""
        super().run_ended(event)
        self._stop()
        for line in summary_lines(self.snapshot(), event):
            self._say(line)

    def run_failed(self, event: RunFailed) -> None:
        """Stop drawing: the error is told by whoever started the run."""
        super().run_failed(event)
        self._stop()

    def _say(self, text: str) -> None:
        try:
            text.encode(self._console.encoding)
        except (UnicodeEncodeError, LookupError):
            text = text.replace("±", "+-")
        # In a log long lines stay whole, so that they can be searched.
        self._console.print(text, markup=False, highlight=False, emoji=False, soft_wrap=not self._wraps)

    def _say_now(self, text: str) -> None:
        self._next_line = self.now() + self._options.plain_every_seconds
        self._say(text)

    def _stop(self) -> None:
        drawing, self._drawing = self._drawing, None
        if drawing is not None:
            drawing.stop()


def is_live(console: Console) -> bool:
    """Whether a panel can be drawn over and over on `console`.

    A console may be told to take a file for a terminal (FORCE_COLOR in a build's log, say): colours are fine there,
    moving the cursor is not.
    """
    if not (console.is_terminal and console.is_interactive) or console.is_dumb_terminal:
        return False
    try:
        console.file.fileno()
    except (AttributeError, OSError, ValueError, io.UnsupportedOperation):
        return True  # no descriptor: whoever made the console knows what is behind it
    return _is_tty(console.file)


def _is_tty(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False


def _opening(event: RunStarted) -> str:
    budget = f"{event.steps:,} steps" if event.steps is not None else ""
    budget = f"{event.episodes:,} episodes" if event.episodes is not None and not budget else budget
    parts = [budget, f"replay {size(event.replay_bytes)}" if event.replay_bytes else ""]
    parts.append(f"{event.num_envs} environments" if event.num_envs > 1 else "")
    parts.append(f"going on from step {event.step:,}" if event.step else "")
    parts.append(f"in {event.folder}" if event.folder else "")
    return one_line(f"{event.name}: {', '.join(part for part in parts if part)}")


class _Drawing:
    """The live panel: Rich's `Live` with a thread that draws, and what it needs beyond.

    `error` is what drawing raised, if anything; from then on nothing is drawn.
    """

    def __init__(self, tracker: Tracker, console: Console, options: DisplayOptions) -> None:
        self._tracker = tracker
        self._console = console
        self._curve = options.curve
        self._reflow = _Reflow(console)
        self.error: Exception | None = None
        self._live = Live(
            get_renderable=lambda: self,
            console=console,
            refresh_per_second=options.refresh_per_second,
            # What is printed to a redirected stdout belongs there, not on the terminal.
            redirect_stdout=_is_tty(sys.stdout),
        )

    def start(self) -> None:
        """Draw, and go on drawing."""
        # Below the hook of `Live`, which puts what this one returns right behind its own way up.
        self._console.push_render_hook(self._reflow)
        self._live.start(refresh=True)

    def stop(self) -> None:
        """Draw for the last time, and give the terminal back as it was."""
        try:
            self._live.stop()
        finally:
            self._console.pop_render_hook()
            self._console.show_cursor(True)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # Everything is made here, inside the try: an exception in the drawing thread would end it without a word.
        lines: list[list[Segment]] = []
        if self.error is None:
            try:
                panel = RunPanel(self._tracker.snapshot(), curve=self._curve)
                lines = console.render_lines(panel, options, pad=False)
            except Exception as error:
                self.error = error
        self._reflow.drawn([sum(cell_len(segment.text) for segment in line) for line in lines])
        for i, line in enumerate(lines):
            if i:
                yield Segment.line()
            yield from line


class _Reflow(RenderHook):
    """Takes away what a terminal leaves behind when it is made narrower: it folds the lines that no longer fit.

    `Live` moves up by as many lines as it drew; this moves up by the ones that came of folding, too.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._widths: list[int] = []

    def drawn(self, widths: list[int]) -> None:
        """Hear how many cells each line took that was drawn last."""
        self._widths = widths

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Return what is to be printed, with the way up before it."""
        width = max(1, self._console.width)
        folded = sum(-(-cells // width) - 1 for cells in self._widths if cells > width)
        if not folded:
            return renderables
        up = Control(*((ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2)) * folded)
        return [up, *renderables]
