"""A run's whole state in a folder: safe to be killed while writing, safe to load from an untrusted source.

`write_state` writes it, `read_state` reads and verifies it; `taking_over` loads it into objects.

The folder holds `state.json` and one `<part>-<number>.safetensors` per part. `state.json` names the other files with
their sizes and checksums, and its first line is a checksum of the rest. New files get a new number and are synced.
Then `state.json` is replaced atomically, so the folder always holds one complete state. Files that it no longer names
are removed afterwards, or at the next write.

Loading parses JSON and copies numbers. Nothing is unpickled, imported or run, and no link is followed.
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
from cartpole_dqn.errors import CartpoleDqnError, CheckpointError, RunError, error_line
from cartpole_dqn.files import open_regular, reason, replace_file, sync_folder
from cartpole_dqn.runs.state_tree import pack, unpack
from cartpole_dqn.runs.tensors import new_checksum, read_tensors, write_tensors

SCHEMA = 2
"""Version of the layout. Others are refused."""
STATE_FILE = "state.json"

_FORMAT = "cartpole-dqn checkpoint"
_MAX_INDEX = 64 << 20
_PART = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
_TENSORS = re.compile(r"([a-z][a-z0-9_]{0,63})-([0-9]+)\.safetensors", re.ASCII)
_FIRST_LINE = re.compile(rb'\{"checksum":"([0-9a-f]{64})",\n')
_RESTORE = "Restore the folder from a copy, or start the run again."


def has_state(folder: Path) -> bool:
    """Return whether a complete state was written to `folder`. Only `read_state` verifies it."""
    return (folder / STATE_FILE).is_symlink() or (folder / STATE_FILE).exists()


def write_state(folder: Path, parts: Mapping[str, State], *, meta: Mapping[str, Any]) -> int:
    """Write `parts` and `meta` to `folder` in place of what it held; return the bytes written.

    States are not copied first, so they must not change meanwhile.

    Args:
        folder: created if missing. Only one writer at a time.
        parts: states by name; a name is a lower-case word.
        meta: a small state without arrays or tensors, readable without any part.

    Raises:
        RunError: the disk is full, or the folder cannot be written to. The previous state is kept.
        TypeError: a state holds an unsupported value; nothing was written.
    """
    packed = {}
    for name, state in parts.items():
        if not _PART.fullmatch(name):
            raise ValueError(f"expected a lower-case word as a part's name, got {name!r}.")
        try:
            packed[name] = pack(state)
        except TypeError as error:
            raise TypeError(f"part {name!r}: {error}") from None
    packed_meta, meta_tensors = pack(dict(meta))
    if meta_tensors:
        raise TypeError(f"meta holds an array or a tensor ({min(meta_tensors)}); put it into a part.")
    try:
        return _write(folder, packed, packed_meta)
    except OSError as error:
        note = "The one before it is kept. " if has_state(folder) else ""
        raise RunError(
            f"The checkpoint could not be written to {folder}: {reason(error)}. {note}"
            f"Make room on the disk, or make the folder writable, and resume."
        ) from error


def read_state(
    folder: Path, *, parts: Collection[str] | None = None, optional: Collection[str] = ()
) -> tuple[dict[str, Any], dict[str, State]]:
    """Return (meta, states by part) as they were written, with tensors on the CPU.

    Args:
        folder: as given to `write_state`. Another process may write to it meanwhile.
        parts: which to read; by default all. Files of other parts are not opened.
        optional: parts that may be missing; these are then left out.

    Raises:
        CheckpointError: the message names the file, what is wrong with it and what to do.
    """
    while True:
        index = _read_index(folder)
        selected = _select_parts(folder, index, parts, optional)
        with contextlib.ExitStack() as stack:
            files = {name: stack.enter_context(file) for name, file in _open_parts(folder, selected)}
            missing = selected.keys() - files.keys()
            # If a writer replaced the state since its index was read, read the new one.
            if missing and _read_index(folder).raw != index.raw:
                continue
            for name in sorted(missing - set(optional)):
                raise CheckpointError(f"{folder / selected[name].file} is missing. {_RESTORE}")
            return index.meta, {name: _read_part(folder, name, selected[name], file) for name, file in files.items()}


@contextlib.contextmanager
def taking_over(what: object) -> Iterator[None]:
    """Turn any exception inside the block into a `CheckpointError`: the state in `what` does not fit."""
    try:
        yield
    except CartpoleDqnError:
        raise
    except Exception as error:
        text = error_line(error)[:500]
        raise CheckpointError(f"{what} does not fit the run's configuration: {text}") from error


@dataclass(frozen=True)
class _Part:
    file: str
    nbytes: int
    checksum: str
    tree: Any


@dataclass(frozen=True)
class _Index:
    """The content of `state.json`."""

    raw: bytes
    meta: dict[str, Any]
    parts: dict[str, _Part]


# Writing --------------------------------------------------------------------------------------------------------------


def _write(folder: Path, packed: Mapping[str, tuple[Any, dict[str, Tensor]]], meta: Any) -> int:
    if folder.is_symlink():
        raise OSError("it is a symbolic link, which checkpoints do not follow")
    is_new = not folder.exists()
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
            if is_new:
                with contextlib.suppress(OSError):
                    folder.rmdir()
        raise
    current = {path.name for path in paths.values()}
    with contextlib.suppress(OSError):
        _remove([folder / match[0] for match in _tensor_files(folder) if match[0] not in current])
    return total + len(data)


def _index_bytes(meta: Any, parts: Mapping[str, Any]) -> bytes:
    body = {"format": _FORMAT, "schema": SCHEMA, "meta": meta, "parts": parts}
    rest = json.dumps(body, separators=(",", ":"), allow_nan=False).encode()[1:] + b"\n"
    if len(rest) > _MAX_INDEX - 100:
        raise OSError(f"{STATE_FILE} would have {len(rest):,} bytes; put long histories into arrays")
    return b'{"checksum":"%s",\n%s' % (_checksum(rest), rest)


def _checksum(data: bytes | memoryview) -> bytes:
    digest = new_checksum()
    digest.update(data)
    return digest.hexdigest().encode()


def _tensor_files(folder: Path) -> list[re.Match[str]]:
    return [match for path in folder.iterdir() if (match := _TENSORS.fullmatch(path.name))]


def _committed(folder: Path, data: bytes) -> bool:
    """Return whether `state.json` is `data`, or may be: then the files that it names must stay."""
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
    """Return the content of `state.json`, checked except for the trees of the parts."""
    path = folder / STATE_FILE
    raw = _read_index_bytes(folder, path)
    first = _FIRST_LINE.match(raw)
    if first is None:
        raise CheckpointError(f"{path} does not begin like a checkpoint: it is damaged, or something else. {_RESTORE}")
    if _checksum(memoryview(raw)[first.end() :]) != first[1]:
        raise CheckpointError(
            f"{path} is damaged, or was changed by hand: its checksum is not the one that was written. {_RESTORE}"
        )
    try:
        body = json.loads(raw, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        problem = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
        raise CheckpointError(f"{path} is not valid JSON: {problem}. {_RESTORE}") from None
    if not isinstance(body, dict) or body.get("format") != _FORMAT:
        raise CheckpointError(f"{path} is not the index of a checkpoint. {_RESTORE}")
    if type(body.get("schema")) is not int or body["schema"] != SCHEMA:
        raise CheckpointError(
            f"{path} has layout {body.get('schema')!r:.20}, but this version of cartpole-dqn reads layout {SCHEMA}. "
            f"Use the version that wrote it, or start the run again: `cartpole-dqn run --config` takes its config.toml."
        )
    try:
        if body.keys() != {"checksum", "format", "schema", "meta", "parts"} or not isinstance(body["parts"], dict):
            raise CheckpointError("its entries are not those of a checkpoint.")
        parts = {name: _part_entry(name, table) for name, table in body["parts"].items()}
        return _Index(raw, unpack(body["meta"], {}), parts)
    except CheckpointError as error:
        raise CheckpointError(f"{path} is inconsistent: {error} {_RESTORE}") from None


def _read_index_bytes(folder: Path, path: Path) -> bytes:
    if folder.is_symlink():
        raise CheckpointError(f"{folder} is a symbolic link, and links are not followed. Give the folder itself.")
    if not folder.is_dir():
        raise CheckpointError(f"there is no checkpoint at {folder}: no such folder. Choose a run that wrote one.")
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
        raise CheckpointError(f"{path} has {size:,} bytes, too many for a checkpoint's index. {_RESTORE}")
    return raw


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _part_entry(name: str, table: Any) -> _Part:
    if not isinstance(table, dict) or table.keys() != {"file", "bytes", "checksum", "tree"}:
        raise CheckpointError(f"part {name[:100]!r} is not described by file, bytes, checksum and tree.")
    file, nbytes, checksum = table["file"], table["bytes"], table["checksum"]
    match = _TENSORS.fullmatch(file) if isinstance(file, str) else None
    # The pattern allows no path separator, so the file is inside the folder.
    if match is None or match[1] != name:
        description = repr(file[:100]) if isinstance(file, str) else f"a {type(file).__name__}"
        raise CheckpointError(f"part {name[:100]!r} is in {description}, which is not a valid file name for it.")
    if type(nbytes) is not int or nbytes < 8 or not isinstance(checksum, str):
        raise CheckpointError(f"part {name!r} has an impossible size or checksum.")
    return _Part(file, nbytes, checksum, table["tree"])


def _select_parts(
    folder: Path, index: _Index, parts: Collection[str] | None, optional: Collection[str]
) -> dict[str, _Part]:
    names = index.parts if parts is None else parts
    for name in names:
        if name not in index.parts and name not in optional:
            raise CheckpointError(
                f"{folder} holds no part {name!r}, only {', '.join(index.parts) or 'none at all'}. "
                f"Use a checkpoint that was written with it."
            )
    return {name: index.parts[name] for name in names if name in index.parts}


def _open_parts(folder: Path, parts: Mapping[str, _Part]) -> Iterator[tuple[str, FileIO]]:
    """Open the files of `parts`, skipping missing ones."""
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
        raise CheckpointError(f"{folder / STATE_FILE} is inconsistent: part {name!r}: {error} {_RESTORE}") from None
