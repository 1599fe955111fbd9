"""Processes that end with their starter, forked off multiprocessing's server or started anew."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cartpole_dqn.runs import lock as folder_lock
from cartpole_dqn.runs.folder import run_state
from cartpole_dqn.studies import trial_process
from cartpole_dqn.studies.trial_process import TrialProcess
from waiting import is_gone, is_under_way, until

pytestmark = [pytest.mark.process, pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")]
forks = pytest.mark.skipif(sys.platform != "linux", reason="forks are for Linux")
LONG = ["run", "--obs", "state", "--steps", "100000000", "--plain", "--set", "agent.train_every=100000000"]

Start = Callable[..., TrialProcess]


@pytest.fixture(params=[pytest.param(True, marks=forks), False], ids=["forked", "spawned"])
def start(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    monkeypatch.setattr(trial_process, "_FORKS", request.param)
    processes: list[TrialProcess] = []

    def begin(arguments: list[str], **options: object) -> TrialProcess:
        processes.append(TrialProcess(arguments, **options))
        return processes[-1]

    yield begin
    for one in processes:
        one.kill()
        one.wait()


def begun(start: Start, place: Path) -> TrialProcess:
    """Start a long run in `place`/run, and return it once it is under way."""
    run = start([*LONG, "--out", str(place / "run")], log=place / "log")
    until(lambda: is_under_way(place / "run"))
    assert run.pid == int((place / "run" / folder_lock.NAME).read_text())
    return run


def test_it_is_the_command_line(start: Start, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise SystemExit('imported from the current folder')")
    codes = []
    for name, arguments in (("one", ["resume", "nowhere"]), ("two", ["--version"]), ("three", ["run", "--nonsense"])):
        log = tmp_path / name
        log.write_text("before\n")
        run = start(arguments, log=log, folder=tmp_path, environment={**os.environ, "NO_COLOR": "1"})
        codes.append(run.wait(60))
    assert codes == [2, 0, 2]
    assert (tmp_path / "one").read_text().startswith("before\nerror: 'nowhere' is no run")
    assert (tmp_path / "two").read_text() == "before\n"
    assert "--nonsense" in (tmp_path / "three").read_text()


ODD = """
import atexit, gymnasium, os, random, sys, threading
import numpy as np
from gymnasium.envs.classic_control import CartPoleEnv

def say(*words):
    print(*words, file=sys.stderr)

say("numbers", random.Random(0).random() and np.random.get_state()[1][:3].tolist())
say("threads", sorted(thread.name for thread in threading.enumerate()))
say("place", os.getcwd(), os.environ.get("ODD"), sys.path[0], sys.stdin.read() == "")
atexit.register(say, "left")
gymnasium.register("Odd-v0", CartPoleEnv, max_episode_steps=20)
"""


def test_it_is_a_new_process_of_its_own(start: Start, tmp_path: Path) -> None:
    """One thread beside the one that follows the starter; environment, folder and path as given; `atexit` is kept."""
    (tmp_path / "odd.py").write_text(ODD)
    command = ["run", "--env", "odd:Odd-v0", "--obs", "state", "--steps", "60", "--set", "agent.learning_starts=32"]
    command += ["--set", "evaluation.every=0", "--vector", "async", "--num-envs", "2", "--plain"]
    environment = {**os.environ, "ODD": "yes"}
    run = start(
        [*command, "--out", "run"],
        log=tmp_path / "log",
        folder=tmp_path,
        environment=environment,
        path=[str(tmp_path), *sys.path],
    )
    assert run.wait(60) == 0, (tmp_path / "log").read_text()
    text = (tmp_path / "log").read_text()
    assert "threads ['MainThread', 'follow-starter']" in text
    assert f"place {tmp_path} yes {tmp_path} True" in text
    assert text.count("\nleft\n") == 1
    assert text.count("numbers") == 1, "workers of environments are forks, as by hand"
    assert (tmp_path / "run" / "config.toml").exists()


def test_equal_runs_give_equal_numbers(start: Start, tmp_path: Path) -> None:
    """Whatever was drawn in one, the next begins anew; and it is what the same command by hand is."""
    command = ["run", "--obs", "pixels", "--steps", "150", "--plain"]
    command += ["--set", "agent.learning_starts=64", "--set", "evaluation.every=0"]
    runs = [start([*command, "--out", str(tmp_path / name)], log=tmp_path / "log") for name in "ab"]
    assert [run.wait(120) for run in runs] == [0, 0], (tmp_path / "log").read_text()
    by_hand = [sys.executable, "-m", "cartpole_dqn", *command, "--out", str(tmp_path / "c")]
    subprocess.run(by_hand, check=True, capture_output=True)
    weights = [(tmp_path / name / "checkpoint" / "run-1.safetensors").read_bytes() for name in "abc"]
    assert weights[0] == weights[1] == weights[2]


def test_what_is_imported_beforehand_can_be_imported() -> None:
    source = Path(trial_process.__file__).with_name("trial_preload.py").read_text()
    modules = re.findall(r'^    "([\w.]+)",$', source, re.MULTILINE)
    assert [name for name in modules if importlib.util.find_spec(name) is None] == []
    assert len(modules) > 10


def test_it_is_asked_to_end_and_it_is_killed(start: Start, tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    asked = begun(start, tmp_path / "1")
    assert asked.poll() is None
    assert asked.wait(0.01) is None
    asked.terminate()
    assert asked.wait(60) == 128 + signal.SIGTERM
    assert run_state(tmp_path / "1" / "run").state == "interrupted"
    asked.kill()  # It does nothing to a process that ended.
    (tmp_path / "2").mkdir()
    killed = begun(start, tmp_path / "2")
    killed.kill()
    assert killed.wait(60) == -signal.SIGKILL
    assert is_gone(killed.pid)


def test_who_is_killed_before_it_began_never_begins(start: Start, tmp_path: Path) -> None:
    run = start([*LONG, "--out", str(tmp_path / "run")], log=tmp_path / "log")
    run.kill()
    assert run.wait(60) == -signal.SIGKILL
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("stop_seconds", [60.0, 0.0])
def test_it_ends_with_its_starter(start: Start, tmp_path: Path, stop_seconds: float) -> None:
    """The starter is a script without a guard: it must not run again in the trial."""
    script = tmp_path / "starter.py"
    script.write_text(f"""
import time
from pathlib import Path
from cartpole_dqn.studies import trial_process
trial_process._FORKS = {trial_process._FORKS}
log = Path({str(tmp_path / "log")!r})
run = trial_process.TrialProcess({[*LONG, "--out", str(tmp_path / "run")]!r}, log=log, stop_seconds={stop_seconds})
time.sleep(600)
""")
    starter = subprocess.Popen([sys.executable, script])
    try:
        until(lambda: is_under_way(tmp_path / "run"))
        pid = int((tmp_path / "run" / folder_lock.NAME).read_text())
    finally:
        starter.kill()
        starter.wait()
    until(lambda: is_gone(pid), 30)
    assert run_state(tmp_path / "run").state == ("interrupted" if stop_seconds else "killed")
    assert stop_seconds == 0 or (tmp_path / "run" / "checkpoint" / "state.json").exists()


def test_a_log_that_cannot_be_written_is_said(start: Start, tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        start(["--version"], log=tmp_path)


def server_of(run: TrialProcess) -> int:
    server = int(Path(f"/proc/{run.pid}/stat").read_text().rpartition(")")[2].split()[1])
    assert server != os.getpid()
    return server


@forks
def test_a_server_that_is_killed_harms_no_run_and_a_new_one_serves(tmp_path: Path) -> None:
    run = begun(TrialProcess, tmp_path)
    server = server_of(run)
    os.kill(server, signal.SIGKILL)
    until(lambda: is_gone(server) or "Z" in Path(f"/proc/{server}/stat").read_text())
    other = TrialProcess([*LONG, "--out", str(tmp_path / "other")], log=tmp_path / "log")
    until(lambda: is_under_way(tmp_path / "other"))
    assert server_of(other) != server
    assert run.poll() is None
    run.terminate()
    assert run.wait(60) == 128 + signal.SIGTERM
    assert run_state(tmp_path / "run").state == "interrupted"
    os.kill(server_of(other), signal.SIGKILL)
    other.kill()
    assert other.wait(60) == -signal.SIGKILL


NO_FORK = """
import os, pathlib
real = os.fork
def fork():
    if pathlib.Path({refused!r}).exists():
        raise BlockingIOError(11, "Resource temporarily unavailable")
    return real()
os.fork = fork
"""


@forks
def test_a_process_that_cannot_be_forked_harms_no_other(tmp_path: Path) -> None:
    """In a process of its own, since a fork server is its process's."""
    refused = tmp_path / "refused"
    (tmp_path / "sitecustomize.py").write_text(NO_FORK.format(refused=str(refused)))
    script = tmp_path / "starter.py"
    script.write_text(f"""
import time
from pathlib import Path
from cartpole_dqn.studies.trial_process import TrialProcess
place, refused = Path({str(tmp_path)!r}), Path({str(refused)!r})
first = TrialProcess({[*LONG, "--out", str(tmp_path / "run")]!r}, log=place / "log")
while not (place / "run" / "metrics.jsonl").exists():
    time.sleep(0.05)
refused.touch()
try:
    TrialProcess(["--version"], log=place / "log")
except OSError as error:
    print(error.strerror)
refused.unlink()
print(TrialProcess(["--version"], log=place / "log").wait(60), first.poll())
first.terminate()
print(first.wait(60))
""")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", "")))}
    done = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout == "the process that forks trials ended, perhaps for lack of memory\n0 None\n143\n"
