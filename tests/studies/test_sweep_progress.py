"""How far a trial is, read while somebody writes: the same as a reader that sees the whole file."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cartpole_dqn.runs.catalogue import summarise_run
from cartpole_dqn.studies.sweep_progress import ProgressReader, TrialProgress

WriteRun = Callable[..., Path]


@pytest.fixture
def run(write_run: WriteRun) -> Path:
    return write_run(
        "run",
        evaluations={100: [50.0], 200: [480.0, 500.0], 300: [20.0]},
        confirmations={200: ([470.0], True)},
        best=[100, 200],
    )


def test_it_reads_what_the_listing_reads(run: Path) -> None:
    found, summary = ProgressReader(run).read(), summarise_run(run)
    assert found == TrialProgress(step=300, episode=3, last=20.0, best=470.0)
    assert (found.step, found.best) == (summary.step, summary.best)


def test_reading_byte_by_byte_comes_to_the_same(run: Path, tmp_path: Path) -> None:
    data = (run / "metrics.jsonl").read_bytes()
    other = tmp_path / "other"
    other.mkdir()
    reader = ProgressReader(other)
    assert reader.read() == TrialProgress()
    best = []
    with (other / "metrics.jsonl").open("wb", buffering=0) as file:
        for start in range(0, len(data), 7):
            file.write(data[start : start + 7])
            best.append(reader.read().best)
    assert reader.read() == ProgressReader(run).read()
    assert list(dict.fromkeys(best)) == [None, 50.0, 490.0, 470.0]


def test_a_file_that_was_cut_is_read_anew(run: Path, tmp_path: Path) -> None:
    reader = ProgressReader(run)
    reader.read()
    lines = (run / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (run / "metrics.jsonl").write_bytes(b"".join(lines[:3]))
    assert reader.read() == ProgressReader(run).read()
    assert reader.read().step == 100


def test_damage_is_passed_over(run: Path) -> None:
    data = (run / "metrics.jsonl").read_bytes()
    (run / "metrics.jsonl").write_bytes(b'[1]\n{"event": "episode"}\n{"step": "x"}\nnonsense\n\xff\n' + data)
    assert ProgressReader(run).read().step == 300
    shutil.rmtree(run)
    assert ProgressReader(run).read() == TrialProgress()
