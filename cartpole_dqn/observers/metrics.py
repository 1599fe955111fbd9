"""`Metrics`: writes a run's figures to files for other programs.

* `Metrics`: the observer. `MetricsOptions`: its options (none).
* `COLUMNS`: the columns of `metrics.csv`.

`metrics.csv` has one line per episode. Unknown values are empty; others may be `nan`, `inf` or `-inf`.

`metrics.jsonl` has one object per line. Its `event` is `run_started`, `episode`, `evaluation`, `checkpoint`,
`run_ended` or `run_failed`. It holds every figure that the agent reports. Numbers that are not finite are null.
"""

from __future__ import annotations

import csv
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

from cartpole_dqn.contracts import events
from cartpole_dqn.contracts.options import options_class
from cartpole_dqn.contracts.parts import State
from cartpole_dqn.errors import RunFolderError, error_line
from cartpole_dqn.observers.line_file import LineFile
from cartpole_dqn.text.tables import json_value

COLUMNS = (
    "episode", "step", "seconds", "return", "length", "terminated", "epsilon", "loss", "q_mean", "learning_rate",
    "steps_per_second", "env", "seed",
)  # fmt: skip


@options_class
class MetricsOptions:
    """The observer `metrics` has no options."""


class Metrics(events.Observer):
    """Writes `metrics.csv` and `metrics.jsonl` into the run's folder, unbuffered and in whole lines.

    A resumed run first cuts both files to their size at the checkpoint, so no episode is missing or there twice.

    Raises:
        RunFolderError: the run has no folder.
        OSError: in any event: a file cannot be written.
    """

    Options: ClassVar[type] = MetricsOptions
    needs_folder: ClassVar[bool] = True

    def __init__(self, options: MetricsOptions, context: events.ObserverContext) -> None:
        if context.folder is None:
            raise RunFolderError("observer 'metrics' needs a run folder to write to, and this run keeps none.")
        folder = Path(context.folder)
        self._csv = LineFile(folder / "metrics.csv")
        self._rows = csv.DictWriter(self._csv, COLUMNS, lineterminator="\n")
        self._jsonl = LineFile(folder / "metrics.jsonl")
        self._last = (0, 0.0)  # Step and training seconds at the last episode's end.
        self._rate: float | None = None

    def run_started(self, event: events.RunStarted) -> None:
        """Open the files, and write the first line of new ones."""
        for file in (self._csv, self._jsonl):
            file.open()
        if self._csv.size() == 0:
            self._rows.writeheader()
        # A resumed run adds nothing, so that its files equal those of a run that was never interrupted.
        if self._jsonl.size() == 0:
            fields = asdict(event)
            del fields["folder"]
            self._log("run_started", **fields)

    def episode_ended(self, event: events.Episode) -> None:
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
        self._rows.writerow({column: _cell(value) for column, value in {**row, **figures}.items()})
        self._log("episode", **row, metrics=progress.metrics, status=progress.status)

    def evaluated(self, event: events.Evaluation) -> None:
        self._log("evaluation", **{"step": event.step, "mean": event.mean, "std": event.std, **asdict(event)})

    def checkpoint_written(self, event: events.Checkpoint) -> None:
        name = Path(event.path).name
        self._log("checkpoint", step=event.step, path=name, nbytes=event.nbytes, seconds=event.seconds)

    def run_ended(self, event: events.RunEnded) -> None:
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

    def run_failed(self, event: events.RunFailed) -> None:
        self._log("run_failed", step=event.step, error=error_line(event.error))
        self._close()

    def state_dict(self) -> State:
        """Sync both files; the state holds their sizes in bytes."""
        return {
            "csv": self._csv.sync(),
            "jsonl": self._jsonl.sync(),
            "step": self._last[0],
            "seconds": self._last[1],
            "steps_per_second": self._rate,
        }

    def load_state_dict(self, state: State) -> None:
        """Cut both files to their size at the checkpoint. Call it before `run_started`.

        Raises:
            CheckpointError: a file is missing or too short. Neither file is changed.
        """
        sizes = [(self._csv, int(state["csv"])), (self._jsonl, int(state["jsonl"]))]
        for file, size in sizes:
            file.require(size)
        for file, size in sizes:
            file.cut(size)
        self._last = (int(state["step"]), float(state["seconds"]))
        rate = state["steps_per_second"]
        self._rate = None if rate is None else float(rate)

    def _measure(self, progress: events.Progress) -> None:
        """Measure the training speed since the last episode. Of several that end at once the first counts."""
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


def _cell(value: Any) -> Any:
    """Return a cell: booleans as 0 and 1, None as it is, numbers as Python writes them."""
    if isinstance(value, bool):
        return int(value)
    return value if value is None or isinstance(value, int | str) else float(value)
