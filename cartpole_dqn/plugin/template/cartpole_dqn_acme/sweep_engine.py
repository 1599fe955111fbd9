"""`OneByOne`: the sweep engine `acme`."""

from __future__ import annotations

import time
from pathlib import Path

from cartpole_dqn import (
    SweepEngine,
    SweepEngineContext,
    Trial,
    TrialEnd,
    TrialProcess,
    options_class,
)


@options_class
class OneByOneOptions:
    """It has none."""


class OneByOne(SweepEngine):
    """Runs a trial at a time."""

    Options = OneByOneOptions

    def __init__(self, options: OneByOneOptions, context: SweepEngineContext) -> None:
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
        self._running[trial.name] = TrialProcess(trial.arguments(config), log=self._log(trial.name))

    def wait(self, timeout: float) -> list[TrialEnd]:
        until = time.monotonic() + timeout
        while True:
            codes = {name: process.poll() for name, process in self._running.items()}
            ended = {name: code for name, code in codes.items() if code is not None}
            for name in ended:
                del self._running[name]
            if ended or not codes or time.monotonic() > until:
                return [TrialEnd.of_process(name, code, self._log(name).read_text()) for name, code in ended.items()]
            time.sleep(0.05)

    def stop(self) -> None:
        for process in self._running.values():
            process.terminate()

    def close(self) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()

    def _log(self, name: str) -> Path:
        return self.context.folder / "one-by-one" / f"{name}.log"
