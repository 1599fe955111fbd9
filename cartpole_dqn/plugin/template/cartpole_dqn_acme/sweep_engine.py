"""`OneByOne`: the sweep engine `acme`."""

from __future__ import annotations

import time
from typing import Any

from cartpole_dqn import SweepEngine, SweepEngineContext, Trial, TrialEnd, TrialProcess


class OneByOne(SweepEngine):
    """Runs a trial at a time."""

    def __init__(self, options: Any, context: SweepEngineContext) -> None:
        super().__init__(options, context)
        self._running: dict[str, TrialProcess] = {}

    @property
    def slots(self) -> int:
        return 1

    def start(self, trial: Trial) -> None:
        place = self.context.folder / "one-by-one"
        place.mkdir(exist_ok=True)
        config = place / f"{trial.name}.toml"
        config.write_text(trial.config)
        self._running[trial.name] = TrialProcess(trial.arguments(config), log=config.with_suffix(".log"))

    def wait(self, timeout: float) -> list[TrialEnd]:
        until = time.monotonic() + timeout
        while True:
            ends = [end for name, process in self._running.items() if (end := process.end(name))]
            for end in ends:
                del self._running[end.name]
            if ends or not self._running or time.monotonic() > until:
                return ends
            time.sleep(0.05)

    def stop(self) -> None:
        for process in self._running.values():
            process.terminate(60)

    def close(self) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()
