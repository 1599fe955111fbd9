"""Environments in processes of their own: what they return, and how they end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import psutil
import pytest
from gymnasium import spaces

from cartpole_dqn.envs import workers
from cartpole_dqn.envs.guard import EnvError, EnvTimeoutError, Guard
from cartpole_dqn.envs.workers import WorkerEnvs

LONG = 60.0
"""Seconds: more than anything here takes on a busy machine, less than what nobody ends."""
Do = Callable[["Actor"], Any]


class Actor(gymnasium.Env[Any, Any]):
    """Action 1 does something unusual."""

    def __init__(self, do: Do | None = None) -> None:
        self.observation_space = spaces.Box(0, 1e6, (2,), np.float32)
        self.action_space = spaces.Discrete(2)
        self.do, self.count, self.seed = do, 0, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.count, self.seed = 0, seed or 0
        return self.obs(), {"pid": os.getpid()}

    def step(self, action: Any) -> Any:
        self.count += 1
        if action and self.do is not None:
            self.do(self)
        return self.obs(), float(self.count), self.count >= 4, False, {}

    def obs(self) -> Any:
        return np.array([self.seed, self.count], np.float32)


def worker_envs(makes: Sequence[Callable[[], Any]], **given: Any) -> WorkerEnvs:
    return WorkerEnvs([lambda make=make: Guard(make()) for make in makes], **given)


@pytest.fixture
def start() -> Iterator[Callable[..., WorkerEnvs]]:
    """Make workers, reset with the seeds 1, 2, ... They are gone once the test is over."""
    items: list[WorkerEnvs] = []

    def make(n: int = 2, do: Do | None = None, **given: Any) -> WorkerEnvs:
        envs = worker_envs([lambda: Actor(do)] * n, **given)
        items.append(envs)
        bound, envs._timeout = envs._timeout, LONG  # A start is slow on a busy machine.
        envs.reset(seed=1)
        envs._timeout = bound
        return envs

    yield make
    for envs in items:
        envs.close(at_once=True)
        assert not any(process.is_alive() for process in envs._processes)


def pids_of(envs: WorkerEnvs) -> list[int]:
    return [int(p.pid or 0) for p in envs._processes]


def is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def wait_for_end(pids: list[int]) -> None:
    began = time.monotonic()
    while any(map(is_alive, pids)):
        assert time.monotonic() - began < LONG, "a worker lingers"
        time.sleep(0.01)


Say = Callable[[str], None]


@contextlib.contextmanager
def forked(work: Callable[[Say], None]) -> Iterator[tuple[int, Callable[[], str]]]:
    """Let a fork, the leader of a group of its own, do `work`; yields its process and what returns its next line."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            work(lambda text: os.write(write, f"{text}\n".encode()) and None)
        os._exit(0)
    os.close(write)
    try:
        with os.fdopen(read, encoding="utf-8") as lines:
            yield child, lambda: lines.readline().rstrip()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(child, 0)


# What they return -----------------------------------------------------------------------------------------------------


def test_what_was_returned_stays_as_it_was(start: Callable[..., WorkerEnvs]) -> None:
    envs = start(2)
    first, infos = envs.reset(seed=[5, 6])
    assert infos["pid"].tolist() == pids_of(envs)
    assert os.getpid() not in infos["pid"]
    second, *_ = envs.step(np.array([0, 0]))
    assert first.tolist() == [[5, 0], [6, 0]]
    assert second.tolist() == [[5, 1], [6, 1]]
    again, _ = envs.reset(seed=[8, 9], options={"reset_mask": np.array([False, True])})
    assert again.tolist() == [[5, 1], [9, 0]]
    assert envs.reset(seed=3)[0].tolist() == [[3, 0], [4, 0]]


# What goes wrong ------------------------------------------------------------------------------------------------------


def raise_it(actor: Actor) -> None:
    raise ZeroDivisionError("of all things")


def sleep(actor: Actor) -> None:
    time.sleep(600)


FAULTS: dict[str, tuple[Do, str]] = {
    "raises": (raise_it, "raised ZeroDivisionError: of all things (test_workers.py, line"),
    "leaves": (lambda actor: sys.exit(2), "raised SystemExit: 2"),
    "exits": (lambda actor: os._exit(3), "is gone: its process ended with exit code 3."),
    "is killed": (lambda actor: os.kill(os.getpid(), signal.SIGKILL), "is gone: its process was ended by SIGKILL."),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_names_the_environment(case: str, start: Callable[..., WorkerEnvs]) -> None:
    do, words = FAULTS[case]
    envs = start(3, do)
    began = time.monotonic()
    with pytest.raises(EnvError) as caught:
        envs.step(np.array([0, 1, 0]))
    assert str(caught.value).startswith(f"environment 1 {words}")
    envs.close()
    assert time.monotonic() - began < LONG


def test_a_worker_killed_between_steps_is_noticed_at_the_next(start: Callable[..., WorkerEnvs]) -> None:
    envs = start(2)
    os.kill(pids_of(envs)[0], signal.SIGKILL)
    with pytest.raises(EnvError, match=r"environment 0 is gone: its process was ended by SIGKILL\."):
        envs.step(np.array([0, 0]))


def test_an_info_that_cannot_be_sent_is_a_fault(start: Callable[..., WorkerEnvs]) -> None:
    def step(self: Actor, action: Any) -> Any:
        return self.obs(), 1.0, False, False, {"lock": threading.Lock()}

    envs = start(1, lambda actor: setattr(actor, "step", step.__get__(actor)))
    envs.step(np.array([1]))
    with pytest.raises(EnvError, match="gave an info that cannot be sent to another process: TypeError"):
        envs.step(np.array([0]))


def test_after_a_fault_the_others_still_answer_in_step(start: Callable[..., WorkerEnvs]) -> None:
    envs = start(2, raise_it)
    for _ in range(3):
        with pytest.raises(EnvError, match="environment 1 raised"):
            envs.step(np.array([0, 1]))
    assert envs.reset(seed=[7, 8])[0].tolist() == [[7, 0], [8, 0]]


def test_one_that_cannot_be_made_or_differs_is_named() -> None:
    pid = os.getpid()

    def here_only() -> Any:
        if os.getpid() != pid:
            raise OSError("no display")
        return Actor()

    with pytest.raises(EnvError, match=r"environment 0 could not be made: OSError: no display \("):
        worker_envs([here_only])

    def other() -> Any:
        env = Actor()
        env.observation_space = spaces.Box(0, 1, (5,), np.float32)
        return env

    with pytest.raises(EnvError, match="environment 1 observes Box"):
        worker_envs([Actor, other])


def test_one_that_hangs_is_given_up_after_its_time(
    start: Callable[..., WorkerEnvs], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "GRACE", 600)
    envs = start(3, sleep, step_timeout=0.4)
    began = time.monotonic()
    with pytest.raises(EnvTimeoutError, match=r"environment 1 did not answer within 0\.4 seconds\."):
        envs.step(np.array([0, 1, 1]))
    assert 0.4 <= time.monotonic() - began < LONG
    began = time.monotonic()
    envs.close()
    assert time.monotonic() - began < LONG, "nobody waits for one that is known to hang"


def test_a_slow_one_is_not_given_up(start: Callable[..., WorkerEnvs]) -> None:
    envs = start(2, lambda actor: time.sleep(0.5), step_timeout=30.0)
    assert envs.step(np.array([1, 1]))[1].tolist() == [1.0, 1.0]


@pytest.mark.process  # which takes seconds, like those that start programs
def test_a_pause_of_the_whole_process_is_not_taken_for_a_hang() -> None:
    def play(say: Say) -> None:
        # In pieces: one long sleep ends at a time of day, however long the process was stopped meanwhile.
        envs = worker_envs([lambda: Actor(lambda actor: [time.sleep(0.1) for _ in range(8)])] * 2, step_timeout=3.0)
        envs.reset(seed=[1, 2])
        say("ready")
        say(str(envs.step(np.array([1, 1]))[1].tolist()))

    with forked(play) as (pid, hear):
        assert hear() == "ready"
        time.sleep(0.2)
        os.killpg(pid, signal.SIGSTOP)
        time.sleep(4.0)
        os.killpg(pid, signal.SIGCONT)
        assert hear() == "[1.0, 1.0]"


def test_hurry_bounds_what_is_under_way(start: Callable[..., WorkerEnvs], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "GRACE", 0.5)
    envs = start(2, sleep)
    threading.Timer(0.3, envs.hurry).start()
    began = time.monotonic()
    with pytest.raises(EnvTimeoutError, match=r"environment 0 did not answer within 0\.5 seconds\."):
        envs.step(np.array([1, 0]))
    assert time.monotonic() - began < LONG
    envs.close()


# How they end ---------------------------------------------------------------------------------------------------------


def test_idle_workers_leave_at_once(start: Callable[..., WorkerEnvs], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "GRACE", 600)
    first, second = start(4), start(2)
    began = time.monotonic()
    first.close()
    assert time.monotonic() - began < LONG, "the second set has the first one's pipes, and must not matter"
    assert [p.exitcode for p in first._processes] == [0] * 4
    second.reset(seed=[1, 2])


def test_a_busy_worker_is_killed_after_its_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clinging(Actor):
        def close(self) -> None:
            if os.getpid() != pid:
                time.sleep(600)

    pid = os.getpid()
    monkeypatch.setattr(workers, "GRACE", 2.0)
    envs = worker_envs([lambda: Actor(sleep), lambda: Actor(lambda a: time.sleep(0.3)), Clinging])
    envs.reset(seed=1)
    for lane in range(2):
        envs._send(lane, ("step", 1, None))
    began = time.monotonic()
    envs.close()
    assert 2.0 <= time.monotonic() - began < LONG
    assert [p.exitcode for p in envs._processes] == [-signal.SIGKILL, 0, -signal.SIGKILL]


def test_environments_are_closed_in_their_processes(tmp_path: Path) -> None:
    class Tidy(Actor):
        def close(self) -> None:
            (tmp_path / f"closed-{os.getpid()}").touch()
            if os.getpid() != pid:
                raise RuntimeError("ignored in a worker")

    pid = os.getpid()
    envs = worker_envs([Tidy] * 2)
    envs.close()
    for process in (pid, *pids_of(envs)):
        assert (tmp_path / f"closed-{process}").exists()
    assert [p.exitcode for p in envs._processes] == [0, 0]


def test_signals_to_workers_are_left_to_the_main_process(start: Callable[..., WorkerEnvs]) -> None:
    envs = start(2)
    for pid in pids_of(envs):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(pid, number)
    time.sleep(0.1)
    assert envs.step(np.array([0, 0]))[1].tolist() == [1.0, 1.0]
    envs.close()
    assert [p.exitcode for p in envs._processes] == [0, 0]


def test_programs_that_an_environment_starts_hear_signals_as_usual(start: Callable[..., WorkerEnvs]) -> None:
    def run(actor: Actor) -> None:
        program = subprocess.Popen(["sleep", "60"])
        program.send_signal(signal.SIGTERM)
        actor.count = -program.wait(10)

    envs = start(1, run)
    assert envs.step(np.array([1]))[0].tolist() == [[1.0, float(signal.SIGTERM)]]


def spin(actor: Actor) -> None:
    while True:
        sum(range(5_000_000))  # C code that keeps Python's other threads waiting


def start_and_be_busy(do: Do | None, say: Say) -> None:
    envs = worker_envs([lambda: Actor(do)] * 3)
    envs.reset(seed=[1, 2, 3])
    if do is not None:
        for lane in (0, 1):
            envs._send(lane, ("step", 1, None))
        time.sleep(0.2)
    say(" ".join(map(str, pids_of(envs))))
    time.sleep(60)


@pytest.mark.parametrize("do", [None, sleep, spin], ids=["idle", "asleep", "busy"])
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_no_worker_outlives_a_killed_main_process(do: Do | None, name: str) -> None:
    with forked(lambda say: start_and_be_busy(do, say)) as (pid, hear):
        workers_of_it = [int(word) for word in hear().split()]
        assert len(workers_of_it) == 3
        os.kill(pid, getattr(signal, name))
        os.waitpid(pid, 0)
        wait_for_end(workers_of_it)


@pytest.mark.parametrize("end", ["sys.exit(0)", "1 / 0"], ids=["left", "failed"])
@pytest.mark.process
def test_the_interpreter_leaves_without_waiting_for_workers_that_nobody_closed(end: str) -> None:
    script = (
        f"import sys, time; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_workers import *\n"
        "def say(text): print(text, flush=True)\n"
        "me, real = os.getpid(), time.sleep\n"
        "time.sleep = lambda seconds: real(min(seconds, 1.0) if os.getpid() == me else seconds)\n"
        f"start_and_be_busy(sleep, say)\n{end}\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    pids = [int(word) for word in process.stdout.readline().split()]
    assert len(pids) == 3
    process.wait(LONG)
    wait_for_end(pids)


def test_an_object_that_nobody_keeps_ends_its_workers() -> None:
    envs = worker_envs([Actor] * 2)
    pids = pids_of(envs)
    del envs
    wait_for_end(pids)


def test_no_descriptor_is_left_open() -> None:
    def count() -> int:
        return psutil.Process().num_fds()

    def once() -> None:
        envs = worker_envs([Actor] * 3)
        envs.reset(seed=[1, 2, 3])
        envs.close()

    once()
    before = count()
    for _ in range(3):
        once()
    assert count() <= before
