"""A run folder's files as they stood at one moment, and how they are put in place elsewhere.

* `Snapshot`: the files of a folder, held open, so that what the run writes meanwhile changes nothing in them.
* `Receiver`: takes such files in pieces, and puts them in place together.
* `FileEntry`: one file: its name in the folder and its size.

`checkpoint/`, `best/` and `init/` are states: files with numbered names, and a `state.json` that names them and is
replaced at once. A snapshot holds the files of one and the same `state.json`, and a receiver puts it in place after
them: each moment shows a complete state on both sides. A name may not lead out of the folder, and no link is followed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cartpole_dqn import RunError

STATES = ("init", "best", "checkpoint")
"""The folders that hold a state, in the order in which they are put in place."""
PROGRESS = ("config.toml", "environment.json", "metrics.csv", "metrics.jsonl")
"""What tells how far a run is; the rest is wanted with its checkpoints."""

_COMMIT = "state.json"
_STATUS = "status.json"
_MOST_FILES = 10_000
_DEEPEST = 8
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)

Signature = tuple[int, int, int]
"""A file's inode, size and time of change: the same where its content is."""


@dataclass(frozen=True)
class FileEntry:
    """One file: its name in the folder, with slashes, and its size in bytes."""

    path: str
    size: int


class Snapshot:
    """Files of a run folder as they stood at one moment.

    Args:
        folder: the run's folder.
        known: signatures of the files that the receiver has; these are left out of `entries`.
        only: top-level files to take; None for all of the folder.

    Raises:
        RunError: a file cannot be read, or the run replaces its checkpoint faster than it can be opened.
    """

    def __init__(self, folder: Path, known: Mapping[str, Signature], only: Sequence[str] | None = None) -> None:
        self.entries: list[FileEntry] = []
        self.names: list[str] = []
        """Every file that is there, those that the receiver has included."""
        self.signatures: dict[str, Signature] = {}
        """Of all of them."""
        self._descriptors: list[int] = []
        try:
            # The checkpoint first: what it counts on was written before it, and what is opened later has it too.
            for state in () if only is not None else reversed(STATES):
                self._take(_open_state(folder, state), known)
            self._take(_open_others(folder, only), known)
        except OSError as error:
            self.close()
            raise RunError(f"{folder} cannot be read: {error.strerror or error}.") from error
        except BaseException:
            self.close()
            raise

    def read(self, index: int, offset: int, count: int) -> bytes:
        """Return `count` bytes of the entry `index` from `offset` on, fewer at its end."""
        rest = max(min(count, self.entries[index].size - offset), 0)
        os.lseek(self._descriptors[index], offset, os.SEEK_SET)
        pieces = []
        while rest and (piece := os.read(self._descriptors[index], rest)):
            pieces.append(piece)
            rest -= len(piece)
        return b"".join(pieces)

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files."""
        while self._descriptors:
            os.close(self._descriptors.pop())

    def _take(self, opened: Iterable[tuple[str, int]], known: Mapping[str, Signature]) -> None:
        for name, descriptor in opened:
            status = os.fstat(descriptor)
            signature = (status.st_ino, status.st_size, status.st_mtime_ns)
            if _is_name(name):
                self.names.append(name)
                self.signatures[name] = signature
            if known.get(name) == signature or not _is_name(name):
                os.close(descriptor)
            else:
                self.entries.append(FileEntry(name, status.st_size))
                self._descriptors.append(descriptor)


class Receiver:
    """Takes files in pieces and puts them in place together.

    Args:
        folder: where they belong; made where it is missing.
        staging: a folder on the same filesystem, this receiver's alone; what is in it is removed.
        entries: the files that come.
        names: every file that the sender has: other files of a state are removed afterwards.

    Raises:
        RunError: a name leads out of the folder, or is none.
    """

    def __init__(self, folder: Path, staging: Path, entries: Sequence[FileEntry], names: Sequence[str]) -> None:
        if len(names) > _MOST_FILES:
            raise RunError(f"{len(names):,} files came for {folder}, more than any run has.")
        self.folder = folder
        self.staging = staging
        self.entries = [FileEntry(checked_name(entry.path), entry.size) for entry in entries]
        self._names = {checked_name(name) for name in names}
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)

    def append(self, index: int, piece: bytes) -> None:
        """Take the next piece of the entry `index`."""
        with self._staged(index).open("ab") as file:
            file.write(piece)

    def install(self) -> None:
        """Put all in place, the `state.json` of each state after the files that it names.

        Raises:
            RunError: a file did not come whole, or a folder on its way is a link. Then nothing of it is in place.
        """
        for index, entry in enumerate(self.entries):
            self._seal(index, entry)
        self.folder.mkdir(parents=True, exist_ok=True)
        touched = set()
        for index in sorted(range(len(self.entries)), key=lambda i: _rank(self.entries[i].path)):
            target = self.folder / self.entries[index].path
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.name == _COMMIT:
                _sync(target.parent)
            self._staged(index).replace(target)
            touched.add(target.parent)
        for folder in touched:
            _sync(folder)
        for state in STATES:
            self._remove_superseded(state)
        shutil.rmtree(self.staging, ignore_errors=True)

    def _staged(self, index: int) -> Path:
        return self.staging / str(index)

    def _seal(self, index: int, entry: FileEntry) -> None:
        _require_no_link(self.folder, (self.folder / entry.path).parent)
        with self._staged(index).open("ab") as file:
            came = file.tell()
            os.fsync(file.fileno())
        if came != entry.size:
            raise RunError(f"{entry.path} was to have {entry.size:,} bytes, and {came:,} came.")

    def _remove_superseded(self, state: str) -> None:
        folder = self.folder / state
        if f"{state}/{_COMMIT}" not in self._names or not folder.is_dir():
            return
        for path in list(folder.glob("*.safetensors")):
            if f"{state}/{path.name}" not in self._names:
                path.unlink(missing_ok=True)


def checked_name(text: str) -> str:
    """Return `text` if it names a file inside a folder, else raise a `RunError`."""
    if not _is_name(text):
        raise RunError(f"{str(text)[:100]!r} came as the name of a file in a run folder, and is none.")
    return text


def _is_name(text: str) -> bool:
    parts = text.split("/") if isinstance(text, str) else []
    return 0 < len(parts) <= _DEEPEST and all(map(_is_part, parts))


def _is_part(part: str) -> bool:
    """Whether a name may stand between slashes: neither hidden nor a way up, on any system."""
    return 0 < len(part) < 250 and part[0] != "." and part.isprintable() and not set(part) & set('\\:*?"<>|')


# Sending --------------------------------------------------------------------------------------------------------------


def _open_state(folder: Path, state: str) -> list[tuple[str, int]]:
    """Open `state.json` and the files beside it while it stands; nothing where there is none yet."""
    for _ in range(100):
        opened: list[tuple[str, int]] = []
        try:
            before = _signature(folder / state / _COMMIT)
            if before is None:
                return []
            for path in sorted((folder / state).iterdir()):
                if (descriptor := _open(path)) is not None:
                    opened.append((f"{state}/{path.name}", descriptor))
            # Files are removed only once another `state.json` stands: while it is the same, all of them were there.
            if _signature(folder / state / _COMMIT) == before:
                return opened
        except FileNotFoundError:
            pass
        except BaseException:
            _close(opened)
            raise
        _close(opened)
    raise RunError(f"{folder / state} is replaced faster than it can be read.")


def _open_others(folder: Path, only: Sequence[str] | None) -> Iterator[tuple[str, int]]:
    for root, folders, names in os.walk(folder):
        inside = PurePosixPath(Path(root).relative_to(folder).as_posix())
        folders[:] = sorted(n for n in folders if not n.startswith(".") and (inside.name or n not in STATES))
        if only is not None:
            folders.clear()
        for name in sorted(names):
            if only is not None and name not in only:
                continue
            with contextlib.suppress(FileNotFoundError):
                descriptor = _open(Path(root) / name)
                if descriptor is not None:
                    yield str(inside / name), descriptor


def _open(path: Path) -> int | None:
    """Return a descriptor of a regular file; None for anything else."""
    if path.is_symlink():
        return None
    descriptor = os.open(path, os.O_RDONLY | _NO_FOLLOW)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    return None


def _signature(path: Path) -> Signature | None:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _close(opened: Iterable[tuple[str, int]]) -> None:
    for _, descriptor in opened:
        os.close(descriptor)


# Receiving ------------------------------------------------------------------------------------------------------------


def _rank(path: str) -> tuple[int, bool]:
    """Return where a file comes in order: what is counted on before what counts on it."""
    parts = path.split("/")
    if len(parts) == 2 and parts[0] in STATES:
        return (0 if parts[0] == "init" else 2 + STATES.index(parts[0])), parts[1] == _COMMIT
    return (9 if path == _STATUS else 1), False


def _require_no_link(folder: Path, parent: Path) -> None:
    while parent != folder:
        if parent.is_symlink():
            raise RunError(f"{parent} is a symbolic link, and a run's files are not written through one.")
        parent = parent.parent


def _sync(folder: Path) -> None:
    """Make the names in `folder` last, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
