"""Whole runs and a real server with SQLite, read back over MLflow's own interface."""

from __future__ import annotations

import csv
import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run as MlflowRun

from cartpole_dqn import Run, train
from waiting import until

pytest.importorskip("sqlalchemy", reason="the server needs the whole of MLflow: pip install mlflow")
pytest.importorskip("flask_cors", reason="the server needs the whole of MLflow: pip install mlflow")
pytestmark = [pytest.mark.process, pytest.mark.timeout(600)]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def answers(uri: str) -> bool:
    try:
        with urllib.request.urlopen(f"{uri}/health", timeout=5) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


class Server:
    """An MLflow server in a folder, with SQLite."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder, free_port()
        self.uri = f"http://127.0.0.1:{self._port}"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self._port)]
        command += ["--backend-store-uri", f"sqlite:///{self._folder / 'runs.db'}", "--workers", "1"]
        command += ["--artifacts-destination", str(self._folder / "artifacts")]
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self._folder, env={**os.environ, **quiet}, stdout=log, stderr=log, start_new_session=True
            )
        until(lambda: answers(self.uri), seconds=300)

    def stop(self) -> None:
        os.killpg(self._process.pid, 9)
        self._process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.stop()


def run(out: Path, uri: str, steps: int, **options: Any) -> Run:
    settings: dict[str, Any] = {
        "agent": {"learning_starts": 200, "batch_size": 32, "replay": {"capacity": 2000}},
        "evaluation": {"every": 500, "episodes": 2},
        "observer": [
            {"name": "metrics"},
            {
                "name": "mlflow",
                "tracking_uri": uri,
                "every_updates": 20,
                "wait": 300.0,
                "experiment": "cart",
                **options,
            },
        ],
    }
    return train(obs="state", steps=steps, seed=1, settings=settings, plain=True, out=out)


def stored_run(uri: str, name: str) -> MlflowRun:
    """The only run of a name."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("cart")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], f"attributes.run_name = '{name}'")
    assert len(runs) == 1
    return runs[0]


def points(uri: str, name: str) -> dict[str, list[tuple[int, float]]]:
    client, one = MlflowClient(uri), stored_run(uri, name)
    histories = {tag: client.get_metric_history(one.info.run_id, tag) for tag in one.data.metrics}
    return {tag: [(metric.step, metric.value) for metric in history] for tag, history in histories.items()}


def test_a_run_and_its_resumption(tmp_path: Path, server: Server) -> None:
    whole = run(tmp_path / "whole", server.uri, 1000, record=True)
    at = points(server.uri, "whole")
    with (whole.path / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert at["episode/return"] == [(int(row["step"]), float(row["return"])) for row in rows]
    assert [step for step, _ in at["evaluation/mean"]] == [500, 1000]
    learned = [step for step, _ in at["learning/loss"]]
    assert learned == list(range(learned[0], 1001, 20))
    one = stored_run(server.uri, "whole")
    assert one.info.status == "FINISHED"
    assert one.data.params["agent.replay.capacity"] == "2000"
    assert one.data.params["observer.1.name"] == "mlflow"
    artifacts = {file.path: file.file_size for file in MlflowClient(server.uri).list_artifacts(one.info.run_id)}
    assert artifacts.keys() == {"config.toml", "curve.png", "record.gif"}
    assert min(artifacts.values()) > 500

    # Between the checkpoint at 600 and the end of the session, steps are sent that the next session makes again.
    parts = run(tmp_path / "parts", server.uri, 600)
    lost = tmp_path / "lost"
    shutil.copytree(parts.path / "checkpoint", lost)
    parts.resume(800, plain=True)
    shutil.rmtree(parts.path / "checkpoint")
    lost.rename(parts.path / "checkpoint")
    parts.resume(1000, plain=True)
    again = points(server.uri, "parts")
    assert [step for step, _ in again["evaluation/mean"]] == [500, 600, 800, 1000]
    for tag in at.keys() - {"speed/steps_per_second", "evaluation/mean", "evaluation/std"}:
        assert again[tag] == at[tag], tag
    two = stored_run(server.uri, "parts")
    assert (two.data.params["steps"], two.data.tags["steps"]) == ("600", "1000")


def test_a_server_that_goes_down_and_comes_back(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    server = Server(tmp_path)
    try:
        first = run(tmp_path / "one", server.uri, 400)
        server.stop()
        capfd.readouterr()
        first.resume(800, plain=True)
        text = " ".join(capfd.readouterr().err.split())
        assert text.count("observer mlflow: ") == 1
        assert "The run goes on; its points wait in mlflow/" in text
        server.start()
        first.resume(1000, plain=True)
        with (first.path / "metrics.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert points(server.uri, "one")["episode/return"] == [(int(row["step"]), float(row["return"])) for row in rows]
    finally:
        server.stop()
