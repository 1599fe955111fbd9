"""`Notebook`: a run as it goes on, below the cell of a Jupyter notebook that started it, drawn over and over.

* `Notebook`: the observer; `NotebookOptions`: its options.
* `in_kernel`: whether this process is a notebook's.

IPython is never imported before a kernel runs, and is no dependency. `notebook_card` says how it looks.
"""

from __future__ import annotations

import importlib
import math
import sys
from typing import Any, ClassVar

from cartpole_dqn.contracts.events import (
    Evaluating,
    Evaluation,
    ObserverContext,
    Progress,
    RunEnded,
    RunFailed,
    RunStarted,
)
from cartpole_dqn.contracts.options import option, options_class
from cartpole_dqn.observers.display.panel import describe_evaluating, plain_line, summary_lines
from cartpole_dqn.observers.display.tracker import Tracker
from cartpole_dqn.observers.notebook_card import card


@options_class
class NotebookOptions:
    """Options of the observer `notebook`."""

    every_seconds: float = option(default=1.0, gt=0, effect="seconds between drawings", typical="0.5 to 5")


class Notebook(Tracker):
    """Shows a run through IPython's display, one output that is replaced; outside a notebook it stays silent.

    It draws in the run's thread, in about a millisecond, at most every `every_seconds`, and after evaluations.
    What `Display` saved it goes on from, and the other way round.
    """

    Options: ClassVar[type] = NotebookOptions

    def __init__(self, options: NotebookOptions, context: ObserverContext) -> None:
        super().__init__(context.clock)
        self._options = options
        self._wanted = not context.plain and in_kernel()
        self._next = -math.inf
        self._handle: Any = None

    def run_started(self, event: RunStarted) -> None:
        """Make the output."""
        super().run_started(event)
        self._draw()

    def updated(self, event: Progress) -> None:
        """Keep the snapshot; draw where it is time."""
        super().updated(event)
        if self._seen >= self._next:
            self._draw()

    def evaluating(self, event: Evaluating) -> None:
        """Show how far it is, where it is time."""
        super().evaluating(event)
        if self.now() >= self._next:
            self._draw(describe_evaluating(event))

    def evaluated(self, event: Evaluation) -> None:
        """Show the evaluation."""
        super().evaluated(event)
        self._draw()

    def run_ended(self, event: RunEnded) -> None:
        """Draw for the last time, with the summary."""
        super().run_ended(event)
        self._draw(*summary_lines(self.snapshot(), event))

    def run_failed(self, event: RunFailed) -> None:
        """Draw for the last time: the error is told by whoever started the run."""
        super().run_failed(event)
        self._draw(f"ended at step {event.step:,} by {type(event.error).__name__}")

    def _draw(self, *said: str) -> None:
        if not self._wanted:
            return
        snapshot = self.snapshot()
        # Where no HTML is shown (a console, a text log) the line stands in its place.
        text = "\n".join([plain_line(snapshot), *said])
        bundle = {"text/html": card(snapshot, said), "text/plain": text}
        if self._handle is None:
            display = importlib.import_module("IPython.display").display
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)
        # From now, not from when it was due: where drawing is slow, it does not take all the time there is.
        self._next = self.now() + self._options.every_seconds


def in_kernel() -> bool:
    """Whether this process is the kernel of a notebook, so that output can be replaced. Imports nothing."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    # By name, and of any ancestor: Colab's shell is a kind of ipykernel's.
    return any(cls.__name__ == "ZMQInteractiveShell" for cls in type(shell).__mro__)
