"""`run_trial`: the Ray task that runs a trial on a node. Ray runs it again elsewhere if the node or its worker dies.

* `lost_too_often`: the end of one that is not run again.
* `Terms`: what all trials of a sweep are run by. `Outcome`: how one ended. `MovedError`: it is to be run again.

The run itself is a process of its own, so that it is what it would be by hand: its own torch, signals and memory.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import secrets
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from cartpole_dqn import CartpoleDqnError, RunError, Trial, TrialEnd, TrialProcess
from cartpole_dqn_ray.connection import answer
from cartpole_dqn_ray.home import Beginning, Order
from cartpole_dqn_ray.nodes import Node
from cartpole_dqn_ray.run_files import PROGRESS, read_run, write_run

_SAID = 16_384
"""Bytes of what a run wrote to stderr that are kept, its last ones."""
_LOOK = 0.1
"""Seconds between two looks at whether the run ended or wrote a checkpoint."""
_ASK = 0.5
"""Seconds between two questions whether to go on."""
_LOCKED = 90.0
"""Seconds for which a trial that was moved may meet its former process at work in the same folder."""


class MovedError(RunError):
    """The run's process is gone, and nothing is wrong with the trial: Ray runs the task again."""


class Terms(NamedTuple):
    """What all trials of a sweep are run by."""

    environment: dict[str, str]
    """Environment variables, beside the worker's own."""
    current: str
    """The current folder of the sweep's process."""
    added: list[str]
    """Folders that Ray puts on the path of its workers. By hand they would not be there."""
    sync_seconds: float
    stop_seconds: float
    max_moves: int


class Outcome(NamedTuple):
    """How a trial ended."""

    end: TrialEnd
    said: str = ""
    """The end of what it wrote to stderr."""


def run_trial(trial: Trial, terms: Terms, home: Any) -> Outcome | None:
    """Run the trial, or what is left of it, on this node.

    Args:
        trial: its folder is the one on the machine of the sweep.
        terms: of the sweep.
        home: the handle of the actor `Home`.

    Returns:
        How it ended; None where the node is not to be used.

    Raises:
        MovedError: it is to be run again.
    """
    attempt = _Attempt(trial, terms, home)
    try:
        beginning = attempt.begin()
        if beginning.order != "go":
            return Outcome(_interrupted(trial, beginning.lost))
        if beginning.node is None or beginning.node.refused:
            return None
        if beginning.moves > terms.max_moves:  # Ray does not count what is lost for want of memory.
            return Outcome(lost_too_often(trial.name, beginning.lost, terms.max_moves))
        with tempfile.TemporaryDirectory(prefix="cartpole-dqn-ray-", ignore_cleanup_errors=True) as scratch:
            return attempt.run(beginning.node, beginning.moves, Path(scratch))
    except MovedError:
        raise
    except CartpoleDqnError as error:
        return Outcome(TrialEnd(trial.name, "failed", str(error)))
    except OSError as error:
        return Outcome(TrialEnd(trial.name, "failed", f"its files could not be kept: {error.strerror or error}."))


def lost_too_often(name: str, why: str, moves: int) -> TrialEnd:
    """Return the end of a trial that is not moved again."""
    return TrialEnd(
        name,
        "failed",
        f"{why}, and it was moved {moves} times before, which is the most that the option max_moves allows. "
        f"`cartpole-dqn sweep --resume` goes on with it.",
    )


class _Attempt:
    """One attempt at a trial."""

    def __init__(self, trial: Trial, terms: Terms, home: Any) -> None:
        self._trial, self._terms, self._home = trial, terms, home
        self._token = secrets.token_hex(8)
        self._folder = trial.folder
        self._direct = True
        self._checkpoint = 0, 0
        """The one that the sweep's folder has, by `_written`."""
        self._synced = self._asked = time.monotonic()
        self._order: Order = "go"

    def call(self, method: str, *arguments: object) -> Any:
        """Call a method of `Home` for this attempt and return its answer."""
        return answer(getattr(self._home, method).remote(self._trial.name, self._token, *arguments))

    def begin(self) -> Beginning:
        """Begin, once the sweep knows this node."""
        import ray

        node_id = ray.get_runtime_context().get_node_id()
        while True:
            beginning: Beginning = self.call("begin", node_id)
            if beginning.node is not None or beginning.order != "go":
                return beginning
            time.sleep(_ASK)

    def run(self, node: Node, moves: int, scratch: Path) -> Outcome:
        """Run the trial's process until it ends; while another process has its folder, try again."""
        self._direct = node.direct
        if not self._direct:
            self._folder = scratch / self._trial.name
            self._fetch(scratch / "incoming")
        trial = dataclasses.replace(self._trial, folder=self._folder)
        config, log = scratch / "trial.toml", scratch / "said.log"
        config.write_text(trial.config, encoding="utf-8")
        if moves and self._folder.is_dir() and not (self._folder / "config.toml").exists():
            shutil.rmtree(self._folder)  # The attempt before was lost before the run had begun.
        there = self._direct and Path(self._terms.current).is_dir()
        began = time.monotonic()
        while True:
            process = TrialProcess(
                trial.arguments(config),
                log=log,
                folder=Path(self._terms.current) if there else scratch,
                environment=self._environment(),
                path=self._path(),
                stop_seconds=0,  # Else two nodes could write to one folder.
            )
            try:
                code, late = self._follow(process)
            finally:
                process.kill()
            said = log.read_bytes()[-_SAID:].decode("utf-8", "replace")
            if not (code == 2 and moves and self._order == "go" and time.monotonic() - began < _LOCKED):
                return self._outcome(code, late, said, node)
            time.sleep(2)

    def _follow(self, process: TrialProcess) -> tuple[int, bool]:
        """Return the exit code, and whether the run was killed because it did not stop in time."""
        stop_at = math.inf
        while True:
            code = process.wait(_LOOK)
            if time.monotonic() - self._asked > _ASK and code is None:
                self._order, self._asked = self.call("ask"), time.monotonic()
            if self._order == "leave":
                process.kill()
                raise RunError("the sweep ended.")
            if not self._direct:
                self._send(ended=code is not None)
            if code is not None:
                return code, stop_at < 0
            if self._order == "stop" and stop_at == math.inf:
                process.terminate()
                stop_at = time.monotonic() + self._terms.stop_seconds
            elif 0 < stop_at < time.monotonic():
                process.kill()
                stop_at = -1.0

    def _outcome(self, code: int, late: bool, said: str, node: Node) -> Outcome:
        end = TrialEnd.of_process(self._trial.name, code, said)
        if late and code != 0:
            why = f"it did not end within {self._terms.stop_seconds:g} seconds and was killed"
            return Outcome(_interrupted(self._trial, why))
        if end.state == "interrupted" and self._order == "go":
            self._move(f"its process on {node.name} was asked to end, and not by the sweep")
        if end.state == "failed" and code < 0:
            self._move(f"on {node.name}, {end.error.rstrip('.')}")
        return Outcome(end, said)

    def _move(self, why: str) -> None:
        self.call("lose", why)
        if self._order == "go":
            raise MovedError(why)

    def _environment(self) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        return {**own, "PYTHONUNBUFFERED": "1", **self._terms.environment}

    def _path(self) -> list[str]:
        path = list(sys.path)
        for folder in self._terms.added:
            with contextlib.suppress(ValueError):
                path.remove(folder)
        return path

    # Files ------------------------------------------------------------------------------------------------------------

    def _fetch(self, staging: Path) -> None:
        """Fetch what there is of the run."""
        import ray

        if files := self.call("give"):
            write_run(self._folder, staging, files, get=ray.get)
            self._checkpoint = self._written()

    def _send(self, *, ended: bool) -> None:
        """Send everything when a checkpoint was written or the run ended, and metrics when they are due."""
        import ray

        written = self._written()
        whole = ended or written != self._checkpoint
        if not self._folder.is_dir() or (not whole and time.monotonic() - self._synced < self._terms.sync_seconds):
            return
        self._synced = time.monotonic()
        self.call("take", read_run(self._folder, only=None if whole else PROGRESS, put=ray.put))
        self._checkpoint = written if whole else self._checkpoint

    def _written(self) -> tuple[int, int]:
        """Return what changes when the run writes a checkpoint."""
        with contextlib.suppress(FileNotFoundError):
            status = (self._folder / "checkpoint" / "state.json").lstat()
            return status.st_ino, status.st_mtime_ns
        return 0, 0


def _interrupted(trial: Trial, why: str) -> TrialEnd:
    return TrialEnd(trial.name, "interrupted", f"{why}: it goes on from its last checkpoint." if why else "")
