"""`Notebook`: shows a run below the Jupyter cell that started it, redrawn in place.

* `Notebook`: the observer. `NotebookOptions`: its options.
* `in_kernel`: whether this process is a notebook's kernel.

IPython is no dependency, and is only imported where a kernel runs.
"""

from __future__ import annotations

import importlib
import math
import sys
from typing import Any, ClassVar

from cartpole_dqn.contracts import events
from cartpole_dqn.contracts.options import option, options_class
from cartpole_dqn.observers.display.tracker import Tracker
from cartpole_dqn.observers.notebook_card import card
from cartpole_dqn.observers.wording import describe_evaluating, plain_line, summary_lines


@options_class
class NotebookOptions:
    """Options of the observer `notebook`."""

    every_seconds: float = option(default=1.0, gt=0, effect="seconds between drawings", typical="0.5 to 5")


class Notebook(Tracker):
    """Shows a run as one output of a notebook; silent elsewhere, and where `context.plain` is set.

    It draws in the run's thread, in about a millisecond: at most every `every_seconds`, and after evaluations.
    `Display` can load its state, and the other way round.
    """

    Options: ClassVar[type] = NotebookOptions

    def __init__(self, options: NotebookOptions, context: events.ObserverContext) -> None:
        super().__init__(context.clock)
        self._options = options
        self._enabled = not context.plain and in_kernel()
        self._next = -math.inf
        self._handle: Any = None

    def run_started(self, event: events.RunStarted) -> None:
        super().run_started(event)
        self._draw()

    def updated(self, event: events.Progress) -> None:
        super().updated(event)
        if self._last_event >= self._next:
            self._draw()

    def evaluating(self, event: events.Evaluating) -> None:
        super().evaluating(event)
        if self.now() >= self._next:
            self._draw(describe_evaluating(event, self.run.started.solved_at))

    def evaluated(self, event: events.Evaluation) -> None:
        super().evaluated(event)
        self._draw()

    def run_ended(self, event: events.RunEnded) -> None:
        super().run_ended(event)
        self._draw(*summary_lines(self.snapshot()))

    def run_failed(self, event: events.RunFailed) -> None:
        super().run_failed(event)
        self._draw(f"ended at step {event.step:,} by {type(event.error).__name__}")

    def _draw(self, *lines: str) -> None:
        if not self._enabled:
            return
        snapshot = self.snapshot()
        # Consoles and text logs show the plain text.
        bundle = {"text/html": card(snapshot, lines), "text/plain": "\n".join([plain_line(snapshot), *lines])}
        if self._handle is None:
            display = importlib.import_module("IPython.display").display
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)
        # Counted from the end of drawing, so that slow drawing cannot take all the time.
        self._next = self.now() + self._options.every_seconds


def in_kernel() -> bool:
    """Whether this process is the kernel of a notebook, so that output can be replaced. Imports nothing."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    # By name, and of any ancestor: Colab's shell is a subclass of ipykernel's.
    return any(cls.__name__ == "ZMQInteractiveShell" for cls in type(shell).__mro__)
