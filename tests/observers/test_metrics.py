from __future__ import annotations

import csv
import io
import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartpole_dqn.contracts.events import ObserverContext, RunFailed
from cartpole_dqn.errors import CheckpointError, RunFolderError
from cartpole_dqn.observers import line_file
from cartpole_dqn.observers.metrics import COLUMNS, Metrics, MetricsOptions


def make(folder: Path) -> Metrics:
    context = ObserverContext(folder=str(folder), console=None, clock=lambda: 0.0)
    return Metrics(MetricsOptions(), context)


@pytest.fixture
def metrics(tmp_path: Path, events: Any) -> Metrics:
    """The observer of a run that has started in the test's folder."""
    observer = make(tmp_path)
    observer.run_started(events.started())
    return observer


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def events_of(folder: Path) -> list[dict[str, Any]]:
    def refuse(text: str) -> None:
        raise AssertionError(f"{text} is no JSON")

    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line, parse_constant=refuse) for line in lines]


def test_every_event_is_on_the_disk_at_once(tmp_path: Path, events: Any, metrics: Metrics) -> None:
    assert (tmp_path / "metrics.csv").read_text() == ",".join(COLUMNS) + "\n"
    metrics.episode_ended(events.episode(1, 23.0, step=100))
    assert len(rows_of(tmp_path)) == 1
    metrics.evaluated(events.evaluation(best=True))
    metrics.checkpoint_written(events.checkpoint())
    metrics.run_ended(events.ended())
    names = ["run_started", "episode", "evaluation", "checkpoint", "run_ended"]
    assert [event["event"] for event in events_of(tmp_path)] == names
    with pytest.raises(ValueError, match="is closed"):
        metrics.evaluated(events.evaluation())


def test_a_row_an_episode(tmp_path: Path, events: Any, metrics: Metrics) -> None:
    metrics.episode_ended(events.episode(1, 23.0, step=100, length=23, env=2, seed=99))
    metrics.episode_ended(events.episode(2, 0.5, step=160, terminated=False, progress=events.progress(160, metrics={})))
    first, second = rows_of(tmp_path)
    cells = ["1", "100", "2.0", "23.0", "23", "1", "0.75", "0.0123", "4.5", "0.0005", "50.0", "2", "99"]
    assert list(first.items()) == list(zip(COLUMNS, cells, strict=True))
    assert (second["terminated"], second["loss"], second["return"]) == ("0", "", "0.5")


def test_steps_per_second_are_since_the_last_episode(tmp_path: Path, events: Any, metrics: Metrics) -> None:
    moments = [(100, 1.0), (160, 3.0), (160, 3.0), (200, 4.0)]  # two lanes end at once
    for k, (step, seconds) in enumerate(moments, start=1):
        metrics.episode_ended(events.episode(k, step=step, progress=events.progress(step, seconds=seconds)))
    assert [float(row["steps_per_second"]) for row in rows_of(tmp_path)] == [100.0, 30.0, 30.0, 40.0]


def test_json_holds_all_figures_and_no_nan(tmp_path: Path, events: Any) -> None:
    metrics = make(tmp_path)
    metrics.run_started(events.started(episodes=5))
    progress = events.progress(
        metrics={"loss": math.nan, "q_mean": np.float32(0.5), "critic": math.inf},
        status={"epsilon": np.float64(0.25), "goal": "s6\n", "size": np.int64(3), "on": True, "odd": {1}},
    )
    metrics.episode_ended(events.episode(1, math.inf, progress=progress))
    metrics.evaluated(events.evaluation(returns=(1.0, math.nan)))
    _, episode, evaluation = events_of(tmp_path)
    assert episode["metrics"] == {"loss": None, "q_mean": 0.5, "critic": None}
    assert episode["status"] == {"epsilon": 0.25, "goal": "s6\n", "size": 3, "on": True, "odd": "{1}"}
    assert (episode["return"], evaluation["mean"], evaluation["returns"]) == (None, None, [1.0, None])
    (row,) = rows_of(tmp_path)
    assert (row["loss"], row["return"], row["epsilon"], row["q_mean"]) == ("nan", "inf", "0.25", "0.5")


def test_the_folder_may_move_since_no_path_is_kept(tmp_path: Path, events: Any) -> None:
    metrics = make(tmp_path)
    metrics.run_started(events.started(folder=str(tmp_path)))
    metrics.checkpoint_written(events.checkpoint())
    assert str(tmp_path) not in (tmp_path / "metrics.jsonl").read_text()
    assert events_of(tmp_path)[1]["path"] == "checkpoint"


def test_a_failed_run_says_so(tmp_path: Path, events: Any, metrics: Metrics) -> None:
    metrics.run_failed(RunFailed(7, ValueError("the pole\nfell")))
    assert events_of(tmp_path)[-1] == {"event": "run_failed", "step": 7, "error": "ValueError: the pole fell"}


@given(before=st.integers(0, 12), lost=st.integers(0, 8), after=st.integers(0, 12), torn=st.binary(max_size=9))
def test_a_resumed_run_has_neither_gap_nor_duplicate(
    events: Any, before: int, lost: int, after: int, torn: bytes
) -> None:
    def feed(metrics: Metrics, first: int, count: int) -> None:
        for k in range(first, first + count):
            metrics.episode_ended(
                events.episode(k + 1, float(k), step=10 * k + 10, progress=events.progress(10 * k + 10))
            )
            if k % 3 == 0:
                metrics.evaluated(events.evaluation(10 * k))

    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        whole, killed = make(Path(one)), make(Path(two))
        whole.run_started(events.started())
        feed(whole, 0, before + after)
        whole.run_ended(events.ended())

        killed.run_started(events.started())
        feed(killed, 0, before)
        state = json.loads(json.dumps(killed.state_dict()))
        killed.checkpoint_written(events.checkpoint())
        feed(killed, before, lost)
        killed.run_failed(RunFailed(0, KeyboardInterrupt()))
        with (Path(two) / "metrics.jsonl").open("ab") as file:
            file.write(torn)

        resumed = make(Path(two))
        resumed.load_state_dict(state)
        assert resumed.state_dict() == state
        resumed.run_started(events.started(step=10 * before, episode=before))
        feed(resumed, before, after)
        resumed.run_ended(events.ended())

        assert (Path(two) / "metrics.csv").read_bytes() == (Path(one) / "metrics.csv").read_bytes()
        assert (Path(two) / "metrics.jsonl").read_bytes() == (Path(one) / "metrics.jsonl").read_bytes()


@pytest.mark.parametrize("name", ["metrics.csv", "metrics.jsonl"])
@pytest.mark.parametrize("missing", [True, False])
def test_a_file_that_lost_bytes_is_refused_and_nothing_changed(
    tmp_path: Path, events: Any, metrics: Metrics, name: str, missing: bool
) -> None:
    metrics.episode_ended(events.episode(1))
    state = metrics.state_dict()
    metrics.episode_ended(events.episode(2))
    metrics.run_failed(RunFailed(1, ValueError()))
    path = tmp_path / name
    if missing:
        path.unlink()
    else:
        os.truncate(path, 20)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(CheckpointError, match="is missing, but had" if missing else "has 20 bytes, but had"):
        make(tmp_path).load_state_dict(state)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_torn_last_line_is_cut_before_anything_is_appended(tmp_path: Path, events: Any) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"event":"old"}\n' + '{"event":"ep' + "x" * 70_000)
    (tmp_path / "metrics.csv").write_text("torn header without an end")
    metrics = make(tmp_path)
    metrics.run_started(events.started())
    metrics.episode_ended(events.episode(1))
    assert [event["event"] for event in events_of(tmp_path)] == ["old", "episode"]
    assert [row["episode"] for row in rows_of(tmp_path)] == ["1"]


def test_a_run_without_a_folder_is_refused() -> None:
    with pytest.raises(RunFolderError, match="needs a run folder"):
        Metrics(MetricsOptions(), ObserverContext(folder=None, console=None, clock=lambda: 0.0))


def test_megabytes_after_the_last_line_are_dropped_in_few_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []

    class Counting(io.FileIO):
        def read(self, size: int | None = -1) -> bytes:
            reads.append(size or 0)
            return super().read(-1 if size is None else size)

    monkeypatch.setattr(io, "FileIO", Counting)
    (tmp_path / "lines").write_bytes(b"one\ntwo\n" + bytes(3_000_000))
    file = line_file.LineFile(tmp_path / "lines")
    file.open()
    file.write("three\n")
    file.close()
    assert (tmp_path / "lines").read_bytes() == b"one\ntwo\nthree\n"
    assert len(reads) < 100
