"""One run at a time in a folder.

* `hold`: a block inside which the folder is this process's.
* `is_held`: whether some process has it.
* `NAME`: the file that is locked; the number of the process stands in it.

The lock is the system's (`flock`): it ends with the process that holds it, however that ends, and the file that stays
behind means nothing. Windows has no such lock; there, two runs are not kept apart.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from cartpole_dqn.errors import RunFolderError
from cartpole_dqn.files import open_regular, reason

NAME = ".lock"

_PATIENCE = 0.5
"""Seconds to wait for a lock, since `is_held` takes it for an instant."""
_held: set[int] = set()
"""Descriptors of the locks that this process holds."""


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Keep `folder` for this process inside the block; processes that it forks hold nothing.

    Raises:
        RunFolderError: another process, or another block, has it, or it cannot be written to.
    """
    descriptor = _acquire(folder)
    _held.add(descriptor)
    try:
        yield
    finally:
        if descriptor in _held:
            _held.remove(descriptor)
            os.close(descriptor)


def is_held(folder: Path) -> bool:
    """Return whether some process holds `folder`."""
    try:
        with open_regular(folder / NAME) as file:
            _flock(file.fileno(), exclusive=False)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _acquire(folder: Path) -> int:
    """Return a descriptor that holds the folder's lock for as long as it is open."""
    path = folder / NAME
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
            kept = False
            try:
                _flock(descriptor, exclusive=True)
                if _is_ours(descriptor, path):
                    _sign(descriptor)
                    kept = True
                    return descriptor
            except BlockingIOError:
                if time.monotonic() > end:
                    raise RunFolderError(
                        f"another run{_signature(descriptor)} is at work in {folder}. "
                        f"Wait until it ends, or choose another folder with --out."
                    ) from None
                time.sleep(0.02)
            finally:
                if not kept:
                    os.close(descriptor)
        except OSError as error:
            raise RunFolderError(f"{folder} cannot be locked: {reason(error)}. It must be writable.") from error


def _is_ours(descriptor: int, path: Path) -> bool:
    """Return whether `path` is still the file that was locked: its holder before may have removed it."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        raise OSError(errno.EINVAL, f"its {NAME} is not a file of its own")
    return os.path.lexists(path) and os.path.samestat(status, path.lstat())


def _sign(descriptor: int) -> None:
    # The number is only told to others; a disk too full for it must not keep a run from its folder.
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())


def _signature(descriptor: int) -> str:
    text = os.read(descriptor, 20).strip()
    return f" (process {int(text)})" if text.isdigit() else ""


def _flock(descriptor: int, *, exclusive: bool) -> None:
    if sys.platform != "win32":
        import fcntl

        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)


def _let_go() -> None:
    """Close the locks in a forked child: an orphan must not keep a dead run's folder locked."""
    while _held:
        os.close(_held.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
