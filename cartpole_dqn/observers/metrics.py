"""`Metrics`: a run's figures as files that other programs read.

* `Metrics`: the observer; `MetricsOptions`: its options (none).
* `COLUMNS`: the columns of `metrics.csv`.

`metrics.csv` has a line an episode: what is not known is empty, numbers that are not finite are `nan`, `inf`, `-inf`.

`metrics.jsonl` has an object a line, with `event` one of `run_started`, `episode`, `evaluation`, `checkpoint`,
`run_ended`, `run_failed`; in it are all figures that the agent tells, also those of its own. JSON knows no number that
is not finite: it is null there.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
from pathlib import Path
from typing import Any, ClassVar

from cartpole_dqn.contracts.events import (
    Checkpoint,
    Episode,
    Evaluation,
    Observer,
    ObserverContext,
    Progress,
    RunEnded,
    RunFailed,
    RunStarted,
)
from cartpole_dqn.contracts.options import options_class
from cartpole_dqn.contracts.parts import State
from cartpole_dqn.errors import CheckpointError, RunFolderError, said_by
from cartpole_dqn.files import write_all
from cartpole_dqn.text.tables import json_value

COLUMNS = (
    "episode",
    "step",
    "seconds",
    "return",
    "length",
    "terminated",
    "epsilon",
    "loss",
    "q_mean",
    "learning_rate",
    "steps_per_second",
    "env",
    "seed",
)


@options_class
class MetricsOptions:
    """Options of the observer `metrics`: it has none."""


class Metrics(Observer):
    """Writes `metrics.csv` and `metrics.jsonl` into the run's folder, each line as soon as it is whole.

    A resumed run cuts both files to where its checkpoint was and goes on, without gap or duplicate.

    Args:
        options: none.
        context: its folder is where the files are.

    Raises:
        RunFolderError: the run has no folder.
        OSError: from any event: the files cannot be written to.
    """

    Options: ClassVar[type] = MetricsOptions
    needs_folder: ClassVar[bool] = True

    def __init__(self, options: MetricsOptions, context: ObserverContext) -> None:
        if context.folder is None:
            raise RunFolderError("observer 'metrics' needs a run folder to write to, and this run keeps none.")
        folder = Path(context.folder)
        self._csv = _LineFile(folder / "metrics.csv")
        self._jsonl = _LineFile(folder / "metrics.jsonl")
        self._last = (0, 0.0)  # step and training seconds of the last episode written
        self._rate: float | None = None

    def run_started(self, event: RunStarted) -> None:
        """Open the files. Where they are new, the table gets its header and the run its first line."""
        for file in (self._csv, self._jsonl):
            file.open()
        if self._csv.size() == 0:
            self._csv.write(_csv_line(COLUMNS))
        # A run that goes on adds nothing here: its files are to be those of one that was never interrupted.
        if self._jsonl.size() == 0:
            self._log(
                "run_started",
                name=event.name,
                steps=event.steps,
                episodes=event.episodes,
                step=event.step,
                episode=event.episode,
                num_envs=event.num_envs,
                replay_bytes=event.replay_bytes,
            )

    def episode_ended(self, event: Episode) -> None:
        """Write the episode to both files."""
        progress = event.progress
        self._measure(progress)
        row = {
            "episode": event.episode,
            "step": event.step,
            "seconds": round(progress.seconds, 6),
            "return": event.episode_return,
            "length": event.length,
            "terminated": event.terminated,
            "steps_per_second": self._rate,
            "env": event.env,
            "seed": event.seed,
        }
        figures = {
            "epsilon": progress.status.get("epsilon"),
            "loss": progress.metrics.get("loss"),
            "q_mean": progress.metrics.get("q_mean"),
            "learning_rate": progress.status.get("lr"),
        }
        self._csv.write(_csv_line([_cell({**row, **figures}[column]) for column in COLUMNS]))
        self._log("episode", **row, metrics=progress.metrics, status=progress.status)

    def evaluated(self, event: Evaluation) -> None:
        """Write the evaluation with every return."""
        self._log(
            "evaluation",
            step=event.step,
            mean=event.mean,
            std=event.std,
            returns=event.returns,
            lengths=event.lengths,
            stream=event.stream,
            seconds=event.seconds,
            best=event.best,
        )

    def checkpoint_written(self, event: Checkpoint) -> None:
        """Write that a checkpoint was written."""
        name = Path(event.path).name
        self._log("checkpoint", step=event.step, path=name, nbytes=event.nbytes, seconds=event.seconds)

    def run_ended(self, event: RunEnded) -> None:
        """Write how the run ended, and close the files."""
        self._log(
            "run_ended",
            reason=event.reason,
            step=event.progress.step,
            episode=event.progress.episode,
            seconds=event.progress.seconds,
            evaluation_seconds=event.evaluation_seconds,
            checkpoint_seconds=event.checkpoint_seconds,
            best=None if event.best is None else {"step": event.best.step, "mean": event.best.mean},
        )
        self._close()

    def run_failed(self, event: RunFailed) -> None:
        """Write that the run failed, and close the files."""
        self._log("run_failed", step=event.step, error=said_by(event.error))
        self._close()

    def state_dict(self) -> State:
        """How many bytes of each file belong to the run so far; they are synced to the disk first."""
        return {
            "csv": self._csv.sync(),
            "jsonl": self._jsonl.sync(),
            "step": self._last[0],
            "seconds": self._last[1],
            "steps_per_second": self._rate,
        }

    def load_state_dict(self, state: State) -> None:
        """Cut both files to where the checkpoint was; before `run_started`.

        Raises:
            CheckpointError: a file is missing or shorter than it was; neither file is changed then.
        """
        sizes = [(self._csv, int(state["csv"])), (self._jsonl, int(state["jsonl"]))]
        for file, size in sizes:
            file.require(size)
        for file, size in sizes:
            file.cut(size)
        self._last = (int(state["step"]), float(state["seconds"]))
        rate = state["steps_per_second"]
        self._rate = None if rate is None else float(rate)

    def _measure(self, progress: Progress) -> None:
        """Take the steps a second of training since the last episode; of several that end at once the first counts."""
        step, seconds = self._last
        if progress.seconds > seconds and progress.step > step:
            self._rate = round((progress.step - step) / (progress.seconds - seconds), 3)
        self._last = (progress.step, progress.seconds)

    def _log(self, event: str, **fields: Any) -> None:
        line = json.dumps({"event": event, **json_value(fields)}, allow_nan=False, separators=(",", ":"))
        self._jsonl.write(line + "\n")

    def _close(self) -> None:
        self._csv.close()
        self._jsonl.close()


class _LineFile:
    """A file that grows by whole lines, without a buffer in the process: what is written is the system's."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: io.FileIO | None = None

    def open(self) -> None:
        """Open for appending. A last line that was torn by a crash is cut off."""
        self._file = io.FileIO(self._path, "a+")
        size = self.size()
        whole = _end_of_last_line(self._file, size)
        if whole != size:
            self._file.truncate(whole)

    def write(self, line: str) -> None:
        """Append a line. Raises `OSError`, and closes the file: what follows would be torn from what was before."""
        if self._file is None:
            raise ValueError(f"{self._path} is closed: nothing can be written to it.")
        try:
            write_all(self._file.fileno(), line.encode())
        except OSError:
            self.close()
            raise

    def sync(self) -> int:
        """Make what was written last, and return how many bytes it is."""
        if self._file is None:
            return self._path.stat().st_size if self._path.exists() else 0
        with contextlib.suppress(OSError):  # Not every filesystem can; the bytes were written all the same.
            os.fsync(self._file.fileno())
        return self.size()

    def size(self) -> int:
        """Return the size of the open file in bytes."""
        assert self._file is not None
        return os.fstat(self._file.fileno()).st_size

    def require(self, size: int) -> None:
        """Raise `CheckpointError` unless the file has at least `size` bytes."""
        found = self._path.stat().st_size if self._path.exists() else 0
        if found < size:
            state = f"has {found:,} bytes" if self._path.exists() else "is missing"
            raise CheckpointError(
                f"{self._path} {state}, but had {size:,} bytes when the checkpoint was written, so its figures cannot "
                f"go on from there. Put the file back as it was."
            )

    def cut(self, size: int) -> None:
        """Drop what comes after `size` bytes."""
        if self._path.exists():
            os.truncate(self._path, size)

    def close(self) -> None:
        """Close the file."""
        file, self._file = self._file, None
        if file is not None:
            file.close()


def _end_of_last_line(file: io.FileIO, size: int) -> int:
    """Return where the last newline ends; 0 where there is none."""
    block = 65_536
    while size > 0:
        start = max(0, size - block)
        file.seek(start)
        found = file.read(size - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        size = start
    return 0


def _csv_line(cells: Any) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


def _cell(value: Any) -> Any:
    """Return what stands in a cell: truth values as 0 and 1, None as nothing, numbers as Python writes them."""
    if isinstance(value, bool):
        return int(value)
    return value if value is None or isinstance(value, int | str) else float(value)
