"""Whole runs in offline mode, and the files that `wandb sync` would upload."""

from __future__ import annotations

import csv
import json
import shutil
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[import-untyped]

from cartpole_dqn import Run, UserError, train

BLOCK, HEADER, FIRST, LAST = 32_768, struct.Struct("<IHB"), 2, 4


@pytest.fixture(autouse=True)
def _nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")


def run(out: Path, steps: int, **options: Any) -> Run:
    settings: dict[str, Any] = {
        "agent": {"learning_starts": 200, "batch_size": 32, "replay": {"capacity": 2000}},
        "evaluation": {"every": 500, "episodes": 2},
        "observer": [{"name": "metrics"}, {"name": "wandb", "every_updates": 20, "wait": 300.0, **options}],
    }
    return train(obs="state", steps=steps, seed=1, settings=settings, plain=True, out=out)


def records(path: Path) -> Iterator[Any]:
    """The records of a `.wandb` file: LevelDB's log format after a header of seven bytes."""
    data, at, parts = path.read_bytes(), 7, b""
    assert data[:4] == b":W&B"
    while at + HEADER.size <= len(data):
        if BLOCK - at % BLOCK < HEADER.size:
            at += BLOCK - at % BLOCK
            continue
        checksum, size, kind = HEADER.unpack_from(data, at)
        part = data[at + HEADER.size : at + HEADER.size + size]
        assert checksum == zlib.crc32(bytes([kind]) + part)
        at += HEADER.size + size
        parts = part if kind <= FIRST else parts + part
        if kind in (1, LAST):
            record = Record()
            record.ParseFromString(parts)
            yield record


def values(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


class Files:
    """What all sessions of a run have written for W&B."""

    def __init__(self, run: Run) -> None:
        self.rows: list[dict[str, Any]] = []
        self.summary: dict[str, Any] = {}
        self.config: dict[str, Any] = {}
        self.exits: list[int] = []
        self.ids: set[str] = set()
        for path in sorted(run.path.glob("wandb/offline-run-*/run-*.wandb")):
            for record in records(path):
                kind = record.WhichOneof("record_type")
                if kind == "history":
                    self.rows.append(values(record.history.item))
                elif kind == "summary":
                    self.summary |= values(record.summary.update)
                elif kind == "run":
                    self.ids.add(record.run.run_id)
                    self.config |= values(record.run.config.update)
                elif kind == "config":
                    self.config |= values(record.config.update)
                elif kind == "exit":
                    self.exits.append(record.exit.exit_code)

    def points(self, tag: str) -> list[tuple[int, float]]:
        return [(row["step"], row[tag]) for row in self.rows if tag in row]


def restored(run: Run, kept: Path) -> None:
    """Put an earlier checkpoint back."""
    (run.path / "checkpoint").rename(kept.with_name("later"))
    kept.rename(run.path / "checkpoint")


@pytest.mark.process
@pytest.mark.timeout(600)
def test_a_run_and_its_resumption(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", 1000, record=True)
    at = Files(whole)
    with (whole.path / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert at.points("episode/return") == [(int(row["step"]), float(row["return"])) for row in rows]
    assert [step for step, _ in at.points("evaluation/mean")] == [500, 1000]
    learned = [step for step, _ in at.points("learning/loss")]
    assert learned == list(range(learned[0], 1001, 20))
    assert [row["_step"] for row in at.rows] == list(range(len(at.rows)))
    assert at.config["agent.replay.capacity"] == 2000
    assert (at.summary["ended"], at.exits) == ("done", [0])
    for name, kind in (("curve", "image-file"), ("recording", "video-file")):
        assert at.summary[name]["_type"] == kind
        assert len(list(whole.path.glob(f"wandb/offline-run-*/files/{at.summary[name]['path']}"))) == 1

    # Steps after the checkpoint at 600 are logged, and the next session makes them again.
    parts = run(tmp_path / "parts", 600)
    shutil.copytree(parts.path / "checkpoint", tmp_path / "kept")
    parts.resume(800, plain=True)
    restored(parts, tmp_path / "kept")
    parts.resume(1000, plain=True)
    again = Files(parts)
    assert len(again.ids) == 1
    assert [row["_step"] for row in again.rows] == list(range(len(again.rows)))
    assert [step for step, _ in again.points("evaluation/mean")] == [500, 600, 800, 1000]
    for tag in ("episode/return", "episode/length", "agent/epsilon", "learning/loss", "learning/q_mean"):
        assert again.points(tag) == at.points(tag), tag
    assert again.config["steps"] == 1000
    assert again.exits == [0, 0, 0]


def test_another_mode_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mode: expected '', 'online' or 'offline', got 'onlin'"):
        run(tmp_path / "run", 100, mode="onlin")


@pytest.mark.process
@pytest.mark.timeout(600)
def test_a_service_that_is_down_does_not_stop_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    ended = run(tmp_path / "run", 400, mode="online", wait=10.0)
    assert (ended.path / "checkpoint").exists()
    text = " ".join(capfd.readouterr().err.split())
    assert text.count("observer wandb: ") == 1
    assert "wandb/ in the run's folder; resume sends them." in text
