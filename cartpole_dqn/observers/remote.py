"""`RemoteObserver`: sends the points of a run to a tracking service, from a process of its own.

`RemoteOptions`: what every such observer can set.

The observer appends each row of points to `rows.jsonl` in a folder of its own inside the run's. The process
(`remote_process.py`) reads the file and sends it. So the run never waits for the service, and what is not sent yet
survives both.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from cartpole_dqn.contracts.events import Episode, ObserverContext, RunEnded, RunFailed, RunStarted
from cartpole_dqn.contracts.options import option, options_class, to_table
from cartpole_dqn.contracts.parts import State
from cartpole_dqn.errors import UserError
from cartpole_dqn.observers.line_file import LineFile
from cartpole_dqn.observers.points import Point, PointObserver
from cartpole_dqn.text.tables import print_warning


@options_class
class RemoteOptions:
    """Options of every `RemoteObserver`. A subclass adds those of its service."""

    every_updates: int = option(
        default=100, ge=1, effect="updates of the network between two points of loss and q_mean", typical="10 to 1000"
    )
    wait: float = option(
        default=60.0, ge=0, effect="seconds that a run's end waits at most until all is sent", typical="10 to 300"
    )


class RemoteObserver(PointObserver):
    """Sends the points of a run to a tracking service, from a separate process. A subclass names its `RemoteRecord`.

    A resumed run continues its record, also if it was killed before its first checkpoint. Rows that an earlier session
    sent are not sent again.

    Raises:
        UserError: the run has no folder.
    """

    Options: ClassVar[type] = RemoteOptions
    needs_folder: ClassVar[bool] = True
    name: ClassVar[str]
    """The observer's name, and that of its folder in the run's folder."""
    record: ClassVar[str]
    """The `RemoteRecord`, as "module:Class". Only the separate process imports it. It gets the options as a table."""

    def __init__(self, options: RemoteOptions, context: ObserverContext) -> None:
        super().__init__(options.every_updates)
        if context.folder is None:
            raise UserError(f"observer {self.name!r} needs a run folder to write to, and this run keeps none.")
        self._console = context.console
        self._place = Path(context.folder).absolute() / self.name
        self._wait = options.wait
        self._start = {"record": self.record, "wait": options.wait, "options": to_table(options)}
        self._row = (0, 0)  # the last row: its step, and how many rows that step has so far
        self._file = LineFile(self._place / "rows.jsonl")
        self._process: subprocess.Popen[bytes] | None = None
        self._reported = False

    def run_started(self, event: RunStarted) -> None:
        """Start the process."""
        self._place.mkdir(exist_ok=True)
        (self._place / "problem.txt").unlink(missing_ok=True)
        self._file.open()
        with (self._place / "log.txt").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "cartpole_dqn.observers.remote_process", str(self._place)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the run.
            )
        _tell(self._process, self._start)

    def log(self, step: int, points: Sequence[Point]) -> None:
        """Append a row to the file that the process sends."""
        last, count = self._row
        self._row = (step, count + 1 if step == last else 1)
        row = {"row": self._row, "time": round(time.time(), 3), "points": points}
        self._file.write(json.dumps(row, separators=(",", ":")) + "\n")

    def episode_ended(self, event: Episode) -> None:
        """Append the episode's row, and show the first problem that the process reported."""
        super().episode_ended(event)
        self._say_problem()

    def run_ended(self, event: RunEnded) -> None:
        """Wait until everything is sent, for at most `wait` seconds."""
        self._close(event.reason)

    def run_failed(self, event: RunFailed) -> None:
        """Wait as in `run_ended`. After an interrupt do not wait: the process finishes by itself."""
        if isinstance(event.error, Exception):
            self._close("failed")
        elif self._process is not None and self._process.stdin is not None:
            # For as long as the run would have waited.
            self._process.stdin.close()
            self._process = None

    def state_dict(self) -> State:
        """Return when the next points are due, and the number of the last row."""
        return {**super().state_dict(), "row": list(self._row)}

    def load_state_dict(self, state: State) -> None:
        """Restore what `state_dict` returned. Called before `run_started`."""
        super().load_state_dict(state)
        step, count = state["row"]
        self._row = (int(step), int(count))

    def _close(self, reason: str) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        self._file.close()
        _tell(process, reason)
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
        try:
            is_complete = process.wait(self._wait) == 0
        except subprocess.TimeoutExpired:
            is_complete = False
            process.kill()
            process.wait()
        if not is_complete and self._wait > 0:
            self._say_problem()
            self._say(f"not everything was sent within {self._wait:g} s, see {self.name}/log.txt", "The rest waits")

    def _say_problem(self) -> None:
        if not self._reported:
            with contextlib.suppress(OSError):
                problem = (self._place / "problem.txt").read_text(encoding="utf-8")
                self._say(problem.rstrip("."), "The run goes on; its points wait")

    def _say(self, problem: str, what: str) -> None:
        if not self._reported:
            self._reported = True
            text = f"observer {self.name}: {problem}. {what} in {self.name}/ in the run's folder; resume sends them."
            print_warning(self._console, text)


def _tell(process: subprocess.Popen[bytes], message: object) -> None:
    """Send the process a line. One that has died is seen at the end."""
    assert process.stdin is not None
    with contextlib.suppress(OSError):
        process.stdin.write(json.dumps(message).encode() + b"\n")
        process.stdin.flush()
