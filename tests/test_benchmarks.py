"""The benchmarks' scripts still run, for some steps each: that both sides are counted, never how fast they are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent / "benchmarks"
SHORT = {
    "speed.py": (["--preset", "tutorial-state", "--repeats", "1", "--steps", "150"], "| `tutorial-state` | 150 |"),
    "vector.py": (
        ["--env", "FrozenLake-v1", "--obs", "state", "--num-envs", "2", "--seconds", "0.05", "--repeats", "1"],
        "| state | 2 |",
    ),
    "render.py": (["--rounds", "2"], "RenderObservation"),
    "update.py": (["--rounds", "2"], "clip_grad_norm_"),
    "display.py": (["--repeats", "1", "--steps", "150"], "| 160x45 |"),
    "notebook_loops.py": (["pixels", "--steps", "2"], '{"steps": 2, "seconds": '),
    "floors.py": (["--one", "--only", "ours", "--obs", "state", "--steps", "1000"], '"solved": false, "steps": 1000,'),
}


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "CARTPOLE_DQN_PLUGINS": ""}
    command = [sys.executable, str(BENCHMARKS / script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.process
@pytest.mark.parametrize("script", SHORT)
def test_a_benchmark_runs(script: str) -> None:
    arguments, words = SHORT[script]
    done = run(script, *arguments)
    assert done.returncode == 0, done.stderr
    assert words in done.stdout


def test_every_script_is_listed_and_tried() -> None:
    scripts = {path.name for path in BENCHMARKS.glob("*.py")} - {"timing.py"}
    assert scripts == set(SHORT)
    listed = (BENCHMARKS / "README.md").read_text()
    assert [name for name in scripts if f"`{name}`" not in listed] == []
