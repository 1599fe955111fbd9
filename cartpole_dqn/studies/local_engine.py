"""The sweep engine `local` (`LocalEngine`, `LocalOptions`), which runs trials in processes on this machine.

A trial is `cartpole-dqn run` or `resume` in its own session (`trial_process`), so Ctrl-C in the terminal reaches only
the sweep. The trials stop when the sweep's process ends for any reason.
"""

from __future__ import annotations

import contextlib
import os
import time
from multiprocessing import connection
from pathlib import Path
from typing import ClassVar

from cartpole_dqn.contracts.options import option, options_class
from cartpole_dqn.contracts.sweep_engine import SweepEngine, SweepEngineContext, Trial, TrialEnd
from cartpole_dqn.files import reason
from cartpole_dqn.studies.trial_process import TrialProcess
from cartpole_dqn.system import usable_cores

_SAID = 4_000
"""Bytes at the end of a trial's log that are searched for its error."""
_LEAVING = 10.0
"""Seconds to wait for a killed process."""
_SLICE = 0.5
"""Seconds between checks of the time limit."""


@options_class
class LocalOptions:
    """Options of the sweep engine `local`."""

    stop_seconds: float = option(
        default=60.0, gt=0, effect="time for trials to stop cleanly before they are killed", typical="30 to 300"
    )


class LocalEngine(SweepEngine):
    """Runs `--jobs` trials at once, by default one per core, with one thread each.

    A trial's stderr is appended to `local/NAME.log` in the sweep's folder.
    """

    Options: ClassVar[type] = LocalOptions
    options: LocalOptions

    def __init__(self, options: LocalOptions, context: SweepEngineContext) -> None:
        super().__init__(options, context)
        self._folder = context.folder / "local"
        self._slots = context.jobs or usable_cores()
        self._running: dict[str, TrialProcess] = {}
        self._unstarted: list[TrialEnd] = []
        self._stop_at: float | None = None
        self._killed: set[str] = set()

    @property
    def slots(self) -> int:
        return self._slots

    def start(self, trial: Trial) -> None:
        """Start the trial's process. The first call takes seconds for the fork server's imports."""
        config, log = self._folder / f"{trial.name}.toml", self._log(trial.name)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            trial.folder.parent.mkdir(parents=True, exist_ok=True)
            config.write_text(trial.config, encoding="utf-8")
            self._running[trial.name] = TrialProcess(
                trial.arguments(config),
                log=log,
                environment={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
                stop_seconds=self.options.stop_seconds,
            )
        except OSError as error:
            self._unstarted.append(TrialEnd(trial.name, "failed", f"it could not be started: {reason(error)}."))

    def wait(self, timeout: float) -> list[TrialEnd]:
        """Return the trials that ended, and kill those that exceed the time to stop."""
        found, self._unstarted = self._unstarted, []
        until = time.monotonic() + timeout
        while self._running:
            left = 0.0 if found else max(0.0, until - time.monotonic())
            names = {process.pipe: name for name, process in self._running.items()}
            ready = connection.wait(list(names), min(left, _SLICE))
            found += [self._end(name) for pipe, name in names.items() if pipe in ready]
            self._kill_late()
            if found or left <= _SLICE:
                break
        return found

    def stop(self) -> None:
        """Ask every trial to save and stop."""
        if self._stop_at is None:
            self._stop_at = time.monotonic() + self.options.stop_seconds
        for process in self._running.values():
            process.terminate()

    def close(self) -> None:
        """Kill the remaining trials."""
        for process in self._running.values():
            process.kill()
            process.wait(_LEAVING)
        self._running.clear()

    def _end(self, name: str) -> TrialEnd:
        code = self._running.pop(name).wait()
        assert code is not None
        if name in self._killed:
            self._killed.discard(name)
            late = f"it did not end within {self.options.stop_seconds:g} seconds and was killed"
            return TrialEnd(name, "interrupted", f"{late}: it will resume from its last checkpoint.")
        said = b""
        with contextlib.suppress(OSError):
            said = self._log(name).read_bytes()[-_SAID:]
        return TrialEnd.of_process(name, code, said.decode(errors="replace"))

    def _kill_late(self) -> None:
        if self._stop_at is not None and time.monotonic() > self._stop_at:
            for name in set(self._running) - self._killed:
                self._killed.add(name)
                self._running[name].kill()

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"
