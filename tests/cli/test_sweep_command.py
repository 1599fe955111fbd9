"""`sweep`, typed: real trials of some hundred steps, what it prints and keeps, and what it refuses."""

from __future__ import annotations

import json
import os
import shutil
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
from waiting import is_gone, is_under_way, until

BASE = ["--obs", "state", "--steps", "150", "--set", "evaluation.every=100", "--set", "evaluation.episodes=1"]
NO_PLUGINS = {"CARTPOLE_DQN_PLUGINS": ""}
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


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A sweep of two settings, one of which has a trial that fails."""
    folder = tmp_path_factory.mktemp("swept")
    (folder / "breaks.py").write_text(BREAKS)
    arguments = [*BASE, "--env", "breaks:Breaks-v0", "--grid", "env.kwargs.after=0,120", "--seeds", "1", "--jobs", "2"]
    return folder, typed(folder, *arguments, "--out", "s")


def typed(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return forked.run(
        [sys.executable, "-m", "cartpole_dqn", "sweep", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}", **NO_PLUGINS},
    )


@pytest.mark.process
@pytest.mark.smoke
def test_what_a_sweep_prints_and_keeps(swept: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = swept
    assert done.returncode == 1, done.stderr
    assert "after=0,seed=0: running" in done.stderr
    assert "after=0,seed=0: done after" in done.stderr
    assert "failed: after=120,seed=0: " in done.stderr
    assert "RuntimeError: the pole broke" in done.stderr
    assert "error: 1 of 2 trials failed. Try them again with: cartpole-dqn sweep --resume s --retry-failed" in (
        done.stderr
    )
    assert "Traceback" not in done.stderr
    assert done.stdout.startswith("Groups\n")
    assert "Failed, and in no figure: after=120,seed=0" in done.stdout
    assert "## Groups" in (folder / "s" / "results.md").read_text()
    results = json.loads((folder / "s" / "results.json").read_text())
    assert [run["name"] for run in results["runs"]] == ["after=0,seed=0"]
    assert {path.name for path in (folder / "s" / "trials" / "after=0,seed=0").iterdir()} >= {
        "config.toml", "metrics.csv", "metrics.jsonl", "checkpoint", "best", "curve.png", "environment.json"
    }  # fmt: skip
    plan = tomllib.loads((folder / "s" / "sweep.toml").read_text())
    assert plan["settings"] == {"method": "grid", "grid": {"env.kwargs.after": ["0", "120"]}}
    assert plan["engine"] == {"name": "local", "jobs": 2, "options": {}}


@pytest.mark.process
def test_the_same_again_trains_nothing_and_says_the_same(
    swept: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    sweep_folder, done = swept
    folder = Path(shutil.copytree(sweep_folder, tmp_path / "swept"))  # `sweep.toml` is written again, with --jobs 1
    before = {path: path.stat().st_mtime_ns for path in (folder / "s" / "trials").rglob("*")}
    again = typed(folder, "--resume", "s", "--jobs", "1")
    assert (again.returncode, again.stdout) == (1, done.stdout)
    assert "running" not in again.stderr
    assert {path: path.stat().st_mtime_ns for path in (folder / "s" / "trials").rglob("*")} == before
    listed = forked.run(
        [sys.executable, "-m", "cartpole_dqn", "compare", "s/trials/after=0,seed=0"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert done.stdout.splitlines()[2].split()[2:] == listed.splitlines()[2].split()[2:], "what compare prints"


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.process
def test_ctrl_c_ends_in_order_and_resume_finishes(tmp_path: Path, times: int) -> None:
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
        again = typed(tmp_path, "--resume", "s")
        assert again.returncode == 0, again.stderr
        assert "seed=0: running, from step" in again.stderr


def test_an_option_of_the_engine_without_a_value_is_named(call: Callable[..., Any]) -> None:
    result = call("sweep", "--obs", "state", "--engine-set", "stop_seconds", "--out", "s")
    assert (result.code, result.err) == (2, "error: --engine-set stop_seconds: expected KEY=VALUE.\n")


def test_two_sweeps_never_share_a_folder(call: Callable[..., Any], tmp_path: Path) -> None:
    from cartpole_dqn.runs import lock as folder_lock
    from cartpole_dqn.studies.sweep_plan import SweepPlan

    (tmp_path / "s").mkdir()
    SweepPlan(seeds=(0,)).write(tmp_path / "s")
    with folder_lock.hold(tmp_path / "s"):
        result = call("sweep", "--resume", "s")
    assert result.code == 2
    assert "is using s" in result.err
