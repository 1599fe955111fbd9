"""A whole run, the plugin found by its entry point."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

from cartpole_dqn import Run, train

SETTINGS: dict[str, Any] = {
    "agent": {"learning_starts": 200, "batch_size": 32, "replay": {"capacity": 2000}},
    "evaluation": {"every": 500, "episodes": 2},
    "observer": [{"name": "metrics"}, {"name": "tensorboard", "every_updates": 20}],
}


def run(out: Path, steps: int) -> Run:
    return train(obs="state", steps=steps, seed=1, settings=SETTINGS, plain=True, out=out)


def points(run: Run) -> dict[str, list[tuple[int, float]]]:
    reader = EventAccumulator(str(run.path / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    return {tag: [(e.step, e.value) for e in reader.Scalars(tag)] for tag in reader.Tags()["scalars"]}


def test_a_run_and_its_resumption_are_read_back(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", 1500)
    found = points(whole)
    with (whole.path / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 20
    assert found["episode/return"] == [(int(row["step"]), float(row["return"])) for row in rows]
    assert found["episode/length"] == [(int(row["step"]), float(row["length"])) for row in rows]
    assert [value for _, value in found["agent/epsilon"]] == pytest.approx([float(row["epsilon"]) for row in rows])
    assert [step for step, _ in found["evaluation/mean"]] == [500, 1000, 1500]
    learned = [step for step, _ in found["learning/loss"]]
    assert learned == list(range(learned[0], 1501, 20))
    assert 200 <= learned[0] < 220
    assert all(value > 0 for _, value in found["speed/steps_per_second"])

    resumed = points(run(tmp_path / "parts", 900).resume(1500, plain=True))
    assert [step for step, _ in resumed["evaluation/mean"]] == [500, 900, 1000, 1500]
    for tag in found.keys() - {"speed/steps_per_second", "evaluation/mean", "evaluation/std"}:
        assert resumed[tag] == found[tag], tag
