"""Where the trials of a sweep run: `SweepEngine`, its context, and the trials.

`sweep` itself reads a trial's progress from its folder. This module imports no torch.
"""

from __future__ import annotations

import abc
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

TrialState = Literal["done", "failed", "interrupted"]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One run of a sweep."""

    name: str
    """Unique in the sweep, and valid as a folder name."""
    config: str
    """The complete configuration, as in `config.toml`."""
    folder: Path
    """The run's folder on this machine. It must be there when the trial has ended, and earlier if possible."""

    def arguments(self, config: Path) -> list[str]:
        """Return the arguments of `cartpole-dqn` that start the run, or resume it if `folder` holds one.

        Args:
            config: a file with the text `self.config`; not read on a resume.
        """
        if (self.folder / "config.toml").is_file():
            return ["resume", str(self.folder), "--plain"]
        return ["run", "--config", str(config), "--out", str(self.folder), "--plain"]


@dataclass(frozen=True)
class TrialEnd:
    """How a trial ended. An interrupted trial resumes when it is started again."""

    name: str
    state: TrialState
    error: str = ""
    """The error message, if the trial failed."""

    @classmethod
    def of_process(cls, name: str, returncode: int, said: str = "") -> TrialEnd:
        """Return the `TrialEnd` for a process of `cartpole-dqn run` or `cartpole-dqn resume` that has ended.

        Args:
            name: the trial's name.
            returncode: as in `subprocess`: negative if a signal ended the process.
            said: the process's stderr, or the end of it.
        """
        if returncode == 0:
            return cls(name, "done")
        stop_signals = [int(getattr(signal, n)) for n in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, n)]
        # Negative if the signal came before the run had set its handlers.
        if returncode in [code for number in stop_signals for code in (128 + number, -number)]:
            return cls(name, "interrupted")
        if returncode < 0:
            names = {int(number): number.name for number in signal.Signals}
            signal_name = names.get(-returncode, f"signal {-returncode}")
            hint = ": the system does that when memory is short" if signal_name == "SIGKILL" else ""
            return cls(name, "failed", f"its process was ended by {signal_name}{hint}.")
        return cls(name, "failed", _last_words(said) or f"its process ended with exit code {returncode}.")


@dataclass(frozen=True, kw_only=True)
class SweepEngineContext:
    """The second argument of a sweep engine's constructor, `Class(options, context)`."""

    folder: Path
    """The sweep's folder. An engine keeps its own files in a subfolder with its name."""
    jobs: int | None
    """How many trials to run at once, if the user said so; otherwise None, and the engine chooses."""
    say: Callable[[str], None]
    """Prints a line for the user. Thread-safe."""


class SweepEngine(abc.ABC):
    """Runs trials, several at once. All methods are called from one thread.

    A trial gives the same run folder and the same numbers as `cartpole-dqn run` with its configuration. A trial that
    fails is reported as a `TrialEnd` and does not affect the others. An exception from a method ends the sweep.

    Args:
        options: an instance of `Options`.
        context: the sweep's folder, the number of trials at once, and where to print.
    """

    Options: ClassVar[type]

    def __init__(self, options: Any, context: SweepEngineContext) -> None:
        self.options = options
        self.context = context

    @property
    @abc.abstractmethod
    def slots(self) -> int:
        """How many trials can run at once, at least 1. It may change as machines come and go."""

    @abc.abstractmethod
    def start(self, trial: Trial) -> None:
        """Start a trial, or resume it if its folder holds a run. Returns at once.

        Called only if fewer than `slots` trials are running. A trial that has ended may be started again.
        """

    @abc.abstractmethod
    def wait(self, timeout: float) -> list[TrialEnd]:
        """Return the trials that ended since the last call. Waits at most `timeout` seconds for the first one."""

    @abc.abstractmethod
    def stop(self) -> None:
        """Ask all trials to save a checkpoint and stop, within a time limit of the engine's choice.

        Returns at once. `wait` then reports the unfinished trials as interrupted.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Kill all trials that still run. Called once, at the end, even after an exception."""

    def place(self, name: str) -> str:
        """Return where a trial runs, as a short text for the table; "" for nothing."""
        return ""


def _last_words(output: str) -> str:
    """Return the program's last message on one line, without the lines that name the folder."""
    _, mark, last = f"\n{output}".rpartition("\nerror: ")
    if not mark:
        return next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "")
    lines = [line for line in last.splitlines() if not line.startswith(("The run's folder:", "resume with:"))]
    return " ".join(" ".join(lines).split())
