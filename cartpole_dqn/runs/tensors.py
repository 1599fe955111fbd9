"""Tensors in one safetensors file, written and read with no second copy of them in memory.

* `write_tensors`: named tensors -> a new, synced file; returns its size and checksum.
* `read_tensors`: an open file -> the tensors, with its size, checksum and header verified.
* `CODES`: the dtypes that such a file can hold, and their names in it.
* `MAX_DIMS`: the most dimensions of a tensor in it.

The format is eight bytes with the length of a JSON header (little endian), the header, and the tensors' bytes. Both
directions are spelled out here, and held to the `safetensors` package by tests: the checksum is taken of the very bytes
that are written and of the very bytes that become tensors, so what was checked is what is loaded, and a replay of
hundreds of megabytes is never in memory twice. The package itself takes two to three times a file's size in memory, or
opens the file by its name again after it was checked. A checksum is BLAKE2b with 32 bytes, as `b2sum -l 256` prints it.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
from collections.abc import Iterator, Mapping
from io import FileIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cartpole_dqn.errors import CheckpointError
from cartpole_dqn.files import create_file, reason, write_all
from cartpole_dqn.system import available_bytes
from cartpole_dqn.text import figures

CODES: dict[torch.dtype, str] = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.complex64: "C64",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint64: "U64",
    torch.uint32: "U32",
    torch.uint16: "U16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
MAX_DIMS = 32

_DTYPES = {code: dtype for dtype, code in CODES.items()}
_CHUNK = 8 << 20
_MAX_HEADER = 100_000_000
"""The format's own bound."""
_RESTORE = "Restore it from a copy, or start the run again."


def new_checksum() -> hashlib.blake2b:
    """Return the checksum of no bytes."""
    return hashlib.blake2b(digest_size=32)


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> tuple[int, str]:
    """Write `tensors` to the new file `path` and sync it; return (bytes, checksum). Raises `OSError`.

    Tensors may be non-contiguous or on another device; those are copied one at a time.
    """
    # Widest first keeps every tensor aligned to its own width.
    order = sorted(tensors, key=lambda name: -tensors[name].element_size())
    header: dict[str, Any] = {}
    end = 0
    for name in order:
        tensor = tensors[name]
        start, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": CODES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    checksum = new_checksum()
    descriptor = create_file(path)
    try:
        for chunk in _chunks(text, [tensors[name] for name in order]):
            checksum.update(chunk)
            write_all(descriptor, chunk)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return 8 + len(text) + end, checksum.hexdigest()


def read_tensors(file: FileIO, path: Path, *, size: int, checksum: str) -> dict[str, Tensor]:
    """Return the tensors in `file`, each in memory of its own, on the CPU.

    Args:
        file: open at its start, unbuffered.
        path: its name, for messages.
        size: bytes that it must have.
        checksum: what its bytes must give.

    Raises:
        CheckpointError: it is anything but that.
    """
    try:
        return _read(file, path, size, checksum)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {reason(error)}. {_RESTORE}") from error


def _chunks(header: bytes, tensors: list[Tensor]) -> Iterator[bytes | memoryview]:
    yield len(header).to_bytes(8, "little") + header
    for tensor in tensors:
        plain = tensor.cpu().resolve_conj().resolve_neg().contiguous()
        data = _bytes_of(plain)
        for start in range(0, len(data), _CHUNK):
            yield data[start : start + _CHUNK]


def _bytes_of(tensor: Tensor) -> memoryview:
    """Return the memory of a contiguous tensor, writable."""
    if not tensor.numel():
        return memoryview(b"")
    # A reshape would keep an odd stride where a dimension has one element, and then there is no view as bytes.
    return tensor.as_strided((tensor.numel(),), (1,)).view(torch.uint8).numpy().data


def _read(file: FileIO, path: Path, size: int, checksum: str) -> dict[str, Tensor]:
    status = os.fstat(file.fileno())
    digest = new_checksum()
    start = bytearray(9)
    _fill(file, memoryview(start))
    if start[8:] != b"{" and start.startswith((b"\x80", b"PK\x03\x04")):
        raise CheckpointError(
            f"{path} looks like a pickle (as torch.save writes it), not like safetensors. Loading a pickle can run "
            f"any code, so it was not opened further. {_RESTORE}"
        )
    if status.st_size != size or not stat.S_ISREG(status.st_mode):
        raise CheckpointError(f"{path} has {status.st_size:,} bytes where {size:,} were written. {_RESTORE}")
    available = available_bytes()
    if available is not None and size > available:
        raise CheckpointError(
            f"{path} would take {figures.size(size)} of memory, but {figures.size(available)} are left. Close other "
            f"programs, or load it on a machine with more memory."
        )
    digest.update(start)
    length = int.from_bytes(start[:8], "little")
    if not 0 < length <= min(size - 8, _MAX_HEADER):
        raise CheckpointError(
            f"{path} is damaged: it says that its header has {length:,} bytes, and the file has {size:,}. {_RESTORE}"
        )
    text = bytearray(start[8:]) + bytearray(length - 1)
    _fill_whole(file, memoryview(text)[1:], path)
    digest.update(memoryview(text)[1:])
    tensors = {}
    for name, dtype, shape in _parse(bytes(text), size - 8 - length, path):
        tensors[name] = torch.empty(shape, dtype=dtype)
        data = _bytes_of(tensors[name])
        for at in range(0, len(data), _CHUNK):
            _fill_whole(file, data[at : at + _CHUNK], path)
            digest.update(data[at : at + _CHUNK])
    if digest.hexdigest() != checksum:
        raise CheckpointError(f"{path} is damaged: its checksum is not the one that was written. {_RESTORE}")
    for name, tensor in tensors.items():
        if tensor.dtype is torch.bool and tensor.numel() and int(tensor.view(torch.uint8).max()) > 1:
            raise CheckpointError(f"{path} is no file of ours: {name[:100]!r} holds what is no boolean. {_RESTORE}")
    return tensors


def _parse(text: bytes, size: int, path: Path) -> list[tuple[str, torch.dtype, list[int]]]:
    """Return name, dtype and shape of each tensor in the order of their bytes, which must fill `size` exactly."""
    try:
        header = json.loads(text)
        if not isinstance(header, dict):
            raise ValueError("no table")
        header.pop("__metadata__", None)
        entries = sorted((_entry(name, table) for name, table in header.items()), key=lambda entry: entry[3:])
        end = 0
        for name, _, _, start, stop in entries:
            if start != end:
                raise ValueError(f"a gap or an overlap before {name[:100]!r}")
            end = stop
        if end != size:
            raise ValueError(f"tensors of {end:,} bytes in a place for {size:,}")
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path} is no safetensors file: its header does not hold together ({_short(error)}). {_RESTORE}"
        ) from None
    return [entry[:3] for entry in entries]


def _entry(name: str, table: Any) -> tuple[str, torch.dtype, list[int], int, int]:
    if not isinstance(table, dict) or table.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{name[:100]!r} is not described by dtype, shape and data_offsets")
    dtype = _DTYPES.get(table["dtype"]) if isinstance(table["dtype"], str) else None
    if dtype is None:
        raise ValueError(f"{name[:100]!r} has an unknown dtype")
    shape, offsets = table["shape"], table["data_offsets"]
    if not _are_sizes(shape) or len(shape) > MAX_DIMS or math.prod(max(n, 1) for n in shape) >= 1 << 48:
        raise ValueError(f"{name[:100]!r} has an impossible shape")
    if not _are_sizes(offsets) or len(offsets) != 2:
        raise ValueError(f"{name[:100]!r} has impossible offsets")
    if offsets[1] - offsets[0] != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{name[:100]!r} has a shape that does not fit its bytes")
    return name, dtype, shape, offsets[0], offsets[1]


def _are_sizes(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)


def _short(error: BaseException) -> str:
    return "nested too deep" if isinstance(error, RecursionError) else str(error)[:200]


def _fill(file: FileIO, memory: memoryview) -> bool:
    """Read into all of `memory`; return whether there was enough."""
    while len(memory):
        count = file.readinto(memory)
        if not count:
            return False
        memory = memory[count:]
    return True


def _fill_whole(file: FileIO, memory: memoryview, path: Path) -> None:
    if not _fill(file, memory):
        raise CheckpointError(f"{path} ended early while it was read. {_RESTORE}")
