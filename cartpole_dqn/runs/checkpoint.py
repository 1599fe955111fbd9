"""A run's whole state in a folder: safe to be killed while it is written, safe to load from a stranger.

* `write_state`: named states -> the folder; what was there before stays whole until the new one is.
* `read_state`: the folder -> the states, every byte of them verified.
* `has_state`: whether anything was ever written there.
* `taking_over`: a block in which states are taken over; whatever that raises is a `CheckpointError`.
* `pack`, `unpack`: one state as JSON and tensors (`cartpole_dqn.runs.state_tree`).

The folder holds `state.json` and one `<part>-<number>.safetensors` a part. `state.json` names the other files with
their sizes and checksums, and covers itself by a checksum in its first line. New files get a new number and are synced
before `state.json` is replaced, which happens at once or not at all: so each moment shows one complete state. Files
that it no longer names are removed afterwards, or at the next write.

Loading parses JSON and copies numbers; nothing is unpickled, imported or run, and no link is followed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from torch import Tensor

from cartpole_dqn.contracts.parts import State
from cartpole_dqn.errors import CartpoleDqnError, CheckpointError, RunError, said_by
from cartpole_dqn.files import open_regular, reason, replace_file, sync_folder
from cartpole_dqn.runs.state_tree import pack, unpack
from cartpole_dqn.runs.tensors import new_checksum, read_tensors, write_tensors

__all__ = [
    "SCHEMA",
    "STATE_FILE",
    "has_state",
    "pack",
    "read_state",
    "taking_over",
    "unpack",
    "write_state",
]

SCHEMA = 2
"""The version of the layout; another one is refused in words."""
STATE_FILE = "state.json"

_FORMAT = "cartpole-dqn checkpoint"
_MAX_INDEX = 64 << 20
_PART = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
_TENSORS = re.compile(r"([a-z][a-z0-9_]{0,63})-([0-9]+)\.safetensors", re.ASCII)
_FIRST_LINE = re.compile(rb'\{"checksum":"([0-9a-f]{64})",\n')
_RESTORE = "Restore the folder from a copy, or start the run again."


def has_state(folder: Path) -> bool:
    """Return whether a state was completely written to `folder`; whether it is still sound, only reading tells."""
    return (folder / STATE_FILE).is_symlink() or (folder / STATE_FILE).exists()


def write_state(folder: Path, parts: Mapping[str, State], *, meta: Mapping[str, Any]) -> int:
    """Write `parts` and `meta` to `folder`, replacing what it held; return the bytes written.

    The states are read while they are written, never copied as a whole: they must not change meanwhile.

    Args:
        folder: made where it is missing. Only one writer at a time.
        parts: states by name; a name is a lower-case word.
        meta: a small state without arrays or tensors: what is to be known before parts are loaded.

    Raises:
        RunError: the disk is full, the folder cannot be written to. The state that was there before is kept.
        TypeError: a state holds what a checkpoint cannot; nothing was written.
    """
    for name in parts:
        if not _PART.fullmatch(name):
            raise ValueError(f"a part's name is a lower-case word, and {name!r} came.")
    packed = {name: _pack_part(name, state) for name, state in parts.items()}
    packed_meta, meta_tensors = pack(dict(meta))
    if meta_tensors:
        raise TypeError(f"meta holds an array or a tensor ({min(meta_tensors)}); put it into a part.")
    try:
        return _write(folder, packed, packed_meta)
    except OSError as error:
        kept = "The one before it is kept." if has_state(folder) else "None was written before."
        raise RunError(
            f"The checkpoint could not be written to {folder}: {reason(error)}. {kept} "
            f"Make room on the disk, or let the folder be written to, and go on from there."
        ) from error


def read_state(
    folder: Path, *, parts: Collection[str] | None = None, optional: Collection[str] = ()
) -> tuple[dict[str, Any], dict[str, State]]:
    """Return (meta, states by part) as they were written, tensors on the CPU.

    Args:
        folder: what `write_state` wrote to. Reading while another process writes there is fine.
        parts: which to read; by default all that there are. Files of others are not opened.
        optional: parts that may be absent, in which case they are left out of the result.

    Raises:
        CheckpointError: a sentence that names the file, what is wrong with it and what to do.
    """
    while True:
        index = _read_index(folder)
        wanted = _wanted(folder, index, parts, optional)
        with contextlib.ExitStack() as stack:
            files = {name: stack.enter_context(file) for name, file in _open_parts(folder, wanted)}
            missing = wanted.keys() - files.keys()
            # A writer may have replaced the state since its index was read; then the new one is wanted.
            if missing and _read_index(folder).raw != index.raw:
                continue
            for name in sorted(missing - set(optional)):
                raise CheckpointError(f"{folder / wanted[name].file} is missing. {_RESTORE}")
            return index.meta, {name: _read_part(folder, name, wanted[name], file) for name, file in files.items()}


@contextlib.contextmanager
def taking_over(what: object) -> Iterator[None]:
    """Say of whatever is raised inside that the state in `what` does not fit: its parts may raise anything."""
    try:
        yield
    except CartpoleDqnError:
        raise
    except Exception as error:
        text = said_by(error)[:500]
        raise CheckpointError(f"{what} does not fit the run's configuration: {text}") from error


@dataclass(frozen=True)
class _Part:
    file: str
    nbytes: int
    checksum: str
    tree: Any


@dataclass(frozen=True)
class _Index:
    """What `state.json` says."""

    raw: bytes
    meta: dict[str, Any]
    parts: dict[str, _Part]


# Writing --------------------------------------------------------------------------------------------------------------


def _pack_part(name: str, state: State) -> tuple[Any, dict[str, Tensor]]:
    try:
        return pack(state)
    except TypeError as error:
        raise TypeError(f"part {name!r}: {error}") from None


def _write(folder: Path, packed: Mapping[str, tuple[Any, dict[str, Tensor]]], meta: Any) -> int:
    if folder.is_symlink():
        raise OSError("it is a symbolic link, and a checkpoint is not written through one")
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    number = 1 + max((int(match[2]) for match in _tensor_files(folder)), default=0)
    paths = {name: folder / f"{name}-{number}.safetensors" for name in packed}
    data = b""
    try:
        table: dict[str, Any] = {}
        total = 0
        for name, (tree, tensors) in packed.items():
            size, checksum = write_tensors(paths[name], tensors)
            table[name] = {"file": paths[name].name, "bytes": size, "checksum": checksum, "tree": tree}
            total += size
        data = _index_bytes(meta, table)
        sync_folder(folder)
        replace_file(folder / STATE_FILE, data)
        sync_folder(folder.parent)
    except BaseException:
        if not _committed(folder, data):
            _remove(paths.values())
            if made:
                with contextlib.suppress(OSError):
                    folder.rmdir()
        raise
    kept = {path.name for path in paths.values()}
    with contextlib.suppress(OSError):
        _remove([folder / match[0] for match in _tensor_files(folder) if match[0] not in kept])
    return total + len(data)


def _index_bytes(meta: Any, parts: Mapping[str, Any]) -> bytes:
    body = {"format": _FORMAT, "schema": SCHEMA, "meta": meta, "parts": parts}
    rest = json.dumps(body, separators=(",", ":"), allow_nan=False).encode()[1:] + b"\n"
    if len(rest) > _MAX_INDEX - 100:
        raise OSError(f"{STATE_FILE} would have {len(rest):,} bytes; long histories belong into arrays")
    digest = new_checksum()
    digest.update(rest)
    return b'{"checksum":"%s",\n%s' % (digest.hexdigest().encode(), rest)


def _tensor_files(folder: Path) -> Iterator[re.Match[str]]:
    for path in list(folder.iterdir()):
        match = _TENSORS.fullmatch(path.name)
        if match:
            yield match


def _committed(folder: Path, data: bytes) -> bool:
    """Return whether `state.json` is `data` already, or might be: then the files that it names must stay."""
    try:
        with open_regular(folder / STATE_FILE) as file:
            return bool(data) and file.read() == data
    except FileNotFoundError:
        return False
    except OSError:
        return bool(data)


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink()


# Reading --------------------------------------------------------------------------------------------------------------


def _read_index(folder: Path) -> _Index:
    """Return what `state.json` says, checked except for what is inside the trees of parts."""
    path = folder / STATE_FILE
    raw = _read_index_bytes(folder, path)
    first = _FIRST_LINE.match(raw)
    if first is None:
        raise CheckpointError(f"{path} does not begin as a checkpoint does: it is damaged, or foreign. {_RESTORE}")
    digest = new_checksum()
    digest.update(memoryview(raw)[first.end() :])
    if digest.hexdigest().encode() != first[1]:
        raise CheckpointError(
            f"{path} is damaged, or was changed by hand: its checksum is not the one that was written. {_RESTORE}"
        )
    try:
        body = json.loads(raw, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        what = "it is nested too deep" if isinstance(error, RecursionError) else str(error)[:200]
        raise CheckpointError(f"{path} is no JSON that can be read: {what}. {_RESTORE}") from None
    if not isinstance(body, dict) or body.get("format") != _FORMAT:
        raise CheckpointError(f"{path} is not the index of a checkpoint. {_RESTORE}")
    if type(body.get("schema")) is not int or body["schema"] != SCHEMA:
        raise CheckpointError(
            f"{path} has layout {body.get('schema')!r:.20}, and this version of cartpole-dqn reads layout {SCHEMA}. "
            f"Use the version that wrote it, or start the run again: `cartpole-dqn run --config` takes its config.toml."
        )
    try:
        if body.keys() != {"checksum", "format", "schema", "meta", "parts"} or not isinstance(body["parts"], dict):
            raise CheckpointError("its entries are not those of a checkpoint.")
        parts = {name: _part_entry(name, table) for name, table in body["parts"].items()}
        return _Index(raw, unpack(body["meta"], {}), parts)
    except CheckpointError as error:
        raise CheckpointError(f"{path} does not hold together: {error} {_RESTORE}") from None


def _read_index_bytes(folder: Path, path: Path) -> bytes:
    if folder.is_symlink():
        raise CheckpointError(f"{folder} is a symbolic link, and links are not followed: name what it points to.")
    if not folder.is_dir():
        raise CheckpointError(f"there is no checkpoint at {folder}: no such folder. Name a run that wrote one.")
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            raw = file.readall() if size <= _MAX_INDEX else b""
    except FileNotFoundError:
        raise CheckpointError(
            f"{folder} holds no complete checkpoint: {STATE_FILE} is missing. Start the run again."
        ) from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {reason(error)}. {_RESTORE}") from error
    if size > _MAX_INDEX:
        raise CheckpointError(f"{path} has {size:,} bytes, more than any checkpoint's index. {_RESTORE}")
    return raw


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _part_entry(name: str, table: Any) -> _Part:
    if not isinstance(table, dict) or table.keys() != {"file", "bytes", "checksum", "tree"}:
        raise CheckpointError(f"part {name[:100]!r} is not described by file, bytes, checksum and tree.")
    file, nbytes, checksum = table["file"], table["bytes"], table["checksum"]
    match = _TENSORS.fullmatch(file) if isinstance(file, str) else None
    # A pattern that knows no slash and no dot keeps every path inside the folder.
    if match is None or match[1] != name:
        said = repr(file[:100]) if isinstance(file, str) else f"a {type(file).__name__}"
        raise CheckpointError(f"part {name[:100]!r} is in {said}, which is no name for its file.")
    if type(nbytes) is not int or nbytes < 8 or not isinstance(checksum, str):
        raise CheckpointError(f"part {name!r} has an impossible size or checksum.")
    return _Part(file, nbytes, checksum, table["tree"])


def _wanted(folder: Path, index: _Index, parts: Collection[str] | None, optional: Collection[str]) -> dict[str, _Part]:
    names = index.parts if parts is None else parts
    for name in names:
        if name not in index.parts and name not in optional:
            raise CheckpointError(
                f"{folder} holds no part {name!r}, only {', '.join(index.parts) or 'none at all'}. "
                f"Take a checkpoint that was written with it."
            )
    return {name: index.parts[name] for name in names if name in index.parts}


def _open_parts(folder: Path, parts: Mapping[str, _Part]) -> Iterator[tuple[str, FileIO]]:
    """Open the files of `parts`, leaving out those that are missing."""
    for name, part in parts.items():
        try:
            yield name, open_regular(folder / part.file)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise CheckpointError(f"{folder / part.file} cannot be read: {reason(error)}. {_RESTORE}") from error


def _read_part(folder: Path, name: str, part: _Part, file: FileIO) -> State:
    tensors = read_tensors(file, folder / part.file, size=part.nbytes, checksum=part.checksum)
    try:
        return unpack(part.tree, tensors)
    except CheckpointError as error:
        raise CheckpointError(
            f"{folder / STATE_FILE} does not hold together: part {name!r}: {error} {_RESTORE}"
        ) from None
