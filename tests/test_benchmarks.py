"""The benchmarks' scripts still run, for some steps each: that both sides are counted, never how fast they are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import scripts

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


@pytest.mark.process
def test_a_timing_that_fails_says_why() -> None:
    done = run("vector.py", "--env", "Pendulum-v1", "--obs", "state", "--num-envs", "1", "--repeats", "1")
    assert done.returncode == 1
    assert "vector.py --env Pendulum-v1" in done.stderr
    assert "finite number of actions" in done.stderr


def test_every_script_is_listed_and_tried() -> None:
    scripts = {path.name for path in BENCHMARKS.glob("*.py")} - {"timing.py"}
    assert scripts == set(SHORT)
    listed = (BENCHMARKS / "README.md").read_text()
    assert [name for name in scripts if f"`{name}`" not in listed] == []


def test_figures_have_their_spread() -> None:
    timing = scripts.load(BENCHMARKS / "timing.py")
    assert timing.spread([900.0, 1100.0, 1000.4]) == "1,000 (900 to 1,100)"
    assert timing.spread([2.345], 2) == "2.35"
    assert "torch" in timing.machine()


def test_seeds_that_are_not_solved_count_as_slower_than_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    floors = scripts.load(BENCHMARKS / "floors.py")
    figures = {"obs": "state", "cap": 9_000, "processor": 1.0, "all": 5.0, "best": 480.0, "machine": "a machine"}

    def row(side: str, seed: int, steps: int, solved: bool) -> dict[str, object]:
        return {"side": side, "seed": seed, "steps": steps, "training": steps / 1_000, "solved": solved, **figures}

    rows = [row("ours", seed, steps, steps < 9_000) for seed, steps in enumerate((3_000, 9_000, 4_000))]
    lines = floors.table([*rows, row("sb3", 0, 9_000, False)]).splitlines()
    assert "| 0 of 1 | more than 9,000 | more than 9.00 |" in lines[2]
    assert "| 2 of 3 | 4,000 (3,000 to -) | 4.00 (3.00 to -) | 1.00 (1.00 to -) | 5.0 (5.0 to -) |" in lines[3]
