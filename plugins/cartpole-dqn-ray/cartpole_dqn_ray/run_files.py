"""The files of a run folder on their way between machines.

* `stamps`: what tells whether a file has changed. `read_run`: reads those that did, while a run writes to the folder.
* `write_run`: writes them into another folder.

`checkpoint/`, `best/` and `init/` hold a state each: files that are never changed, and a `state.json` that names them.
Files that are read together belong to one `state.json`: if it was replaced while they were looked for, all are looked
for again. It is written after them. So a complete state is in both folders at any time.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cartpole_dqn import RunError, replace_file

_LAST = ("init/state.json", "best/state.json", "checkpoint/state.json", "status.json")
"""Files that are written after those that they refer to, in this order."""

Stamps = Mapping[str, tuple[int, int, int]]
"""Inode, time of change and bytes of each file, by its name in the folder, with slashes."""


def stamps(folder: Path) -> Stamps:
    """Return the stamps of a folder's files. Links and hidden files are left out. A file may vanish: `OSError`."""
    files = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        if path.is_file() and not path.is_symlink() and not any(part.startswith(".") for part in name.parts):
            status = path.stat()
            files[name.as_posix()] = status.st_ino, status.st_mtime_ns, status.st_size
    return files


def read_run(folder: Path, known: Stamps, put: Callable[[bytes], Any]) -> tuple[dict[str, Any], Stamps]:
    """Return what changed since the stamps were `known`, and the new stamps.

    Args:
        folder: the run's folder; it may be missing.
        known: stamps of files that are not read again.
        put: is given the bytes of one file after another, and returns what stands for them.

    Returns:
        What `put` returned for each new or changed file, by name, and None for each one that is gone; the stamps.

    Raises:
        OSError: a file cannot be read.
    """
    last = [folder / name for name in _LAST]
    while True:
        with contextlib.ExitStack() as opened, contextlib.suppress(FileNotFoundError):
            # As long as these are open, no other file gets their inodes.
            held = {path: opened.enter_context(path.open("rb")) for path in last if path.is_file()}
            current = stamps(folder)
            changed = [name for name, stamp in current.items() if known.get(name) != stamp]
            files = {name: opened.enter_context((folder / name).open("rb")) for name in changed}
            before = {path: os.fstat(file.fileno()).st_ino for path, file in held.items()}
            if before == {path: path.stat().st_ino for path in last if path.is_file()}:
                gone = dict.fromkeys(known.keys() - current.keys())
                return {name: put(file.read()) for name, file in files.items()} | gone, current


def write_run(folder: Path, files: Mapping[str, Any], get: Callable[[Any], bytes]) -> None:
    """Bring a folder to what `read_run` returned. Each file is replaced atomically.

    Args:
        folder: made if there are files for it.
        files: as `read_run` returned them.
        get: returns a file's bytes.

    Raises:
        RunError: a name leads out of the folder, by itself or through a link.
        OSError: a file cannot be written.
    """
    inside = folder.resolve()
    # What is gone comes last, since the `state.json` before may name it.
    for name in sorted(files, key=lambda name: (files[name] is None, _LAST.index(name) if name in _LAST else -1)):
        path = folder / name
        if inside not in path.resolve().parents:
            raise RunError(f"the file {name!r} is not inside {folder}, and is not written.")
        if files[name] is None:
            path.unlink(missing_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, get(files[name]))
