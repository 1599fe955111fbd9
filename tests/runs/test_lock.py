from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import filelock
import pytest

from cartpole_dqn.errors import RunFolderError
from cartpole_dqn.files import open_regular
from cartpole_dqn.runs import lock as folder_lock
from cartpole_dqn.runs.lock import hold, is_held
from children import in_child, kill, ready, start


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
            pytest.raises(RunFolderError, match=rf"another run \(process {os.getpid()}\) is using .* stop it first\."),
            hold(tmp_path),
        ):
            pass
        with pytest.raises(RunFolderError, match="or choose another folder with --out"), hold(tmp_path, fresh=True):
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

    def leave() -> None:
        # The lock's descriptor is closed here, so its number goes to the next file, which must stay open.
        with open_regular(tmp_path / ".lock") as file:
            block.__exit__(None, None, None)
            file.read()

    assert in_child(leave) == 0
    assert is_held(tmp_path)
    block.__exit__(None, None, None)
    assert not is_held(tmp_path)


def test_a_lock_file_that_was_removed_locks_nobody_out_and_is_not_trusted(tmp_path: Path) -> None:
    with hold(tmp_path):
        (tmp_path / ".lock").unlink()
        with hold(tmp_path):
            assert is_held(tmp_path)


def test_short_looks_keep_no_run_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_lock, "_PATIENCE", 5.0)
    (tmp_path / ".lock").touch()
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            is_held(tmp_path)

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(20):
            with hold(tmp_path):
                pass
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_a_look_takes_another_look_for_no_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock that a look takes for an instant is let go again before the next try."""
    (tmp_path / ".lock").touch()
    with open_regular(tmp_path / ".lock") as other:
        assert filelock.lock_descriptor(other.fileno(), blocking=False)
        monkeypatch.setattr(time, "sleep", lambda seconds: filelock.unlock_descriptor(other.fileno()))
        assert not is_held(tmp_path)


def test_a_folder_that_may_only_be_read_is_looked_at(tmp_path: Path) -> None:
    def look() -> None:
        os.chdir(tmp_path)  # Folders above it may be closed to others.
        tmp_path.chmod(0o755)
        if os.geteuid() == 0:
            os.setuid(65534)  # Root may write everywhere.
        assert is_held(Path())

    with hold(tmp_path):
        (tmp_path / ".lock").chmod(0o444)
        assert in_child(look) == 0


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
