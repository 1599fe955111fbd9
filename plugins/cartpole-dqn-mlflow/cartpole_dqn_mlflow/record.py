"""`MLflowRecord`: a run at an MLflow server, or in a database."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Where nothing is set: give up soon, since there is another try later; and send nothing to anyone else.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from cartpole_dqn import CartpoleDqnError, PointRow, RemoteRecord, load

MOST_METRICS, MOST_PARAMS = 1000, 100
"""MLflow takes no more at once."""
LONGEST_PARAM = 500
"""Characters; older servers take no more."""


class MLflowRecord(RemoteRecord):
    """A run in MLflow.

    * Metrics: the points. MLflow keeps equal metrics of one moment once, so what is sent again is not there twice.
    * Parameters: the configuration. They cannot change in MLflow, so settings that a resumed run changed become tags.
    * Artifacts: `config.toml`, and at the end `curve.png` and, as an option, `record.gif`.
    """

    def __init__(self, options: Mapping[str, Any], folder: Path) -> None:
        super().__init__(options, folder)
        self._client = MlflowClient(options["tracking_uri"] or None)
        self._run = ""

    def open(self, key: str | None, config: Mapping[str, Any]) -> str:
        """Create the run, or open it again."""
        self._run = key or self._created()
        known = self._client.get_run(self._run).data.params
        params = {_named(name): str(value)[:LONGEST_PARAM] for name, value in config.items()}
        new = [Param(name, value) for name, value in params.items() if name not in known]
        changed = [RunTag(name, value) for name, value in params.items() if known.get(name, value) != value]
        for first in range(0, len(new), MOST_PARAMS):
            self._client.log_batch(self._run, params=new[first : first + MOST_PARAMS])
        self._client.log_batch(self._run, tags=changed[:MOST_PARAMS])
        self._client.log_artifact(self._run, str(self.folder / "config.toml"))
        self._client.set_terminated(self._run, "RUNNING")
        return self._run

    def send(self, rows: Sequence[PointRow]) -> None:
        """Send metrics."""
        metrics = [
            Metric(_named(tag), value, int(row.time * 1000), row.step) for row in rows for tag, value in row.points
        ]
        for first in range(0, len(metrics), MOST_METRICS):
            self._client.log_batch(self._run, metrics=metrics[first : first + MOST_METRICS])

    def close(self, reason: str) -> None:
        """Send the curve, and the recording where that is wanted; set the run's status."""
        for path in _drawn(self.folder, self.folder / "mlflow", self.options["record"]):
            self._client.log_artifact(self._run, str(path))
        status = {"done": "FINISHED", "solved": "FINISHED", "failed": "FAILED"}.get(reason, "KILLED")
        self._client.set_tag(self._run, "ended", reason)
        self._client.set_terminated(self._run, status)

    def _created(self) -> str:
        name = self.options["experiment"] or os.environ.get("MLFLOW_EXPERIMENT_NAME", "Default")
        existing = self._client.get_experiment_by_name(name)
        experiment = self._client.create_experiment(name) if existing is None else existing.experiment_id
        return str(self._client.create_run(experiment, run_name=self.folder.name).info.run_id)


def _drawn(folder: Path, out: Path, record: bool) -> list[Path]:
    """Return pictures of the run, drawn into `out`: the curve, and a recording of the best model."""
    try:
        run = load(folder)
        drawn = [Path(run.plot(out / "curve.png"))]
        return [*drawn, Path(run.record(out / "record.gif"))] if record else drawn
    except CartpoleDqnError as error:
        print(f"no pictures: {error}")
        return []


def _named(name: str) -> str:
    """Return a name of characters that MLflow takes."""
    return re.sub(r"[^\w\-. /]", "_", name)
