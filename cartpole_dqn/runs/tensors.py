"""Tensors in one safetensors file, with a checksum of all its bytes.

* `write_tensors`: named tensors -> a synced file; returns its size and checksum.
* `read_tensors`: an open file -> the tensors, with its size, checksum and content verified.
* `new_checksum`: BLAKE2b with 32 bytes, as `b2sum -l 256` prints it.
* `CODES`: the dtypes that such a file can hold here, and their names in it.
* `MAX_DIMS`: the most dimensions of a tensor in it.

Large tensors are mapped, not read: each page comes from the file when it is first touched, and the system takes it back
when memory is short. So a replay of gigabytes is copied into its storage without a second copy in memory. Such a tensor
may be written to, which changes neither the file nor other readers. Small tensors get memory of their own.

The file that was checked is the file that is mapped: it stays open, and `/proc/self/fd/N` names it by its descriptor.
Where the system has no such folder, the path is opened a second time, and it must name the same file (device and inode)
before and after; on Windows an open file cannot be replaced at all. Bytes that another program changes in place after
the check go unnoticed, and a file that it cuts short while a large tensor is copied ends the process (SIGBUS). Nothing
in this package does either: every file is written once, under a new name.
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
"""NumPy's own bound in its first versions."""

_MAPPED_FROM = 16 << 20
"""Bytes from which on a tensor is mapped: what is smaller is not worth keeping a file for."""
_CHUNK = 8 << 20
_RESTORE = "Restore it from a copy, or start the run again."
_DESCRIPTORS = Path("/proc/self/fd")
_LEFT_BEHIND = re.compile(r"\.tmp\w{6}", re.ASCII)
"""Where safetensors writes what it then renames."""
_OS_ERROR = re.compile(r"\(os error (\d+)\)")


def new_checksum() -> hashlib.blake2b:
    """Return the checksum of no bytes."""
    return hashlib.blake2b(digest_size=32)


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> tuple[int, str]:
    """Write `tensors` to the new file `path` and sync it; return (bytes, checksum). Raises `OSError`.

    Tensors that are not contiguous, or on another device, are copied first. What a killed writer left in the folder is
    removed: only one may write there at a time.
    """
    for left in path.parent.iterdir():
        if _LEFT_BEHIND.fullmatch(left.name):
            left.unlink()
    # The package's `save_file` refuses tensors that share memory; the states of parts may.
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
    # The package replaces this file by one that only its owner may read.
    mode = _make_empty(path)
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
            raise _as_os_error(error) from error
        raise
    return size, checksum.hexdigest()


def read_tensors(file: FileIO, path: Path, *, size: int, checksum: str) -> dict[str, Tensor]:
    """Return the tensors in `file`, on the CPU; those of 16 MiB and more are mapped.

    Args:
        file: open at its start, unbuffered.
        path: its name.
        size: bytes that it must have.
        checksum: what its bytes must give.

    Raises:
        CheckpointError: it is anything but that.
    """
    try:
        _check(file, path, size, checksum)
        return _load(file, path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {reason(error)}. {_RESTORE}") from error
    # What the package raises for a header depends on what is wrong with it.
    except (SafetensorError, RuntimeError, ValueError, TypeError, OverflowError) as error:
        why = re.sub(r"[^ -~]", "?", str(error))[:200]
        raise CheckpointError(
            f"{path} is no safetensors file: its header does not hold together ({why}). {_RESTORE}"
        ) from None


def _make_empty(path: Path) -> int:
    """Make the new file `path`; return the permissions that the system gives it."""
    descriptor = create_file(path)
    try:
        return stat.S_IMODE(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)


def _check(file: FileIO, path: Path, size: int, checksum: str) -> None:
    """Raise a `CheckpointError` where the file is not, byte for byte, what was written."""
    start = file.read(9)
    # Nothing is wrong with a header's length that looks like a pickle's first bytes.
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
    with safe_open(address, framework="pt") as found:
        for name in found.keys():  # noqa: SIM118 (no dict)
            tensor = found.get_tensor(name)
            if tensor.dtype not in CODES or tensor.dim() > MAX_DIMS:
                raise ValueError(f"{name[:100]!r} is a {tensor.dtype} tensor with {tensor.dim()} dimensions")
            if tensor.dtype is torch.bool and tensor.numel() and int(tensor.view(torch.uint8).max()) > 1:
                raise ValueError(f"{name[:100]!r} holds what is no boolean")
            tensors[name] = tensor if tensor.nbytes >= _MAPPED_FROM else tensor.clone()
    _require_same(file, address, path)
    return tensors


def _require_same(file: FileIO, address: Path, path: Path) -> None:
    """Raise a `CheckpointError` where `address` does not name the open file."""
    if not os.path.samestat(os.fstat(file.fileno()), address.stat()):
        raise CheckpointError(f"{path} was replaced while it was read. Try again.")


def _add(checksum: hashlib.blake2b, file: FileIO) -> int:
    """Add what is left of `file`; return how many bytes that was."""
    memory = memoryview(bytearray(_CHUNK))
    total = 0
    while count := file.readinto(memory):
        checksum.update(memory[:count])
        total += count
    return total


def _as_os_error(error: SafetensorError) -> OSError:
    """Return what the system said to the package, which tells it in words alone."""
    number = _OS_ERROR.search(str(error))
    return OSError(int(number[1]), os.strerror(int(number[1]))) if number else OSError(str(error))
