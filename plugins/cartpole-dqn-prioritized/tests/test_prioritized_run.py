"""Whole runs, the plugin found by its entry point."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from cartpole_dqn import Run, train

SETTINGS: dict[str, Any] = {
    "agent": {
        "learning_starts": 200,
        "batch_size": 32,
        "replay": {"name": "prioritized", "capacity": 500, "beta_steps": 1000},
    },
    "evaluation": {"every": 0},
}


def run(out: Path, steps: int) -> Run:
    return train(obs="state", steps=steps, seed=3, settings=SETTINGS, plain=True, out=out)


def rows(run: Run) -> list[dict[str, str]]:
    """Every episode's figures, without those that depend on the machine's speed."""
    with (run.path / "metrics.csv").open(newline="") as file:
        return [
            {k: v for k, v in row.items() if k not in ("seconds", "steps_per_second")} for row in csv.DictReader(file)
        ]


def test_a_run_trains_and_resumes_with_the_same_bits(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", 1000)
    assert whole.config.agent["replay"] == {
        "name": "prioritized", "capacity": 500, "alpha": 0.6, "beta_start": 0.4, "beta_steps": 1000, "eps": 1e-6
    }  # fmt: skip
    episodes = rows(whole)
    assert len(episodes) > 20
    assert any(float(row["loss"]) > 0 for row in episodes if row["loss"])
    parts = run(tmp_path / "parts", 600).resume(1000, plain=True)
    assert rows(parts) == episodes
