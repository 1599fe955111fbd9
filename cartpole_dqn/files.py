"""Write files atomically: a kill, a crash or a full disk leaves the old content or the new.

* `replace_file`: writes to `beside(path)`, syncs, renames, and syncs the folder.
* `create_file`, `write_all`, `sync_folder`: its steps.
* `open_regular`: opens a regular file for reading, but no link, pipe or device.
* `reason`: the text of an `OSError`. Every function raises `OSError`.
* `writing`: a block that writes a file which the user named, with a sentence for the error. `require_suffix`: checks
  its name.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from cartpole_dqn.errors import UserError, bad

# Windows has neither flag; there, links need a privilege that an ordinary program lacks.
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_NO_BLOCK = getattr(os, "O_NONBLOCK", 0)
_BINARY = getattr(os, "O_BINARY", 0)
_PATIENCE = 2.0 if os.name == "nt" else 0.0
"""Seconds to retry a rename. On Windows it fails while a reader has the file open."""


def replace_file(path: Path, data: bytes) -> None:
    """Replace the content of `path` atomically. A link at `path` is replaced, not followed. One writer at a time."""
    temporary = beside(path)
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    try:
        descriptor = create_file(temporary)
        try:
            write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        _rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def _rename(temporary: Path, path: Path) -> None:
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            return os.replace(temporary, path)  # noqa: PTH105 (tests stop the process at every call to `os`)
        except PermissionError:
            if time.monotonic() >= end:
                raise
            time.sleep(0.01)


def beside(path: Path) -> Path:
    """Return the temporary file of `replace_file`. A kill may leave it behind; ignore it."""
    return path.with_name(f".{path.name}.new")


def create_file(path: Path) -> int:
    """Create a file and return a descriptor to write to. Raises `FileExistsError` if `path` exists."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW | _BINARY, 0o666)


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of `data`, which must be one-dimensional bytes."""
    rest = memoryview(data)
    while len(rest):
        rest = rest[os.write(descriptor, rest) :]


def sync_folder(folder: Path) -> None:
    """Sync the names in `folder` to disk, if the system can."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network and FUSE filesystems cannot sync a folder. Its files are synced all the same.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def open_regular(path: Path) -> io.FileIO:
    """Open a regular file for reading, unbuffered. Raises `OSError` for a link, pipe or device."""
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


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise a `UserError` that `path` cannot be written if the block raises an `OSError`."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path} cannot be written: {reason(error)}.") from None


def require_suffix(path: Path, what: str, suffixes: Sequence[str]) -> None:
    """Raise a `UserError` unless the name of `what` ("a picture") ends in one of the `suffixes`."""
    if path.suffix.lower() not in suffixes:
        raise UserError(f"{bad(path)}: expected {what}'s name, ending in {', '.join(suffixes[:-1])} or {suffixes[-1]}.")


def reason(error: OSError) -> str:
    """Return the system's message without error number and path."""
    return (error.strerror or str(error) or type(error).__name__).rstrip(".")
