"""The sweep engine `local` (`LocalEngine`, `LocalOptions`), which runs trials in processes on this machine.

A trial is `cartpole-dqn run` or `resume` in its own session (`trial_process`), so Ctrl-C in the terminal reaches only
the sweep. The trials stop when the sweep's process ends for any reason.
"""

from __future__ import annotations

import os
from multiprocessing import connection
from typing import ClassVar

from cartpole_dqn.contracts.options import option, options_class
from cartpole_dqn.contracts.sweep_engine import SweepEngine, SweepEngineContext, Trial, TrialEnd
from cartpole_dqn.files import reason
from cartpole_dqn.studies.trial_process import TrialProcess
from cartpole_dqn.system import usable_cores

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

    @property
    def slots(self) -> int:
        return self._slots

    def start(self, trial: Trial) -> None:
        """Start the trial's process. The first call takes seconds for the fork server's imports."""
        config, log = self._folder / f"{trial.name}.toml", self._folder / f"{trial.name}.log"
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
        ends, self._unstarted = self._unstarted, []
        if self._running and not ends:
            connection.wait([process.pipe for process in self._running.values()], min(timeout, _SLICE))
        ends += [end for name, process in self._running.items() if (end := process.end(name))]
        for end in ends:
            self._running.pop(end.name, None)
        return ends

    def stop(self) -> None:
        """Ask every trial to save and stop."""
        for process in self._running.values():
            process.terminate(self.options.stop_seconds)

    def close(self) -> None:
        """Kill the remaining trials."""
        for process in self._running.values():
            process.kill()
            process.wait(_LEAVING)
        self._running.clear()
