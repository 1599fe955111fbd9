"""Environments that fail in every way, from the command line: the run stops with a sentence, and can be resumed."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import forked
from cartpole_dqn.runs import checkpoint
from cartpole_dqn.runs.checkpoint import read_state
from cartpole_dqn.runs.folder import run_state
from cartpole_dqn.runs.tensors import write_tensors
from waiting import until

Invoke = Callable[..., Any]

FAULTY = '''
"""CartPole that goes wrong at its 120th step, unless a file named `mended` stands beside this module."""

import os
import signal
import time
from pathlib import Path

import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv


class Faulty(CartPoleEnv):
    steps = 0

    def __init__(self, fault, **given):
        super().__init__(**given)
        self.fault = fault

    def step(self, action):
        obs, reward, *rest = super().step(action)
        self.steps += 1
        if self.steps != 120 or Path(__file__).with_name("mended").exists():
            return obs, reward, *rest
        if self.fault == "raise":
            raise ZeroDivisionError("of all things")
        if self.fault == "hang":
            Path(__file__).with_name("hangs").touch()
            while True:
                time.sleep(0.05)
        if self.fault == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        return obs, reward, *rest


gymnasium.register("Faulty-v0", Faulty, max_episode_steps=500)
'''


@pytest.fixture(autouse=True)
def _faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import gymnasium

    (tmp_path / "faulty_envs.py").write_text(FAULTY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    yield
    sys.modules.pop("faulty_envs", None)
    gymnasium.registry.pop("Faulty-v0", None)


def arguments(fault: str, *more: str, steps: int = 300, out: str = "r") -> list[str]:
    settings = [f'env.kwargs.fault="{fault}"', "evaluation.every=0", "checkpoint.every_steps=50"]
    settings += ["agent.learning_starts=0", "agent.batch_size=8"]
    chosen = ["--env", "faulty_envs:Faulty-v0", "--obs", "state", "--steps", str(steps), "--out", out, "--plain"]
    return ["run", *chosen, *(word for setting in settings for word in ("--set", setting)), *more]


def state_of(folder: Path) -> list[bytes]:
    """The arrays of the last checkpoint."""
    return [path.read_bytes() for path in sorted((folder / "checkpoint").glob("*.safetensors"))]


SENTENCES = {
    "raise": r"raised ZeroDivisionError: of all things \(faulty_envs\.py, line \d+\)\.",
    "hang": r"did not answer within 3 seconds\.",
    "die": r"is gone: its process was ended by SIGKILL\.",
}
REFERENCES: dict[str, list[bytes]] = {}
"""By number of environments: what a run ends with that nothing ever stopped."""
APART = ["--vector", "async", "--num-envs", "2"]


@pytest.mark.parametrize(
    ("fault", "more"),
    [("raise", []), ("hang", [*APART, "--step-timeout", "3"]), ("die", APART)],
    ids=lambda value: value if isinstance(value, str) else "async" * bool(value),
)
def test_a_fault_stops_the_run_and_mended_it_goes_on(fault: str, more: list[str], call: Invoke, tmp_path: Path) -> None:
    result = call(*arguments(fault, *more), code=1)
    # With two environments the 120th step of each is among the run's steps 239 and 240.
    step, last = (238, 200) if more else (119, 100)
    place = rf"environment 0 \(episode seed \d+, step \d+\) {SENTENCES[fault]}"
    words = rf"error: the run failed at step {step}: {place}.* The last checkpoint is of step {last}\."
    assert re.search(words, result.err), result.err
    assert result.err.rstrip().endswith("The run's folder: r\nresume with: cartpole-dqn resume r")
    assert result.out == ""
    assert json.loads((tmp_path / "r" / "status.json").read_text()) == {"state": "failed", "step": step}
    rows = [json.loads(line) for line in (tmp_path / "r" / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["event"] == "run_failed"

    (tmp_path / "mended").touch()
    call("resume", "r", "--plain")
    assert state_of(tmp_path / "r") == whole(call, tmp_path, "2" if more else "1")


def whole(call: Invoke, tmp_path: Path, envs: str) -> list[bytes]:
    if envs not in REFERENCES:
        call(*arguments("none", "--num-envs", envs, out="whole"))
        REFERENCES[envs] = state_of(tmp_path / "whole")
    assert REFERENCES[envs]
    return REFERENCES[envs]


def test_a_full_disk_stops_the_run_and_with_room_it_goes_on(
    call: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(path: Path, tensors: Any) -> Any:
        if path.name.endswith("-3.safetensors"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write_tensors(path, tensors)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_tensors", fill)
        result = call(*arguments("none"), code=1)
    assert result.out == ""
    assert "No space left on device. The one before it is kept. Make room on the disk" in result.err
    assert "The last checkpoint is of step 100." in result.err
    assert run_state(tmp_path / "r").state == "failed"
    call("resume", "r", "--plain")
    assert state_of(tmp_path / "r") == whole(call, tmp_path, "1")


def test_a_time_limit_needs_worker_processes_and_resume_can_change_it(
    call: Invoke, refused: Callable[..., None], tmp_path: Path
) -> None:
    words = 'needs env.vector = "async" (--vector async)'
    refused(words, *arguments("none", "--step-timeout", "5"))
    call(*arguments("none", *APART, "--step-timeout", "30", steps=60))
    assert "step_timeout = 30.0" in (tmp_path / "r" / "config.toml").read_text()
    call("resume", "r", "--steps", "80", "--step-timeout", "60", "--plain")
    assert "step_timeout = 60.0" in (tmp_path / "r" / "config.toml").read_text()
    refused("step_timeout", "resume", "r", "--step-timeout", "-1")


# Signals --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Start a run with workers in a process of its own; what is left of it at the end is killed."""
    started: list[Any] = []

    def launch(fault: str, *more: str) -> Any:
        given = arguments(fault, "--vector", "async", "--num-envs", "2", *more, steps=10**6)
        started.append(forked.launch(given, folder=tmp_path, path=[str(tmp_path)]))
        return started[-1]

    yield launch
    for run in started:
        if run.poll() is None:
            run.send("SIGKILL", to_group=True)


@pytest.mark.process
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_to_the_whole_group_ends_a_run_with_workers_in_order(
    name: str, start: Callable[..., Any], tmp_path: Path
) -> None:
    run = start("none")
    until((tmp_path / "r" / "checkpoint" / "state.json").exists)
    workers = forked.workers_of(run.pid)
    assert len(workers) == 2
    run.send(name, to_group=True)
    assert run.wait(60) == 128 + getattr(signal, name)
    assert not any(map(forked.is_alive, workers))
    assert "Traceback" not in run.err.read_text()
    assert run.out.read_text() == "r\n"
    step = json.loads((tmp_path / "r" / "status.json").read_text())["step"]
    assert read_state(tmp_path / "r" / "checkpoint", parts=["run"])[0]["step"] == step


@pytest.mark.process
def test_a_run_that_hangs_ends_within_a_bound_when_it_is_asked_to(start: Callable[..., Any], tmp_path: Path) -> None:
    run = start("hang")
    until((tmp_path / "hangs").exists)
    workers = forked.workers_of(run.pid)
    run.send("SIGTERM")
    assert run.wait(60) == 128 + signal.SIGTERM
    text = run.err.read_text()
    assert re.search(
        r"environment 0 \(.*\) did not answer within 5 seconds\. The last checkpoint is of step 200\.", text
    )
    assert "resume with: cartpole-dqn resume r" in text
    assert not any(map(forked.is_alive, workers))
    assert json.loads((tmp_path / "r" / "status.json").read_text())["state"] == "interrupted"


@pytest.mark.process
def test_a_second_ctrl_c_ends_a_run_that_hangs_at_once(start: Callable[..., Any], tmp_path: Path) -> None:
    run = start("hang")
    until((tmp_path / "hangs").exists)
    workers = forked.workers_of(run.pid)
    run.send("SIGINT", to_group=True)
    until(lambda: "Ctrl-C again stops at once" in run.err.read_text())
    run.send("SIGINT", to_group=True)
    assert run.wait(60) == 130
    text = run.err.read_text()
    assert "did not answer" not in text, "it waited for its grace"
    assert "Traceback" not in text
    assert text.endswith("stopped at once (Ctrl-C), without a last checkpoint\nresume with: cartpole-dqn resume r\n")
    until(lambda: not any(map(forked.is_alive, workers)), 10)


@pytest.mark.process
def test_a_killed_run_leaves_no_worker_and_its_lock_does_not_block_its_resume(
    start: Callable[..., Any], call: Invoke, tmp_path: Path
) -> None:
    run = start("none")
    until((tmp_path / "r" / "checkpoint" / "state.json").exists)
    workers = forked.workers_of(run.pid)
    result = call("resume", "r", code=2)
    assert result.out == ""
    assert f"another run (process {run.pid}) is using r. Wait until it ends" in result.err
    result = call(*arguments("none"), code=2)
    assert "r holds a run already. Continue it with `cartpole-dqn resume r`" in result.err
    run.send("SIGKILL")
    assert run.wait(60) == -signal.SIGKILL
    until(lambda: not any(map(forked.is_alive, workers)), 10)
    step = read_state(tmp_path / "r" / "checkpoint", parts=["run"])[0]["step"]
    call("resume", "r", "--steps", str(step + 100), "--plain")
