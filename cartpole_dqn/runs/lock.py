"""One run at a time in a folder.

* `hold`: a block inside which the folder is this process's.
* `is_held`: whether some process has it.
* `NAME`: the file that is locked; the number of the process stands in it.

The lock is the system's (`filelock`: `flock`, and `LockFileEx` on Windows). It ends with the process that holds it,
however that ends, and the file that stays behind means nothing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from cartpole_dqn.errors import RunFolderError
from cartpole_dqn.files import open_regular, reason

# filelock is imported where it is used: that takes a tenth of a second.

NAME = ".lock"

_PATIENCE = 0.5
"""Seconds to wait for a lock, since `is_held` takes it for an instant."""
_LOOKS = 3
"""Times that `is_held` tries: another one may be looking at the same instant."""


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Keep `folder` for this process inside the block; processes that it forks hold nothing.

    Raises:
        RunFolderError: another process, or another block, has it, or it cannot be written to.
    """
    from filelock import FileLock, Timeout

    path, owner = folder / NAME, os.getpid()
    lock = FileLock(
        path, timeout=_PATIENCE, poll_interval=0.02, thread_local=False, preserve_lock_file=True, on_acquired=_sign
    )
    try:
        if not folder.is_dir():  # which the library would make
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        lock.acquire()
    except Timeout:
        raise RunFolderError(
            f"another run{_signature(path)} is at work in {folder}. "
            f"Wait until it ends, or choose another folder with --out."
        ) from None
    except OSError as error:
        raise RunFolderError(f"{folder} cannot be locked: {reason(error)}. It must be writable.") from error
    try:
        yield
    finally:
        if os.getpid() == owner:  # The library closed it in processes that were forked.
            lock.release()


def is_held(folder: Path) -> bool:
    """Return whether some process holds `folder`."""
    from filelock import lock_descriptor

    try:
        descriptor = _open(folder / NAME)
    except OSError:
        return False
    try:
        for _ in range(_LOOKS):
            if lock_descriptor(descriptor, blocking=False):
                return False
            time.sleep(0.005)
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _sign(descriptor: int) -> None:
    """Write this process's number into the file that was locked, if it is the folder's own."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        raise OSError(errno.EINVAL, f"its {NAME} is not a file of its own")
    # The number is only told to others; a disk too full for it must not keep a run from its folder.
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())


def _signature(path: Path) -> str:
    # Windows lets nobody read what another process has locked.
    with contextlib.suppress(OSError), open_regular(path) as file:
        text = file.read(20).strip()
        return f" (process {int(text)})" if text.isdigit() else ""
    return ""


def _open(path: Path) -> int:
    flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        # Network filesystems let only those lock a file who may write to it.
        return os.open(path, os.O_RDWR | flags)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        return os.open(path, os.O_RDONLY | flags)
