"""What runs on a node: `TrialWorker`, which becomes a Ray actor, and what it tells of a run.

* `TrialWorker`: runs one trial at a time, as a process of its own.
* `Report`: what it tells: new files, and how the run ended.

A run is a process of its own so that it is what it would be by hand: its own torch, its own signals, its own memory.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cartpole_dqn import RunError, Trial, TrialLauncher, TrialProcess
from cartpole_dqn_ray.run_files import PROGRESS, FileEntry, Receiver, Signature, Snapshot

LOOK_EVERY = 0.1
"""Seconds between two looks at whether the run ended or wrote a checkpoint."""
SAID = 16_384
"""Bytes of what a run wrote to stderr that are told, its last ones."""


@dataclass(frozen=True)
class Report:
    """What a worker tells of its run."""

    entries: Sequence[FileEntry] = ()
    """Files to be fetched by `TrialWorker.read`."""
    names: Sequence[str] = ()
    """Every file of the folder; empty where only some were looked at."""
    ended: int | None = None
    """The run's exit code, negative where a signal ended it; None while it runs."""
    said: str = ""
    """The end of what it wrote to stderr."""


class TrialWorker:
    """Runs one trial at a time.

    Args:
        environment: variables for the runs, beside this process's own.
        sync_seconds: how often metrics are reported while a run goes on.
    """

    def __init__(self, environment: Mapping[str, str], sync_seconds: float) -> None:
        self._environment = dict(environment)
        self._sync_seconds = sync_seconds
        self._scratch: Path | None = None
        self._launcher: TrialLauncher | None = None
        self._process: TrialProcess | None = None
        self._folder = Path()
        self._direct = False
        self._receiver: Receiver | None = None
        self._snapshot: Snapshot | None = None
        self._known: dict[str, Signature] = {}
        self._synced = 0.0

    def node_id(self) -> str:
        """Return the id of the node that this worker is on."""
        import ray

        return str(ray.get_runtime_context().get_node_id())

    # Before a run

    def prepare(self, name: str, folder: str | None) -> None:
        """Make ready for a trial: in `folder`, which this node sees, or in a new folder of this node's own."""
        self.finish()
        self._scratch = Path(tempfile.mkdtemp(prefix="cartpole-dqn-ray-"))
        self._direct = folder is not None
        self._folder = Path(folder) if folder is not None else self._scratch / name
        self._known = {}

    def expect(self, entries: Sequence[FileEntry], names: Sequence[str]) -> None:
        """Hear which files of a run that was begun elsewhere will come by `take`."""
        self._receiver = Receiver(self._folder, self._require_scratch() / "incoming", entries, names)

    def take(self, index: int, piece: bytes) -> None:
        """Take the next piece of one file."""
        assert self._receiver is not None
        self._receiver.append(index, piece)

    def begin(self, trial: Trial, *, clear: bool, beside: str) -> None:
        """Start the run, or go on with it.

        Args:
            trial: its folder is replaced by this worker's.
            clear: whether a folder without a configuration is emptied: an attempt before may have died that early.
            beside: the current folder of whoever started the sweep, for relative paths; used where it is here too.
        """
        if self._receiver is not None:
            self._receiver.install()
            with Snapshot(self._folder, {}) as snapshot:
                self._known = snapshot.signatures
        self._receiver = None
        scratch = self._require_scratch()
        trial = dataclasses.replace(trial, folder=self._folder)
        if clear and self._folder.is_dir() and not (self._folder / "config.toml").exists():
            shutil.rmtree(self._folder)
        config = scratch / "trial.toml"
        config.write_text(trial.config, encoding="utf-8")
        if self._launcher is None:
            # A run is killed when this worker is gone, so that nobody writes to a folder in which another node goes on
            # with it; and whatever lies in the current folder is not imported.
            self._launcher = TrialLauncher(stop_seconds=0, environment=self._variables(), current=False)
        self._process = self._launcher.start(
            trial.arguments(config),
            log=scratch / "said.log",
            folder=Path(beside) if self._direct and Path(beside).is_dir() else scratch,
        )
        self._synced = time.monotonic()

    # During a run

    def report(self, wait: float, confirmed: bool) -> Report:
        """Return what is new after up to `wait` seconds, at once when the run ends or writes a checkpoint.

        Args:
            wait: seconds.
            confirmed: whether the files of the report before are in place; else they are reported again.
        """
        if self._snapshot is not None:
            if confirmed:
                self._known |= self._snapshot.signatures
            self._snapshot.close()
            self._snapshot = None
        assert self._process is not None
        end = time.monotonic() + wait
        while True:
            ended = self._process.poll()
            if ended is not None:
                return self._last_report(ended)
            if not self._direct and (report := self._new_files()) is not None:
                return report
            if time.monotonic() >= end:
                return Report()
            time.sleep(LOOK_EVERY)

    def read(self, index: int, offset: int, count: int) -> bytes:
        """Return a piece of a file of the last report."""
        assert self._snapshot is not None
        return self._snapshot.read(index, offset, count)

    def stop(self) -> None:
        """Ask the run to end in order."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def kill(self) -> None:
        """End the run at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def finish(self) -> None:
        """Leave nothing of the last trial: no process, no file outside its folder."""
        self.kill()
        if self._snapshot is not None:
            self._snapshot.close()
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
        self._process = self._snapshot = self._scratch = self._receiver = None

    def _new_files(self) -> Report | None:
        """Return the files of a new checkpoint, or metrics that are due."""
        state = self._folder / "checkpoint" / "state.json"
        with contextlib.suppress(FileNotFoundError):
            status = state.lstat()
            if self._known.get("checkpoint/state.json") != (status.st_ino, status.st_size, status.st_mtime_ns):
                return self._reported(Snapshot(self._folder, self._known))
        if time.monotonic() - self._synced < self._sync_seconds or not self._folder.is_dir():
            return None
        self._synced = time.monotonic()
        return self._reported(Snapshot(self._folder, self._known, only=PROGRESS))

    def _reported(self, snapshot: Snapshot) -> Report | None:
        if not snapshot.entries:
            snapshot.close()
            return None
        self._snapshot = snapshot
        return Report(tuple(snapshot.entries), tuple(snapshot.names))

    def _last_report(self, ended: int) -> Report:
        report = None
        if not self._direct and self._folder.is_dir():
            report = self._reported(Snapshot(self._folder, self._known))
        return dataclasses.replace(report or Report(), ended=ended, said=self._said())

    def _said(self) -> str:
        with (self._require_scratch() / "said.log").open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - SAID))
            return log.read().decode("utf-8", "replace")

    def _variables(self) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        return {**own, "PYTHONUNBUFFERED": "1", **self._environment}

    def _require_scratch(self) -> Path:
        if self._scratch is None:
            raise RunError("the worker was not prepared for a trial.")
        return self._scratch
