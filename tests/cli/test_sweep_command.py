"""`sweep`, typed: real trials of some hundred steps, what it prints and keeps, and what it refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import forked
from cartpole_dqn.errors import RunError
from waiting import is_gone, is_under_way, until

Call = Callable[..., Any]
BASE = ["--obs", "state", "--steps", "150", "--set", "evaluation.every=100", "--set", "evaluation.episodes=1"]
BREAKS = """
import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv

class Breaks(CartPoleEnv):
    def __init__(self, after=0, **kwargs):
        super().__init__(**kwargs)
        self.left = after

    def step(self, action):
        self.left -= 1
        if self.left == 0:
            raise RuntimeError("the pole broke")
        return super().step(action)

gymnasium.register("Breaks-v0", Breaks, max_episode_steps=50)
"""


@pytest.mark.process
@pytest.mark.smoke
def test_what_a_sweep_prints_and_keeps(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two settings, one has a trial that fails."""
    (tmp_path / "breaks.py").write_text(BREAKS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    arguments = [*BASE, "--env", "breaks:Breaks-v0", "--grid", "env.kwargs.after=0,120", "--seeds", "1", "--jobs", "2"]
    result = call("sweep", *arguments, "--out", "s", code=1)
    assert "after=0,seed=0: running" in result.err
    assert "after=0,seed=0: done after" in result.err
    assert "failed: after=120,seed=0: " in result.err
    assert "RuntimeError: the pole broke" in result.err
    assert (
        "error: 1 of 2 trials failed. Try them again with: cartpole-dqn sweep --resume s --retry-failed" in result.err
    )
    assert result.out.startswith("Groups\n")
    assert "Failed, and in no figure: after=120,seed=0" in result.out
    assert "## Groups" in (tmp_path / "s" / "results.md").read_text()
    results = json.loads((tmp_path / "s" / "results.json").read_text())
    assert [run["name"] for run in results["runs"]] == ["after=0,seed=0"]
    assert {path.name for path in (tmp_path / "s" / "trials" / "after=0,seed=0").iterdir()} >= {
        "config.toml", "metrics.csv", "metrics.jsonl", "checkpoint", "best", "curve.png", "environment.json"
    }  # fmt: skip
    plan = tomllib.loads((tmp_path / "s" / "sweep.toml").read_text())
    assert plan["settings"] == {"method": "grid", "grid": {"env.kwargs.after": ["0", "120"]}}
    assert plan["engine"] == {"name": "local", "jobs": 2, "options": {}}
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "s" / "trials").rglob("*")}
    again = call("sweep", "--resume", "s", "--jobs", "1", code=1)
    assert again.out == result.out
    assert "running" not in again.err, "it trains nothing"
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "s" / "trials").rglob("*")} == before
    compared = call("compare", "s/trials/after=0,seed=0").out
    assert compared.splitlines()[2].split()[2:] == result.out.splitlines()[2].split()[2:]


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.process
def test_ctrl_c_ends_in_order_and_resume_finishes(call: Call, tmp_path: Path, times: int) -> None:
    arguments = ["--obs", "state", "--steps", "20000" if times == 1 else "10000000", "--seeds", "1", "--out", "s"]
    quick = ["--set", "evaluation.every=0", "--set", "agent.train_every=1000000000"]
    running = forked.Popen(
        [sys.executable, "-m", "cartpole_dqn", "sweep", *arguments, *quick],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    trial = tmp_path / "s" / "trials" / "seed=0"
    until(lambda: is_under_way(trial, 300) or running.poll() is not None, 120)
    assert running.poll() is None, running.communicate()
    pid = int((trial / ".lock").read_text())
    if times == 2:
        os.kill(pid, signal.SIGSTOP)  # a trial that does not end
    for _ in range(times):
        os.killpg(running.pid, signal.SIGINT)
        time.sleep(0.3)
    _, err = running.communicate(timeout=100)
    assert running.returncode == 130, err
    assert "resume with: cartpole-dqn sweep --resume s" in err
    assert "Traceback" not in err
    assert is_gone(pid)
    (entry,) = json.loads((tmp_path / "s" / "trials.json").read_text())["trials"]
    assert entry["state"] == "interrupted"
    if times == 1:
        assert json.loads((trial / "status.json").read_text())["state"] == "interrupted"
        assert "seed=0: running, from step" in call("sweep", "--resume", "s").err


def test_two_sweeps_never_share_a_folder(call: Call, tmp_path: Path) -> None:
    from cartpole_dqn.runs import lock as folder_lock
    from cartpole_dqn.studies.sweep_plan import SweepPlan

    (tmp_path / "s").mkdir()
    SweepPlan(seeds=(0,)).write(tmp_path / "s")
    with folder_lock.hold(tmp_path / "s"):
        result = call("sweep", "--resume", "s", code=2)
    assert "is using s. Wait until it ends, or stop it first." in result.err


def test_a_sweep_that_could_not_write_its_plan_is_not_to_be_resumed(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from cartpole_dqn.studies import sweep_plan

    def full(path: Path, text: str) -> None:
        raise RunError(f"{path.name} could not be written: No space left on device.")

    monkeypatch.setattr(sweep_plan, "write_text_atomic", full)
    result = call("sweep", *BASE, "--seeds", "1", "--out", "s", code=1)
    assert result.err.endswith("error: sweep.toml could not be written: No space left on device.\n")
    assert not (tmp_path / "s").exists()
