"""Tensors in one safetensors file, with a checksum of all its bytes: `write_tensors`, `read_tensors`.

Large tensors are memory-mapped, so a replay of gigabytes is copied into its storage without a second copy in memory.
Writing to such a tensor changes neither the file nor other readers. Small tensors get their own memory.

The file that was checked is the file that is mapped: it stays open, and `/proc/self/fd/N` refers to its descriptor. On
systems without that folder, the path is opened again and must name the same file (device and inode) before and after;
on Windows an open file cannot be replaced. Bytes that another program changes in place after the check go unnoticed,
and truncating the file while a large tensor is copied ends the process (SIGBUS). Nothing in this package does either:
every file is written once, under a new name.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
from collections.abc import Mapping
from io import FileIO
from pathlib import Path

import torch
from safetensors import SafetensorError, TensorSpec, safe_open, serialize_file
from torch import Tensor

from cartpole_dqn.errors import CheckpointError
from cartpole_dqn.files import create_file, open_regular, reason
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
"""NumPy's limit before version 2."""

_MAPPED_FROM = 16 << 20
"""Size in bytes from which a tensor is mapped."""
_CHUNK = 8 << 20
_RESTORE = "Restore it from a copy, or start the run again."
_DESCRIPTORS = Path("/proc/self/fd")
_LEFT_BEHIND = re.compile(r"\.tmp\w{6}", re.ASCII)
"""Temporary files of safetensors."""
_OS_ERROR = re.compile(r"\(os error (\d+)\)")


def new_checksum() -> hashlib.blake2b:
    """Return a new BLAKE2b checksum of 32 bytes, as `b2sum -l 256` prints it."""
    return hashlib.blake2b(digest_size=32)


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> tuple[int, str]:
    """Write `tensors` to the new file `path` and sync it; return (bytes, checksum). Raises `OSError`.

    Copies tensors that are not contiguous or on another device. Removes files that a killed writer left in the folder,
    so there must be only one writer at a time.
    """
    for leftover in path.parent.iterdir():
        if _LEFT_BEHIND.fullmatch(leftover.name):
            leftover.unlink()
    # safetensors' `save_file` refuses tensors that share memory, which states may hold.
    plain = {name: tensor.cpu().resolve_conj().resolve_neg().contiguous() for name, tensor in tensors.items()}
    specs = {
        name: TensorSpec(
            dtype=str(tensor.dtype).removeprefix("torch."),
            shape=list(tensor.shape),
            data_ptr=tensor.data_ptr(),
            data_len=tensor.nbytes,
        )
        for name, tensor in plain.items()
    }
    # safetensors replaces this file by one that only its owner may read.
    descriptor = create_file(path)
    mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    os.close(descriptor)
    try:
        serialize_file(specs, path)
        path.chmod(mode)
        checksum = new_checksum()
        with open_regular(path) as file:
            size = _add(checksum, file)
            os.fsync(file.fileno())
    except BaseException as error:
        with contextlib.suppress(OSError):
            path.unlink()
        if isinstance(error, SafetensorError):
            number = _OS_ERROR.search(str(error))
            raise OSError(int(number[1]), os.strerror(int(number[1]))) if number else OSError(str(error)) from error
        raise
    return size, checksum.hexdigest()


def read_tensors(file: FileIO, path: Path, *, size: int, checksum: str) -> dict[str, Tensor]:
    """Return the tensors in `file`, on the CPU. Those of 16 MiB and more are mapped.

    Args:
        file: open at its start, unbuffered.
        path: its name.
        size: expected size in bytes.
        checksum: expected checksum.

    Raises:
        CheckpointError: the file cannot be read, or is not as expected.
    """
    try:
        _check(file, path, size, checksum)
        return _load(file, path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {reason(error)}. {_RESTORE}") from error
    # safetensors raises many kinds of exceptions for a malformed header.
    except (SafetensorError, RuntimeError, ValueError, TypeError, OverflowError) as error:
        detail = re.sub(r"[^ -~]", "?", str(error))[:200]
        raise CheckpointError(
            f"{path} is not a safetensors file: its header is malformed ({detail}). {_RESTORE}"
        ) from None


def _check(file: FileIO, path: Path, size: int, checksum: str) -> None:
    """Raise a `CheckpointError` unless the file's bytes are exactly those that were written."""
    start = file.read(9)
    # The length of a sound header may look like a pickle's first bytes.
    if start[8:] != b"{" and start.startswith((b"\x80", b"PK\x03\x04")):
        raise CheckpointError(
            f"{path} looks like a pickle (as torch.save writes it), not like safetensors. Loading a pickle can run "
            f"any code, so it was not opened further. {_RESTORE}"
        )
    status = os.fstat(file.fileno())
    if status.st_size != size or not stat.S_ISREG(status.st_mode):
        raise CheckpointError(f"{path} has {status.st_size:,} bytes where {size:,} were written. {_RESTORE}")
    available = available_bytes()
    if size > available:
        raise CheckpointError(
            f"{path} would take {figures.size(size)} of memory, but {figures.size(available)} are left. Close other "
            f"programs, or load it on a machine with more memory."
        )
    digest = new_checksum()
    digest.update(start)
    if len(start) + _add(digest, file) != size:
        raise CheckpointError(f"{path} ended early while it was read. {_RESTORE}")
    if digest.hexdigest() != checksum:
        raise CheckpointError(f"{path} is damaged: its checksum is not the one that was written. {_RESTORE}")


def _load(file: FileIO, path: Path) -> dict[str, Tensor]:
    address = _DESCRIPTORS / str(file.fileno())
    address = address if address.exists() else path
    _require_same(file, address, path)
    tensors = {}
    with safe_open(address, framework="pt") as source:
        for name in source.keys():  # noqa: SIM118 (no dict)
            tensor = source.get_tensor(name)
            if tensor.dtype not in CODES or tensor.dim() > MAX_DIMS:
                raise ValueError(f"{name[:100]!r} is a {tensor.dtype} tensor with {tensor.dim()} dimensions")
            if tensor.dtype is torch.bool and tensor.numel() and int(tensor.view(torch.uint8).max()) > 1:
                raise ValueError(f"{name[:100]!r} holds a byte that is not a boolean")
            tensors[name] = tensor if tensor.nbytes >= _MAPPED_FROM else tensor.clone()
    _require_same(file, address, path)
    return tensors


def _require_same(file: FileIO, address: Path, path: Path) -> None:
    """Raise a `CheckpointError` unless `address` names the open file."""
    if not os.path.samestat(os.fstat(file.fileno()), address.stat()):
        raise CheckpointError(f"{path} was replaced while it was read. Try again.")


def _add(checksum: hashlib.blake2b, file: FileIO) -> int:
    """Add the rest of `file` to the checksum; return its number of bytes."""
    memory = memoryview(bytearray(_CHUNK))
    total = 0
    while count := file.readinto(memory):
        checksum.update(memory[:count])
        total += count
    return total
