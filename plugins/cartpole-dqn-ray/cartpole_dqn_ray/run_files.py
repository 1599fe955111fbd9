"""A run folder's files as they stood at one moment, and how they are put in place elsewhere.

* `read_run`: reads a folder while a run writes to it. `write_run`: puts such files in place together.

`checkpoint/`, `best/` and `init/` are states: files with numbered names, and a `state.json` that names them and is
replaced at once. What is read belongs to one and the same `state.json`, which is written last: each moment shows a
complete state on both sides. A name may not lead out of the folder, and no link is followed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from cartpole_dqn import RunError

STATES = ("init", "best", "checkpoint")
"""The folders that hold a state, in the order in which they are put in place."""
PROGRESS = ("config.toml", "environment.json", "metrics.csv", "metrics.jsonl")
"""What tells how far a run is; the rest is wanted with its checkpoints."""

_COMMIT = "state.json"
_MOST_FILES = 10_000
_DEEPEST = 8
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)

Opened = list[tuple[str, BinaryIO]]
"""Files and their names in the folder, with slashes."""


def read_run(folder: Path, *, only: Sequence[str] | None = None, put: Callable[[bytes], Any] = bytes) -> dict[str, Any]:
    """Return the files of a run folder by name, with slashes: what `put` makes of each one's bytes.

    Args:
        folder: the run's folder.
        only: top-level files to read; None for all of the folder.
        put: is given one file after another.

    Raises:
        RunError: a file cannot be read, or the run replaces its checkpoint faster than it can be opened.
    """
    with contextlib.ExitStack() as stack:
        try:
            # The checkpoint first: what it counts on was written before it, and what is opened later has it too.
            states = [_open_state(folder, state, stack) for state in reversed(STATES)] if only is None else []
            opened = [*(each for state in states for each in state), *_open_others(folder, only, stack)]
            return {name: put(file.read(os.fstat(file.fileno()).st_size)) for name, file in opened if _is_name(name)}
        except OSError as error:
            raise RunError(f"{folder} cannot be read: {error.strerror or error}.") from error


def write_run(folder: Path, staging: Path, files: Mapping[str, Any], get: Callable[[Any], bytes] = bytes) -> None:
    """Put files in place together, the `state.json` of each state after the files that it names.

    Args:
        folder: where they belong; made where it is missing.
        staging: a folder on the same filesystem, for this call alone; what is in it is removed.
        files: by name, as `read_run` returns them. Other tensors of a state that is among them are removed.
        get: returns a file's bytes.

    Raises:
        RunError: a name is none, or a folder on the way is a link. Then nothing of it is in place.
    """
    for name in files:
        if not _is_name(name):
            raise RunError(f"{str(name)[:100]!r} came as the name of a file in a run folder, and is none.")
    if len(files) > _MOST_FILES:
        raise RunError(f"{len(files):,} files came for {folder}, more than any run has.")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    for index, (name, each) in enumerate(files.items()):
        _require_no_link(folder, (folder / name).parent)
        with (staging / str(index)).open("wb") as file:
            file.write(get(each))
            file.flush()
            os.fsync(file.fileno())
    folder.mkdir(parents=True, exist_ok=True)
    for index, name in sorted(enumerate(files), key=lambda pair: _rank(pair[1])):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.name == _COMMIT:
            _sync(target.parent)
        (staging / str(index)).replace(target)
    for parent in {(folder / name).parent for name in files}:
        _sync(parent)
    for state in STATES:
        for path in list((folder / state).glob("*.safetensors")) if f"{state}/{_COMMIT}" in files else ():
            if f"{state}/{path.name}" not in files:
                path.unlink(missing_ok=True)
    shutil.rmtree(staging, ignore_errors=True)


def _is_name(text: str) -> bool:
    parts = text.split("/") if isinstance(text, str) else []
    return 0 < len(parts) <= _DEEPEST and all(map(_is_part, parts))


def _is_part(part: str) -> bool:
    """Whether a name may stand between slashes: neither hidden nor a way up, on any system."""
    return 0 < len(part) < 250 and part[0] != "." and part.isprintable() and not set(part) & set('\\:*?"<>|')


def _open_state(folder: Path, state: str, stack: contextlib.ExitStack) -> Opened:
    """Open `state.json` and the files beside it while it stands; nothing where there is none yet."""
    for _ in range(100):
        with contextlib.ExitStack() as attempt, contextlib.suppress(FileNotFoundError):
            if not (folder / state / _COMMIT).exists():
                return []
            before = (folder / state / _COMMIT).lstat()
            paths = sorted((folder / state).iterdir())
            opened = [(f"{state}/{path.name}", file) for path in paths for file in _open(path, attempt)]
            # Files are removed only once another `state.json` stands: while it is the same, all of them were there.
            after = (folder / state / _COMMIT).lstat()
            if (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns):
                stack.push(attempt.pop_all())
                return opened
    raise RunError(f"{folder / state} is replaced faster than it can be read.")


def _open_others(folder: Path, only: Sequence[str] | None, stack: contextlib.ExitStack) -> Opened:
    opened = []
    for root, folders, names in os.walk(folder):
        inside = PurePosixPath(Path(root).relative_to(folder).as_posix())
        folders[:] = [n for n in folders if only is None and n[0] != "." and (inside.name or n not in STATES)]
        for name in sorted(names if only is None else set(names) & set(only)):
            with contextlib.suppress(FileNotFoundError):
                opened += [(str(inside / name), file) for file in _open(Path(root) / name, stack)]
    return opened


def _open(path: Path, stack: contextlib.ExitStack) -> Iterator[BinaryIO]:
    """Open a regular file; nothing is opened of another kind."""
    if not path.is_symlink():
        file = stack.enter_context(os.fdopen(os.open(path, os.O_RDONLY | _NO_FOLLOW), "rb"))
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            yield file


def _rank(path: str) -> tuple[int, bool]:
    """Return where a file comes in order: what is counted on before what counts on it."""
    parts = path.split("/")
    if len(parts) == 2 and parts[0] in STATES:
        return (0 if parts[0] == "init" else 2 + STATES.index(parts[0])), parts[1] == _COMMIT
    return (9 if path == "status.json" else 1), False


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
