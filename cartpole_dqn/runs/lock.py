"""One run at a time in a folder: `hold` it, or ask whether it `is_held` and who its `owner` is.

The lock is the system's (`filelock`: `flock`, or `LockFileEx` on Windows). It ends with the process that holds it,
however that ends. The file `NAME` stays behind and means nothing.
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

# filelock is imported where it is used, because its import takes a tenth of a second.

NAME = ".lock"

_PATIENCE = 0.5
"""Seconds to wait for a lock, since `is_held` holds it for an instant."""
_LOOKS = 3
"""Tries of `is_held`, since another `is_held` may hold the lock at the same instant."""


@contextlib.contextmanager
def hold(folder: Path, *, fresh: bool = False) -> Iterator[None]:
    """Hold `folder` for this process inside the block. Forked processes do not hold it.

    Another folder would do as well if it is `fresh`: the error says so.

    Raises:
        RunFolderError: another process or block holds it, or it cannot be written to.
    """
    from filelock import FileLock, Timeout

    path, process = folder / NAME, os.getpid()
    lock = FileLock(
        path, timeout=_PATIENCE, poll_interval=0.02, thread_local=False, preserve_lock_file=True, on_acquired=_sign
    )
    try:
        if not folder.is_dir():  # filelock would create it
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        lock.acquire()
    except Timeout:
        signature = f" (process {number})" if (number := owner(folder)) else ""
        otherwise = "choose another folder with --out" if fresh else "stop it first"
        raise RunFolderError(f"another run{signature} is using {folder}. Wait until it ends, or {otherwise}.") from None
    except OSError as error:
        raise RunFolderError(f"{folder} cannot be locked: {reason(error)}. It must be writable.") from error
    try:
        yield
    finally:
        if os.getpid() == process:  # filelock closed it in forked processes.
            lock.release()


def owner(folder: Path) -> int | None:
    """Return the number of the process that holds `folder` or held it last; None if it cannot be read."""
    # Windows does not allow reading a file that another process has locked.
    with contextlib.suppress(OSError), open_regular(folder / NAME) as file:
        text = file.read(20).strip()
        return int(text) if text.isdigit() else None
    return None


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
    """Write the process number into the lock file, unless that is a link to another file."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        raise OSError(errno.EINVAL, f"its {NAME} is not a file of its own")
    # The number is only for messages, so a full disk must not prevent the lock.
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())


def _open(path: Path) -> int:
    flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        # Network filesystems require write access for locking.
        return os.open(path, os.O_RDWR | flags)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        return os.open(path, os.O_RDONLY | flags)
