"""Real runs in real processes, killed with `kill -9` at random moments and resumed: the soak's script, cut short."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

import forked

SCRIPT = Path(__file__).parents[1] / "soak" / "kill_and_resume.py"


def soak(place: Path, *arguments: str) -> dict[str, dict[str, Any]]:
    report = place / "report.json"
    command = [sys.executable, str(SCRIPT), "--out", str(place / "runs"), "--json", str(report), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = forked.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return {case["name"]: case for case in json.loads(report.read_text())}


OTHER = "uniform" if importlib.util.find_spec("cartpole_dqn_prioritized") is None else "prioritized"


@pytest.mark.timeout(600)
@pytest.mark.process
@pytest.mark.parametrize(
    "names",
    [
        pytest.param(["state-1-uniform", "pixels-4-uniform-async"], marks=pytest.mark.smoke),
        pytest.param([f"state-4-{OTHER}", f"pixels-1-{OTHER}"], marks=pytest.mark.extras),
    ],
    ids=["uniform", OTHER],
)
def test_killed_runs_end_with_the_same_bits(tmp_path: Path, names: list[str]) -> None:
    """Each of state and pixels, one and four environments, uniform and prioritised; the soak has every combination."""
    chosen = [word for name in names for word in ("--case", name)]
    cases = soak(tmp_path, "--times", "2", "--kills", "1", "--scale", "0.3", "--seed", "2", *chosen)
    assert set(cases) == set(names)
    assert all(case["kills"] >= 1 for case in cases.values())
    assert any(step > 0 for case in cases.values() for step in case["resumed_from"])
    assert all(case["differences"] == [] for case in cases.values())


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_fifty_killed_runs_end_with_the_same_bits(tmp_path: Path) -> None:
    cases = soak(tmp_path, "--times", "50")
    assert sum(case["runs"] for case in cases.values()) == 50
