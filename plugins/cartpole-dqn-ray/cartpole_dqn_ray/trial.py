"""`run_trial`: the Ray task that runs a trial on a node. Ray runs it again elsewhere if the node or its worker dies.

The run has its own process, so that torch, signals and memory are as in a run by hand. `MovedError` tells Ray to run
the task again.
"""

from __future__ import annotations

import dataclasses
import math
import os
import secrets
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cartpole_dqn import CartpoleDqnError, RunError, Trial, TrialEnd, TrialProcess
from cartpole_dqn_ray.connection import answer
from cartpole_dqn_ray.home import Beginning
from cartpole_dqn_ray.run_files import Stamps, read_run, stamps, write_run

if TYPE_CHECKING:
    from cartpole_dqn_ray.sweep import RaySweepOptions

_ASK = 0.5
"""Seconds between two questions whether to go on."""
_LOCKED = 90.0
"""Seconds for which a moved trial waits for the lock of its former process."""


class MovedError(RunError):
    """The run's process is gone, and nothing is wrong with the trial."""


def run_trial(trial: Trial, options: RaySweepOptions, current: Path, home: Any) -> tuple[TrialEnd, bytes] | None:
    """Run or resume the trial on this node.

    Args:
        trial: its folder is the one on the sweep's machine.
        options: of the engine.
        current: the current folder of the sweep's process, and of the run's if it exists here.
        home: the handle of the actor `Home`.

    Returns:
        How it ended, and what it wrote to stderr; None if the node is not to be used.

    Raises:
        MovedError: it is to be run again.
    """
    import ray

    attempt = _Attempt(trial, options, home)
    node_id = ray.get_runtime_context().get_node_id()
    try:
        beginning: Beginning = attempt.call("begin", node_id)
        while beginning.node is None and not beginning.stopping:
            time.sleep(_ASK)
            beginning = attempt.call("begin", node_id)
        if beginning.stopping:
            return TrialEnd(trial.name, "interrupted"), b""
        if beginning.node is None or beginning.node.refused:
            return None
        with tempfile.TemporaryDirectory(prefix="cartpole-dqn-ray-", ignore_cleanup_errors=True) as scratch:
            return attempt.run(beginning, Path(scratch), current)
    except MovedError:
        raise
    except CartpoleDqnError as error:
        return TrialEnd(trial.name, "failed", str(error)), b""
    except OSError as error:
        return TrialEnd(trial.name, "failed", f"its files could not be kept: {error.strerror or error}."), b""


class _Attempt:
    """One attempt at a trial."""

    def __init__(self, trial: Trial, options: RaySweepOptions, home: Any) -> None:
        self._trial, self._options, self._home = trial, options, home
        self._token = secrets.token_hex(8)
        self._copied = False
        """Whether the run is in a folder of its own here, whose files are sent."""
        self._sent: Stamps = {}
        self._sent_at = -math.inf

    def call(self, method: str, *arguments: object) -> Any:
        """Call a method of `Home` for this attempt and return its answer."""
        return answer(getattr(self._home, method).remote(self._trial.name, self._token, *arguments))

    def run(self, beginning: Beginning, scratch: Path, current: Path) -> tuple[TrialEnd, bytes]:
        """Run the trial's process until it ends. While another process has its folder, try again."""
        import ray

        node = beginning.node
        assert node is not None
        self._copied = not node.direct
        if self._copied:
            self._trial = dataclasses.replace(self._trial, folder=scratch / self._trial.name)
            write_run(self._trial.folder, beginning.files, ray.get)
            self._sent = stamps(self._trial.folder)
        config, log = scratch / "trial.toml", scratch / "output.log"
        config.write_text(self._trial.config, encoding="utf-8")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        if not self._options.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ""
        began = time.monotonic()
        while True:
            process = TrialProcess(
                self._trial.arguments(config),
                log=log,
                folder=current if current.is_dir() else scratch,
                environment=environment,
                stop_seconds=0,  # Else two nodes could write to one folder.
            )
            try:
                end, stopping = self._follow(process)
            finally:
                process.kill()
            code = process.wait()
            assert code is not None
            if not stopping and (end.state == "interrupted" or code < 0):
                why = f"on {node.name}, {end.error.rstrip('.') or 'its process was asked to end'}"
                self.call("take", {}, why)
                raise MovedError(why)
            locked = code == 2 and beginning.moves and not stopping
            if not locked or time.monotonic() - began > _LOCKED:
                return end, log.read_bytes()
            time.sleep(2)

    def _follow(self, process: TrialProcess) -> tuple[TrialEnd, bool]:
        """Return how the process ended, and whether the sweep asked for it."""
        asked = False
        while True:
            end = process.end(self._trial.name, _ASK)
            stopping = self.call("take", self._changed(ended=end is not None))
            if end is not None:
                return end, stopping
            if stopping and not asked:
                process.terminate(self._options.stop_seconds)
                asked = True

    def _changed(self, *, ended: bool) -> Mapping[str, Any]:
        """Return references to the changed files, if they are to be sent now."""
        import ray

        if not self._copied or not (ended or time.monotonic() - self._sent_at > self._options.sync_seconds):
            return {}
        files, self._sent = read_run(self._trial.folder, self._sent, ray.put)
        self._sent_at = time.monotonic()
        return files
