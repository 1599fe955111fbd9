"""`run_trial`: the Ray task that runs a trial on a node. Ray runs it again elsewhere if the node or its worker dies.

The run has its own process, so that torch, signals and memory are as in a run by hand.
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

from cartpole_dqn import CartpoleDqnError, Trial, TrialEnd, TrialProcess
from cartpole_dqn_ray.connection import ray
from cartpole_dqn_ray.nodes import Node
from cartpole_dqn_ray.run_files import Stamps, read_run, stamps, write_run

if TYPE_CHECKING:
    from cartpole_dqn_ray.sweep import RaySweepOptions

_ASK = 0.5
"""Seconds between two questions whether to go on."""
_LOCKED = 90.0
"""Seconds for which a moved trial waits for the lock of its former process."""


def run_trial(trial: Trial, options: RaySweepOptions, current: Path, home: Any) -> TrialEnd | None:
    """Run or resume the trial on this node. Return how it ended; None if it is to be run elsewhere.

    Its process has the current folder of the sweep's process, `current`, if there is one here. `home` is the handle of
    the actor `Home`.
    """
    lost = ""
    try:
        while True:
            attempt = _Attempt(trial, options, home)
            beginning = attempt.call("begin", ray.get_runtime_context().get_node_id(), lost)
            if beginning is None:
                time.sleep(_ASK)
                return None
            with tempfile.TemporaryDirectory(prefix="cartpole-dqn-ray-", ignore_cleanup_errors=True) as scratch:
                end, lost = attempt.run(beginning, Path(scratch), current)
            if not lost:
                return end
    except CartpoleDqnError as error:
        return TrialEnd(trial.name, "failed", str(error))
    except OSError as error:
        return TrialEnd(trial.name, "failed", f"its files could not be kept: {error.strerror or error}.")


class _Attempt:
    """One attempt at a trial."""

    def __init__(self, trial: Trial, options: RaySweepOptions, home: Any) -> None:
        self._trial, self._options, self._home = trial, options, home
        self._token = secrets.token_hex(8)
        self._sent: Stamps | None = None
        """Of the files that are sent; None if the run is in the sweep's folder."""

    def call(self, method: str, *arguments: object) -> Any:
        """Call a method of `Home` for this attempt. Return its answer, and raise what it raised."""
        try:
            return ray.get(getattr(self._home, method).remote(self._trial.name, self._token, *arguments))
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None

    def run(self, beginning: tuple[Node, int, Mapping[str, Any]], scratch: Path, current: Path) -> tuple[TrialEnd, str]:
        """Run the trial's process until it ends. While another process has its folder, try again.

        Return how it ended, and why another attempt is wanted; "" if none is.
        """
        node, moves, files = beginning
        if not node.direct:
            self._trial = dataclasses.replace(self._trial, folder=scratch / self._trial.name)
            write_run(self._trial.folder, files, ray.get)
            self._sent = stamps(self._trial.folder)
        config, log = scratch / "trial.toml", scratch / "output.log"
        config.write_text(self._trial.config, encoding="utf-8")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        if not self._options.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ""
        until = time.monotonic() + _LOCKED
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
            code = process.wait() or 0
            if not stopping and (end.state == "interrupted" or code < 0):
                return end, f"on {node.name}, {end.error.rstrip('.') or 'its process was asked to end'}"
            if stopping or not moves or code != 2 or time.monotonic() > until:
                if end.state == "failed":
                    self.call("take", {}, log.read_bytes())
                return end, ""
            time.sleep(2)

    def _follow(self, process: TrialProcess) -> tuple[TrialEnd, bool]:
        """Return how the process ended, and whether the sweep asked for it. Send changed files meanwhile."""
        asked, sent_at = False, -math.inf
        while True:
            end = process.end(self._trial.name, _ASK)
            files: Mapping[str, Any] = {}
            if self._sent is not None and (end or time.monotonic() - sent_at > self._options.sync_seconds):
                files, self._sent = read_run(self._trial.folder, self._sent, ray.put)
                sent_at = time.monotonic()
            stopping = self.call("take", files)
            if end is not None:
                return end, stopping
            if stopping and not asked:
                process.terminate(self._options.stop_seconds)
                asked = True
