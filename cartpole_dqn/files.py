"""Files that a kill, a crash or a full disk leaves whole: either as they were, or as they should be.

* `replace_file`: write beside, sync, rename; then sync the folder that holds the name.
* `beside`: where it writes.
* `create_file`, `write_all`: a new file and its bytes, for those that sync and rename by themselves.
* `sync_folder`: make names in a folder last.
* `open_regular`: open for reading what is truly a file: no link, no pipe, no device.

All raise `OSError`; whoever knows what the file is for makes a sentence of it, with `reason`.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import time
from pathlib import Path

# Windows has neither flag; there, links need a privilege that an ordinary program lacks.
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_NO_BLOCK = getattr(os, "O_NONBLOCK", 0)
_BINARY = getattr(os, "O_BINARY", 0)
_PATIENCE = 2.0 if os.name == "nt" else 0.0
"""Seconds to try a rename: Windows refuses it while a reader has the file open."""


def replace_file(path: Path, data: bytes) -> None:
    """Make `data` the content of `path`: a kill at any moment leaves the old content or the new. One writer at a time.

    A link at `path` is replaced, not followed.
    """
    new = beside(path)
    with contextlib.suppress(FileNotFoundError):
        new.unlink()
    try:
        descriptor = create_file(new)
        try:
            write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        _rename(new, path)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink()
        raise
    sync_folder(path.parent)


def _rename(new: Path, path: Path) -> None:
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            return os.replace(new, path)  # noqa: PTH105 (tests stop the process at every call to `os`)
        except PermissionError:
            if time.monotonic() >= end:
                raise
            time.sleep(0.01)


def beside(path: Path) -> Path:
    """Return where `replace_file` writes what will be at `path`; a kill may leave it behind, and it means nothing."""
    return path.with_name(f".{path.name}.new")


def create_file(path: Path) -> int:
    """Return a descriptor for writing the new file `path`; `FileExistsError` where anything stands there."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW | _BINARY, 0o666)


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of `data`, which must be one-dimensional bytes."""
    rest = memoryview(data)
    while len(rest):
        rest = rest[os.write(descriptor, rest) :]


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` last, where the system knows how to."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network and FUSE filesystems cannot sync a folder; the files themselves are synced.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def open_regular(path: Path) -> io.FileIO:
    """Open `path` for reading, unbuffered, if it is a regular file; a link, pipe or device is an `OSError`."""
    if path.is_symlink():
        raise OSError(errno.ELOOP, "it is a symbolic link, and links are not followed here")
    descriptor = os.open(path, os.O_RDONLY | _NO_FOLLOW | _NO_BLOCK | _BINARY)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        return io.FileIO(descriptor)
    except BaseException:
        os.close(descriptor)
        raise


def reason(error: OSError) -> str:
    """Return what the system said, without the number and the path."""
    return (error.strerror or str(error) or type(error).__name__).rstrip(".")
