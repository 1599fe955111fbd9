"""Trials in processes of their own: what a kill, a late end and the end of the sweep's own process come to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cartpole_dqn.contracts.sweep_engine import SweepEngineContext, Trial, TrialEnd
from cartpole_dqn.runs import lock as folder_lock
from cartpole_dqn.runs.folder import run_state
from cartpole_dqn.studies.local_engine import LocalEngine, LocalOptions
from cartpole_dqn.system import usable_cores
from waiting import is_under_way, until

CONFIG = """\
obs = "state"
steps = {steps}
[agent]
name = "dqn"
train_every = 1000000000
[agent.replay]
name = "uniform"
capacity = 1000
[evaluation]
every = 0
"""


@pytest.fixture
def engine(tmp_path: Path) -> Callable[..., LocalEngine]:
    engines: list[LocalEngine] = []

    def make(**options: float) -> LocalEngine:
        context = SweepEngineContext(folder=tmp_path, jobs=2, say=print)
        engines.append(LocalEngine(LocalOptions(**options), context))
        return engines[-1]

    yield make
    for one in engines:
        one.close()


def trial(folder: Path, name: str = "one", steps: int = 100_000_000) -> Trial:
    return Trial(name=name, config=CONFIG.format(steps=steps), folder=folder / "trials" / name)


def ended(engine: LocalEngine) -> TrialEnd:
    ends: list[TrialEnd] = []
    until(lambda: bool(ends.extend(engine.wait(1.0)) or ends))
    return ends[0]


@pytest.mark.process
def test_a_killed_process_is_a_failed_trial_that_can_go_on(engine: Callable[..., LocalEngine], tmp_path: Path) -> None:
    local, one = engine(), trial(tmp_path)
    local.start(one)
    until(lambda: is_under_way(one.folder))
    pid = int((one.folder / folder_lock.NAME).read_text())
    os.kill(pid, signal.SIGKILL)
    end = ended(local)
    assert end == TrialEnd(
        "one", "failed", "its process was ended by SIGKILL: the system does that when memory is short."
    )
    local.start(one)
    # The lock is taken before the process writes its number into it.
    until(lambda: (one.folder / folder_lock.NAME).read_text().strip() not in ("", str(pid)))
    os.kill(int((one.folder / folder_lock.NAME).read_text()), signal.SIGTERM)
    assert ended(local) == TrialEnd("one", "interrupted")


@pytest.mark.process
def test_who_ends_too_late_is_killed_and_interrupted(engine: Callable[..., LocalEngine], tmp_path: Path) -> None:
    local, one = engine(stop_seconds=0.001), trial(tmp_path)
    local.start(one)
    until(lambda: is_under_way(one.folder))
    os.kill(int((one.folder / folder_lock.NAME).read_text()), signal.SIGSTOP)
    local.stop()
    end = ended(local)
    assert (end.state, "did not end within 0.001 seconds and was killed" in end.error) == ("interrupted", True)
    assert run_state(one.folder).state == "killed"


@pytest.mark.process
def test_its_log_and_its_sentence(engine: Callable[..., LocalEngine], tmp_path: Path) -> None:
    local, one = engine(), trial(tmp_path, steps=0)
    local.start(one)
    end = ended(local)
    assert end.state == "failed"
    assert end.error.startswith("steps: expected greater than 0, got 0")
    assert end.error in " ".join((tmp_path / "local" / "one.log").read_text().split())
    assert not one.folder.exists()
    (tmp_path / "trials").rmdir()
    (tmp_path / "trials").touch()
    local.start(one)
    assert ended(local) == TrialEnd("one", "failed", "it could not be started: File exists.")


@pytest.mark.process
def test_as_many_at_once_as_there_are_cores(tmp_path: Path) -> None:
    context = SweepEngineContext(folder=tmp_path, jobs=None, say=print)
    assert LocalEngine(LocalOptions(), context).slots == usable_cores() >= 1
    if hasattr(os, "sched_getaffinity"):
        code = "from cartpole_dqn.system import usable_cores; print(usable_cores())"
        core = min(os.sched_getaffinity(0))
        pinned = f"import os; os.sched_setaffinity(0, [{core}]); {code}"
        assert (
            subprocess.run([sys.executable, "-c", pinned], capture_output=True, text=True, check=True).stdout == "1\n"
        )


@pytest.mark.parametrize(
    ("returncode", "output", "end"),
    [
        (0, "", TrialEnd("t", "done")),
        (143, "", TrialEnd("t", "interrupted")),
        (130, "", TrialEnd("t", "interrupted")),
        (-15, "", TrialEnd("t", "interrupted")),
        (-11, "x", TrialEnd("t", "failed", "its process was ended by SIGSEGV.")),
        (1, "step 3\nerror: it broke.\nMore.\nThe run's folder: x\nresume with: y\n", "it broke. More."),
        (1, "Traceback (most recent call last):\n  ...\nValueError: oh\n\n", "ValueError: oh"),
        (7, "", "its process ended with exit code 7."),
    ],
)
def test_what_an_exit_code_means(returncode: int, output: str, end: TrialEnd | str) -> None:
    expected = TrialEnd("t", "failed", end) if isinstance(end, str) else end
    assert TrialEnd.of_process("t", returncode, output) == expected
