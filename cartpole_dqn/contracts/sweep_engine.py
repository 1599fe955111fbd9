"""What runs the trials of a sweep: the contract of the kind `sweep-engine`.

* `SweepEngine`: starts trials, says which ended, stops them in order.
* `Trial`: one run that is to be made: its name, its configuration, its folder.
* `TrialEnd`: how one ended.
* `SweepEngineContext`: what an engine is told when it is built as `Class(options, context)`.

An engine knows nothing of grids, seeds and tables: `sweep` reads how far a trial is from its folder. Nothing here
imports torch.
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
    """One run that is to be made."""

    name: str
    """Unique in its sweep, and fit for a folder's name."""
    config: str
    """The complete configuration, as in a run folder's `config.toml`."""
    folder: Path
    """The run's folder on this machine: there when the trial ended, and while it runs where the engine can."""

    def arguments(self, config: Path) -> list[str]:
        """Return the arguments of `cartpole-dqn` that begin the run, or go on with it where `folder` holds one.

        Args:
            config: a file that holds the text `self.config`; it is not read where the run goes on.
        """
        if (self.folder / "config.toml").is_file():
            return ["resume", str(self.folder), "--plain"]
        return ["run", "--config", str(config), "--out", str(self.folder), "--plain"]


@dataclass(frozen=True)
class TrialEnd:
    """How a trial ended; one that was interrupted goes on where it is started again."""

    name: str
    state: TrialState
    error: str = ""
    """What went wrong, as a sentence; empty where nothing did."""

    @classmethod
    def of_process(cls, name: str, returncode: int, said: str = "") -> TrialEnd:
        """Return what the end of a `cartpole-dqn run` or `cartpole-dqn resume` means.

        Args:
            name: the trial's.
            returncode: as `subprocess` gives it: negative where a signal ended the process.
            said: what it wrote to stderr, or the end of that.
        """
        if returncode == 0:
            return cls(name, "done")
        asked = [int(getattr(signal, n)) for n in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, n)]
        # Negative where it came so early that the run did not listen yet.
        if returncode in [code for number in asked for code in (128 + number, -number)]:
            return cls(name, "interrupted")
        if returncode < 0:
            names = {int(number): number.name for number in signal.Signals}
            how = names.get(-returncode, f"signal {-returncode}")
            hint = ": the system does that where memory is short" if how == "SIGKILL" else ""
            return cls(name, "failed", f"its process was ended by {how}{hint}.")
        return cls(name, "failed", _last_words(said) or f"its process ended with exit code {returncode}.")


@dataclass(frozen=True, kw_only=True)
class SweepEngineContext:
    """A sweep engine's surroundings."""

    folder: Path
    """The sweep's folder. An engine keeps what it needs in a folder of its own name there."""
    jobs: int | None
    """Trials at once, as the user asked; None leaves it to the engine."""
    say: Callable[[str], None]
    """Prints a line for the user. It may be called from any thread."""


class SweepEngine(abc.ABC):
    """Runs trials, several at once. It is called from one thread.

    Each trial is what `cartpole-dqn run` would do with its configuration in its folder: an ordinary run folder, and the
    same numbers. What goes wrong in a trial is a `TrialEnd` and harms no other; an exception from a method ends the
    sweep.

    Args:
        options: an instance of `Options`.
        context: the sweep's folder, how many trials at once, where to print.
    """

    Options: ClassVar[type]

    def __init__(self, options: Any, context: SweepEngineContext) -> None:
        self.options = options
        self.context = context

    @property
    @abc.abstractmethod
    def slots(self) -> int:
        """Trials at once, from 1; it may change as machines come and go."""

    @abc.abstractmethod
    def start(self, trial: Trial) -> None:
        """Begin a trial, or go on from its last checkpoint where its folder holds a run. Returns at once.

        Called while fewer than `slots` trials run; a trial that ended may be started again.
        """

    @abc.abstractmethod
    def wait(self, timeout: float) -> list[TrialEnd]:
        """Return the trials that ended since the last call, each once; waits up to `timeout` seconds for the first."""

    @abc.abstractmethod
    def stop(self) -> None:
        """Ask all trials to end in order, their checkpoints written, within a bound of the engine's.

        Returns at once; `wait` then reports those that did not come to their end as interrupted.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Leave nothing running; what still runs is ended at once. Called once, last, also after an exception."""

    def place(self, name: str) -> str:
        """Return where a trial runs, in a few letters for the table; "" where there is nothing to say."""
        return ""


def _last_words(said: str) -> str:
    """Return what the command line said last of itself, on one line, without where the folder is."""
    _, mark, last = f"\n{said}".rpartition("\ncartpole-dqn: ")
    if not mark:
        return next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "")
    kept = [line for line in last.splitlines() if not line.startswith(("The run's folder:", "resume with:"))]
    return " ".join(" ".join(kept).split())
