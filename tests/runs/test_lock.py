from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cartpole_dqn.errors import RunFolderError
from cartpole_dqn.files import open_regular
from cartpole_dqn.runs import lock as folder_lock
from cartpole_dqn.runs.lock import hold, is_held


def start(work: Callable[[], None]) -> int:
    """Start `work` in a fork and return its process, once it has said that it is ready."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            os.dup2(write, 250)
            work()
        os._exit(0)
    os.close(write)
    assert os.read(read, 1) == b"r"
    os.close(read)
    return child


def ready() -> None:
    os.write(250, b"r")


def kill(process: int) -> None:
    os.kill(process, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(process, 0)


def hold_and_wait(folder: Path) -> None:
    with hold(folder):
        ready()
        time.sleep(60)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_lock, "_PATIENCE", 0.05)


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    assert not is_held(tmp_path)
    with hold(tmp_path):
        assert is_held(tmp_path)
        assert (tmp_path / ".lock").read_text() == f"{os.getpid()}\n"
        with (
            pytest.raises(RunFolderError, match=rf"another run \(process {os.getpid()}\) is at work in"),
            hold(tmp_path),
        ):
            pass
        assert is_held(tmp_path)
    assert not is_held(tmp_path)
    with hold(tmp_path):
        pass


def test_another_process_is_kept_out_and_named_until_it_dies(tmp_path: Path) -> None:
    other = start(lambda: hold_and_wait(tmp_path))
    try:
        assert is_held(tmp_path)
        with pytest.raises(RunFolderError, match=f"process {other}"), hold(tmp_path):
            pass
    finally:
        kill(other)
    assert not is_held(tmp_path)
    with hold(tmp_path):
        assert (tmp_path / ".lock").read_text() == f"{os.getpid()}\n"


def test_an_orphan_of_a_killed_run_holds_nothing(tmp_path: Path) -> None:
    def run_with_worker() -> None:
        with hold(tmp_path):
            worker = os.fork()
            if worker == 0:
                (tmp_path / "worker").write_text(str(os.getpid()))
                ready()
                time.sleep(60)
                os._exit(0)
            time.sleep(60)

    run = start(run_with_worker)
    worker = int((tmp_path / "worker").read_text())
    try:
        assert is_held(tmp_path)
        kill(run)
        os.kill(worker, 0)
        assert not is_held(tmp_path)
        with hold(tmp_path):
            pass
    finally:
        kill(worker)


def test_a_child_that_leaves_the_block_frees_nothing(tmp_path: Path) -> None:
    block = hold(tmp_path)
    block.__enter__()
    child = os.fork()
    if child == 0:
        # The lock's descriptor is closed here, so its number goes to the next file, which must stay open.
        with contextlib.suppress(BaseException), open_regular(tmp_path / ".lock") as file:
            block.__exit__(None, None, None)
            file.read()
            os._exit(0)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert is_held(tmp_path)
    block.__exit__(None, None, None)
    assert not is_held(tmp_path)


def test_a_lock_file_that_was_removed_locks_nobody_out_and_is_not_trusted(tmp_path: Path) -> None:
    with hold(tmp_path):
        (tmp_path / ".lock").unlink()
        with hold(tmp_path):
            assert is_held(tmp_path)


def test_a_short_look_does_not_keep_a_run_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_lock, "_PATIENCE", 5.0)
    (tmp_path / ".lock").touch()
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            is_held(tmp_path)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for _ in range(20):
            with hold(tmp_path):
                pass
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("plant", ["link", "hard link", "pipe", "folder"])
def test_a_planted_lock_overwrites_nothing(tmp_path: Path, plant: str) -> None:
    victim, folder = tmp_path / "victim", tmp_path / "run"
    victim.write_text("precious")
    folder.mkdir()
    lock = folder / ".lock"
    if plant == "link":
        lock.symlink_to(victim)
    elif plant == "hard link":
        lock.hardlink_to(victim)
    elif plant == "pipe":
        os.mkfifo(lock)
    else:
        lock.mkdir()
    with pytest.raises(RunFolderError, match="cannot be locked"), hold(folder):
        pass
    assert victim.read_text() == "precious"


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="none cannot be locked: No such file"), hold(tmp_path / "none"):
        pass
    assert not is_held(tmp_path / "none")


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with hold(tmp_path), pytest.raises(RunFolderError), hold(tmp_path):
        pass
    assert len(list(Path("/proc/self/fd").iterdir())) == before
