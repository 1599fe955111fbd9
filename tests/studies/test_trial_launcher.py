"""Processes that end with their starter's, forked off a server or started anew."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import forked
from cartpole_dqn.runs import lock as folder_lock
from cartpole_dqn.runs.folder import run_state
from cartpole_dqn.studies import trial_launcher
from cartpole_dqn.studies.trial_launcher import TrialLauncher, TrialProcess

pytestmark = [pytest.mark.process, pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")]
LONG = ["run", "--obs", "state", "--steps", "100000000", "--plain", "--set", "agent.learning_starts=100000000"]

Make = Callable[..., TrialLauncher]


@pytest.fixture(params=[True, False], ids=["forked", "spawned"])
def make(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    if request.param and sys.platform != "linux":
        pytest.skip("forks are for Linux")
    monkeypatch.setattr(trial_launcher, "_FORKS", request.param)
    made: list[TrialLauncher] = []

    def launcher(stop_seconds: float = 60.0, **arguments: object) -> TrialLauncher:
        made.append(TrialLauncher(stop_seconds=stop_seconds, **arguments))
        return made[-1]

    yield launcher
    for one in made:
        one.close()


def begin(launcher: TrialLauncher, place: Path) -> tuple[TrialProcess, int]:
    """Start a long run in `place`/run, and return it and its process's number once it is under way."""
    run = launcher.start([*LONG, "--out", str(place / "run")], log=place / "log")
    until(lambda: is_under_way(place / "run"))
    return run, int((place / "run" / folder_lock.NAME).read_text())


def is_under_way(run: Path) -> bool:
    return (run / "metrics.jsonl").exists() and (run / "metrics.jsonl").stat().st_size > 2000


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_it_is_the_command_line(make: Make, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise SystemExit('imported from the current folder')")
    launcher = make(current=False, environment={**os.environ, "NO_COLOR": "1"})
    codes = []
    for name, arguments in (("one", ["resume", "nowhere"]), ("two", ["--version"]), ("three", ["run", "--nonsense"])):
        log = tmp_path / name
        log.write_text("before\n")
        codes.append(launcher.start(arguments, log=log, folder=tmp_path).wait(60))
    assert codes == [2, 0, 2]
    assert (tmp_path / "one").read_text().startswith("before\ncartpole-dqn: 'nowhere' is no run")
    assert (tmp_path / "two").read_text() == "before\n"
    assert "--nonsense" in (tmp_path / "three").read_text()


def test_equal_runs_give_equal_numbers(make: Make, tmp_path: Path) -> None:
    """Whatever was drawn in one, the next begins anew; and it is what the same command by hand is."""
    command = ["run", "--obs", "pixels", "--steps", "150", "--plain"]
    command += ["--set", "agent.learning_starts=64", "--set", "evaluation.every=0"]
    launcher = make()
    runs = [launcher.start([*command, "--out", str(tmp_path / name)], log=tmp_path / "log") for name in "ab"]
    assert [run.wait(120) for run in runs] == [0, 0], (tmp_path / "log").read_text()
    by_hand = [sys.executable, "-m", "cartpole_dqn", *command, "--out", str(tmp_path / "c")]
    forked.run(by_hand, check=True, capture_output=True)
    weights = [(tmp_path / name / "checkpoint" / "run-1.safetensors").read_bytes() for name in "abc"]
    assert weights[0] == weights[1] == weights[2]


def test_it_is_asked_to_end_and_it_is_killed(make: Make, tmp_path: Path) -> None:
    launcher = make()
    (tmp_path / "1").mkdir()
    asked, _ = begin(launcher, tmp_path / "1")
    assert asked.poll() is None
    assert asked.wait(0.01) is None
    asked.terminate()
    assert asked.wait(60) == 128 + signal.SIGTERM
    assert run_state(tmp_path / "1" / "run").state == "interrupted"
    asked.kill()  # nobody's any more
    (tmp_path / "2").mkdir()
    killed, pid = begin(launcher, tmp_path / "2")
    killed.kill()
    assert killed.wait(60) == -signal.SIGKILL
    assert is_gone(pid)


def test_who_is_killed_before_it_began_never_begins(make: Make, tmp_path: Path) -> None:
    run = make().start([*LONG, "--out", str(tmp_path / "run")], log=tmp_path / "log")
    run.kill()
    assert run.wait(60) == -signal.SIGKILL
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("stop_seconds", [60.0, 0.0])
def test_it_ends_with_its_starter(make: Make, tmp_path: Path, stop_seconds: float) -> None:
    code = f"""
import time
from pathlib import Path
from cartpole_dqn.studies import trial_launcher
trial_launcher._FORKS = {trial_launcher._FORKS}
launcher = trial_launcher.TrialLauncher(stop_seconds={stop_seconds})
launcher.start({[*LONG, "--out", str(tmp_path / "run")]!r}, log=Path({str(tmp_path / "log")!r}))
time.sleep(600)
"""
    starter = subprocess.Popen([sys.executable, "-c", code])
    try:
        until(lambda: is_under_way(tmp_path / "run"))
        pid = int((tmp_path / "run" / folder_lock.NAME).read_text())
    finally:
        starter.kill()
        starter.wait()
    until(lambda: is_gone(pid), 30)
    assert run_state(tmp_path / "run").state == ("interrupted" if stop_seconds else "killed")


def test_a_log_that_cannot_be_written_is_said(make: Make, tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        make().start(["--version"], log=tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="forks are for Linux")
def test_where_the_server_is_killed_its_runs_end_in_order_and_a_new_one_serves(tmp_path: Path) -> None:
    launcher = TrialLauncher(stop_seconds=60)
    run, pid = begin(launcher, tmp_path)
    server = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    assert server != os.getpid()
    os.kill(server, signal.SIGKILL)
    assert run.wait(60) == -signal.SIGTERM
    assert run_state(tmp_path / "run").state == "interrupted"
    again = launcher.start(["resume", str(tmp_path / "run"), "--steps", "1000000000", "--plain"], log=tmp_path / "log")
    until(lambda: run_state(tmp_path / "run").state == "running")
    again.terminate()
    assert again.wait(60) == 128 + signal.SIGTERM
    launcher.close()


@pytest.mark.skipif(sys.platform != "linux", reason="forks are for Linux")
def test_a_server_that_cannot_start_is_an_exit_code(tmp_path: Path) -> None:
    (tmp_path / "json").mkdir()
    (tmp_path / "json" / "__init__.py").write_text("raise SystemExit('no json here')")
    launcher = TrialLauncher(stop_seconds=1, environment={**os.environ, "PYTHONPATH": str(tmp_path)})
    runs = [launcher.start(["--version"], log=tmp_path / "log") for _ in range(2)]
    assert [run.wait(60) for run in runs] == [1, 1]
    assert "no json here" in (tmp_path / "log").read_text()
    launcher.close()


@pytest.mark.skipif(sys.platform != "linux", reason="forks are for Linux")
def test_a_process_that_cannot_be_forked_harms_no_other(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os\nforks = iter([False, True])\nreal = os.fork\n"
        "def fork():\n    if next(forks):\n        raise BlockingIOError(11, 'Resource temporarily unavailable')\n"
        "    return real()\nos.fork = fork\n"
    )
    launcher = TrialLauncher(stop_seconds=60, environment={**os.environ, "PYTHONPATH": str(tmp_path)})
    first, pid = begin(launcher, tmp_path)
    second = launcher.start(["--version"], log=tmp_path / "second")
    assert second.wait(60) == 1
    assert (tmp_path / "second").read_text() == (
        "cartpole-dqn: its process could not be started: Resource temporarily unavailable.\n"
    )
    assert first.poll() is None
    assert not is_gone(pid)
    first.kill()
    assert first.wait(60) == -signal.SIGKILL
    launcher.close()
