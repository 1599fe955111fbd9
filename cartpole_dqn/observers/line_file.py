"""`LineFile`: a file to which whole lines are appended, which survive a crash."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path

from cartpole_dqn.errors import CheckpointError
from cartpole_dqn.files import write_all

_BLOCK = 1 << 16
"""Bytes read at once. After a power cut, a file may end in megabytes of zeros."""


class LineFile:
    """An unbuffered file to which whole lines are appended."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: io.FileIO | None = None

    def open(self) -> None:
        """Open for appending, and drop a last line that a crash left incomplete."""
        self._file = io.FileIO(self._path, "a+")
        end = size = self.size()
        while end > 0:
            start = max(0, end - _BLOCK)
            self._file.seek(start)
            newline = self._file.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end != size:
            self._file.truncate(end)

    def write(self, line: str) -> None:
        """Append a line. On `OSError` the file is closed: later lines would follow an incomplete one."""
        if self._file is None:
            raise ValueError(f"{self._path} is closed: nothing can be written to it.")
        try:
            write_all(self._file.fileno(), line.encode())
        except OSError:
            self.close()
            raise

    def sync(self) -> int:
        """Sync the file to the disk and return its size in bytes."""
        if self._file is None:
            return self._path.stat().st_size if self._path.exists() else 0
        with contextlib.suppress(OSError):  # Some filesystems cannot sync.
            os.fsync(self._file.fileno())
        return self.size()

    def size(self) -> int:
        assert self._file is not None
        return os.fstat(self._file.fileno()).st_size

    def require(self, size: int) -> None:
        """Raise `CheckpointError` unless the file has at least `size` bytes."""
        actual = self._path.stat().st_size if self._path.exists() else 0
        if actual < size:
            state = f"has {actual:,} bytes" if self._path.exists() else "is missing"
            raise CheckpointError(
                f"{self._path} {state}, but had {size:,} bytes when the checkpoint was written, so its figures cannot "
                f"go on from there. Put the file back as it was."
            )

    def cut(self, size: int) -> None:
        if self._path.exists():
            os.truncate(self._path, size)

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()
