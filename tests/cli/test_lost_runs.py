"""Runs that lose their reader, terminal, disk or folder while they train, or whose environment cannot be closed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import forked
from cartpole_dqn.runs.folder import RunStatus, run_state
from waiting import until

pytestmark = [pytest.mark.process, pytest.mark.skipif(os.name != "posix", reason="signals, pipes and terminals")]

ENVIRONMENT = '''
"""CartPole that waits at its 40th step until a file `go` stands beside this module, and that cannot be closed."""

import time
from pathlib import Path

import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv

HERE = Path(__file__).parent


class Waits(CartPoleEnv):
    steps = 0

    def step(self, action):
        self.steps += 1
        while self.steps == 40 and not (HERE / "go").exists():
            (HERE / "waits").touch()
            time.sleep(0.01)
        return super().step(action)


class Closes(CartPoleEnv):
    def close(self):
        raise AttributeError("no screen")


gymnasium.register("Waits-v0", Waits, max_episode_steps=20)
gymnasium.register("Closes-v0", Closes, max_episode_steps=20)
'''
BUDGET = ["--steps", "120", "--set", "agent.learning_starts=0", "--set", "agent.batch_size=8"]
QUICK = [*BUDGET, "--set", "evaluation.every=0"]
WAITS = ["--env", "lost_envs:Waits-v0", "--obs", "state", *QUICK]
NOHUP = """
import signal, sys
signal.signal(signal.SIGHUP, signal.SIG_IGN)
from cartpole_dqn import cli
if __name__ == "__main__":
    cli.main()
"""
FULL = """
import os, sys
from pathlib import Path
sys.path.insert(0, {support!r})
import small_disk
try:
    small_disk.enter(Path({disk!r}), 1)
except OSError as error:
    sys.exit(f"refused: {{error}}")
os.dup2(os.open({disk!r} + "/output", os.O_WRONLY | os.O_CREAT), {stream})
try:
    Path({disk!r}, "filler").write_bytes(bytes(1 << 20))
except OSError:
    pass
from cartpole_dqn import cli
cli.main()
"""
START = [sys.executable, "-m", "cartpole_dqn"]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lost_envs.py").write_text(ENVIRONMENT)
    (tmp_path / "nohup.py").write_text(NOHUP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., forked.Popen]:
    """Start a run, and return once it waits in the middle. `touch go` lets it go on."""

    def begun(*command: str, **streams: Any) -> forked.Popen:
        process = forked.Popen([*command, "run", *WAITS, "--out", "r"], text=True, **streams)
        until(lambda: (tmp_path / "waits").exists() or process.poll() is not None)
        return process

    return begun


def test_a_run_that_loses_its_reader_goes_on(start: Callable[..., forked.Popen]) -> None:
    process = start(*START, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout.readline() != ""
    process.stdout.close()
    Path("go").touch()
    assert process.wait(60) == 0
    assert run_state(Path("r")) == RunStatus("done", 120)


@pytest.mark.parametrize(("command", "ends"), [(START, 128 + signal.SIGHUP), ([sys.executable, "nohup.py"], 0)])
@pytest.mark.xdist_group("terminal")
def test_a_run_that_loses_its_terminal_is_saved_or_with_nohup_goes_on(command: list[str], ends: int) -> None:
    pytest.importorskip("pexpect")
    child = forked.spawn([*command, "run", *WAITS, "--out", "r"], dimensions=(30, 100), timeout=60)
    child.expect("Ctrl-C")
    until(Path("waits").exists)
    os.close(child.child_fd)
    child.closed = True  # What `close` does besides is to signal.
    Path("go").touch()
    assert os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1]) == ends
    assert run_state(Path("r")).state == ("interrupted" if ends else "done")
    assert Path("r/checkpoint/state.json").exists()


@pytest.mark.parametrize("stream", [1, 2])
def test_a_full_disk_takes_the_output_and_not_the_run(tmp_path: Path, stream: int) -> None:
    (tmp_path / "disk").mkdir()
    support = str(Path(__file__).parents[1] / "support")
    script = FULL.format(support=support, disk=str(tmp_path / "disk"), stream=stream)
    run = ["run", "--obs", "state", *QUICK, "--out", "r", "--plain"]
    for command in (run, ["runs", "."]):
        done = forked.run([sys.executable, "-c", script, *command], capture_output=True, text=True)
        if "refused" in done.stderr:
            pytest.skip(f"this system lets nobody mount a small filesystem: {done.stderr}")
        assert run_state(Path("r")) == RunStatus("done", 120), "a finished run stays finished"
        assert "Traceback" not in done.stderr
        if stream == 1:
            said = "error: the results could not be written to stdout: No space left on device.\n"
            assert (done.returncode, done.stdout, done.stderr[-len(said) :]) == (1, "", said)
        else:
            assert (done.returncode, done.stderr, bool(done.stdout)) == (0, "", True)


def test_nohup_holds_in_a_sweep_and_its_trials() -> None:
    command = [sys.executable, "nohup.py", "sweep", *WAITS, "--seeds", "1", "--out", "s"]
    process = forked.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    until(lambda: Path("waits").exists() or process.poll() is not None, 120)
    os.killpg(process.pid, signal.SIGHUP)
    trial = Path("s/trials/seed=0")
    os.kill(int((trial / ".lock").read_text()), signal.SIGHUP)
    Path("go").touch()
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert run_state(trial) == RunStatus("done", 120)


@pytest.mark.parametrize("moved", [True, False])
def test_a_folder_that_is_moved_or_deleted_stops_the_run(start: Callable[..., forked.Popen], moved: bool) -> None:
    process = start(*START, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if moved:
        Path("r").rename("m")
    else:
        shutil.rmtree("r")
    Path("go").touch()
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert "r is no longer the run's folder: it was moved or deleted meanwhile." in err
    assert "Traceback" not in err
    assert not Path("r").exists()
    if moved:
        resumed = forked.run([*START, "resume", "m", "--plain"], capture_output=True, text=True)
        assert resumed.returncode == 0, resumed.stderr
        assert run_state(Path("m")) == RunStatus("done", 120)


def test_an_environment_that_cannot_be_closed_is_said_once() -> None:
    run = ["run", "--env", "lost_envs:Closes-v0", "--obs", "state", *BUDGET, "--out", "r", "--plain"]
    for command in (run, ["evaluate", "r", "--episodes", "2", "--json"]):
        done = forked.run([*START, *command], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("could not be closed: it raised AttributeError: no screen") == 1
        assert "Traceback" not in done.stderr
    assert run_state(Path("r")) == RunStatus("done", 120)
    assert json.loads(done.stdout)["episodes"] == 2
