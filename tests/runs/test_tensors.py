from __future__ import annotations

import json
import os
import tempfile
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from bits import differences
from cartpole_dqn.errors import CheckpointError
from cartpole_dqn.files import open_regular
from cartpole_dqn.runs import tensors
from cartpole_dqn.runs.tensors import CODES, read_tensors, write_tensors
from hostile import checksum


def read_bytes_as_file(path: Path, data: bytes) -> dict[str, torch.Tensor]:
    """Read `data` as if it had been written: only its inside can be wrong."""
    path.write_bytes(data)
    with open_regular(path) as file:
        return read_tensors(file, path, size=len(data), checksum=checksum(data))


@st.composite
def tables(draw: st.DrawFn) -> dict[str, torch.Tensor]:
    names = draw(st.lists(st.text("abc./é$", min_size=1, max_size=5), unique=True, max_size=5))
    table = {}
    for name in names:
        shape = draw(st.lists(st.integers(0, 4), max_size=3))
        dtype = draw(st.sampled_from(list(CODES)))
        generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
        tensor = torch.randint(0, 2, shape, generator=generator).to(dtype)
        tensor = tensor.transpose(0, -1) if len(shape) > 1 else tensor
        table[name] = tensor[..., :: draw(st.integers(1, 3))] if shape else tensor
    return table


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    """Whether two tables are the same, in any order."""
    return differences(dict(sorted(a.items())), dict(sorted(b.items()))) == []


def write_and_read(path: Path, table: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    size, digest = write_tensors(path, table)
    data = path.read_bytes()
    assert (size, digest) == (len(data), checksum(data))
    with open_regular(path) as file:
        return read_tensors(file, path, size=size, checksum=digest)


@given(tables(), st.booleans())
def test_tensors_come_back_as_they_were(table: dict[str, torch.Tensor], metadata: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert equal(write_and_read(Path(folder) / "x", table), table)
        table = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in table.items()}
        data = safetensors.torch.save(table, {"format": "pt"} if metadata else None)
        assert equal(read_bytes_as_file(Path(folder) / "y", data), table)


def test_tensors_that_share_memory_come_back_apart(tmp_path: Path) -> None:
    base = torch.arange(3_000_000)
    table = {"whole": base, "part": base[5:9], "again": base, "turned": base.reshape(3, -1).T}
    loaded = write_and_read(tmp_path / "x", table)
    assert equal(loaded, table)
    loaded["whole"][0] = 7
    assert loaded["again"][0] == 0
    assert write_and_read(tmp_path / "y", loaded)["whole"][0] == 7


def test_lazy_conjugates_are_written_as_they_look(tmp_path: Path) -> None:
    z = torch.tensor([1 + 2j], dtype=torch.complex64)
    write_tensors(tmp_path / "x", {"z": z.conj(), "imag": z.conj().imag})
    loaded = safetensors.torch.load_file(tmp_path / "x")
    assert loaded["z"].tolist() == [1 - 2j]
    assert loaded["imag"].tolist() == [-2.0]


def test_a_header_of_every_length_is_read(tmp_path: Path) -> None:
    # Lengths such as 0x80 and 0x0280 make the file begin as a pickle does.
    for length in range(8, 400, 8):  # the header is filled up to a multiple of 8
        table = {"n" * length: torch.tensor([1.5])}
        assert equal(write_and_read(tmp_path / str(length), table), table)


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_a_file_has_the_mode_of_any_new_file(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        write_tensors(tmp_path / "x", {"x": torch.zeros(3)})
        (tmp_path / "y").touch()
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode == (tmp_path / "y").stat().st_mode


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".tmpaB3dE9").write_bytes(b"half")
    (tmp_path / ".tmp").write_bytes(b"another's")
    write_tensors(tmp_path / "x", {"x": torch.zeros(3)})
    assert {path.name for path in tmp_path.iterdir()} == {"x", ".tmp"}


def test_a_file_is_new(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("precious")
    (tmp_path / "y").symlink_to("x")
    for name in ("x", "y"):
        with pytest.raises(FileExistsError):
            write_tensors(tmp_path / name, {"x": torch.zeros(3)})
    assert (tmp_path / "x").read_text() == "precious"


def entry(dtype: Any = "F32", shape: Any = (1,), offsets: Any = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


HEADERS: list[Any] = [
    [],
    {},
    {"x": 1},
    {"x": entry(dtype="F128")},
    {"x": entry(shape=[-1])},
    {"x": entry(shape=[1] * 33)},
    {"x": entry(offsets=[4, 8])},
    {"x": entry(shape=[2**40], offsets=[0, 2**42])},
    {"x": entry(), "y": entry()},
]
TEXTS = [*(json.dumps(header).encode() for header in HEADERS), b"", b"{", b"[" * 100_000, b"\xff\xfe"]
LENGTHS = [0, 100, 2**40, 2**64 - 1]


def test_a_malformed_header_is_refused(tmp_path: Path) -> None:
    """safetensors checks it; whatever it raises becomes a sentence."""
    files = [len(text).to_bytes(8, "little") + text + bytes(4) for text in TEXTS]
    files += [length.to_bytes(8, "little") + b"{}      " for length in LENGTHS]
    for data in [*files, b"", b"x", b"\x02\0\0\0\0\0\0\0{"]:
        with pytest.raises(CheckpointError, match=r"is not a safetensors file: its header is malformed"):
            read_bytes_as_file(tmp_path / "x", data)


def test_a_boolean_is_zero_or_one(tmp_path: Path) -> None:
    data = bytearray(safetensors.torch.save({"x": torch.tensor([True, False])}))
    assert read_bytes_as_file(tmp_path / "x", bytes(data))["x"].tolist() == [True, False]
    data[-1] = 7
    with pytest.raises(CheckpointError, match="not a boolean"):
        read_bytes_as_file(tmp_path / "x", bytes(data))


def test_a_file_that_shrinks_under_the_reader_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    size, digest = write_tensors(path, {"x": torch.arange(4_000_000)})
    with open_regular(path) as file:
        real = file.readinto

        class Shrinking:
            def fileno(self) -> int:
                return file.fileno()

            def readinto(self, memory: memoryview) -> int | None:
                if len(memory) > 1000 and file.tell() > 10_000_000:
                    path.write_bytes(b"")
                return real(memory)

            def read(self, size: int) -> bytes | None:
                return file.read(size)

        with pytest.raises(CheckpointError, match="ended early"):
            read_tensors(Shrinking(), path, size=size, checksum=digest)  # type: ignore[arg-type]


@pytest.mark.parametrize("swap", ["before", "after"])
def test_a_file_that_is_swapped_where_it_can_only_be_named_is_refused(
    tmp_path: Path, swap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without `/proc/self/fd` the checked file is opened again by its name, which may mean another file by then."""
    monkeypatch.setattr(tensors, "_DESCRIPTORS", tmp_path / "none")
    path, evil = tmp_path / "x", tmp_path / "evil"
    size, digest = write_tensors(path, {"x": torch.zeros(3)})
    write_tensors(evil, {"x": torch.ones(3)})
    real = tensors.safe_open

    def open_and_swap(*args: Any, **kwargs: Any) -> Any:
        evil.rename(path)
        return real(*args, **kwargs)

    with open_regular(path) as file:
        assert read_tensors(file, path, size=size, checksum=digest)["x"].tolist() == [0, 0, 0]
    with open_regular(path) as file:
        if swap == "before":
            evil.rename(path)
        else:
            monkeypatch.setattr(tensors, "safe_open", open_and_swap)
        with pytest.raises(CheckpointError, match=r"x was replaced while it was read"):
            read_tensors(file, path, size=size, checksum=digest)


def test_the_file_that_was_checked_is_the_file_that_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "x"
    size, digest = write_tensors(path, {"x": torch.zeros(3)})
    with open_regular(path) as file:
        write_tensors(tmp_path / "evil", {"x": torch.ones(3)})
        (tmp_path / "evil").rename(path)
        assert read_tensors(file, path, size=size, checksum=digest)["x"].tolist() == [0, 0, 0]


def test_a_large_tensor_is_mapped(tmp_path: Path) -> None:
    """Neither writing nor reading takes memory for it; copying it takes what the copy needs, and the file stays."""
    path = tmp_path / "x"
    storage = torch.arange(64 << 20, dtype=torch.uint8)
    with peak_growth() as growth:
        size, digest = write_tensors(path, {"x": storage})
    assert growth() < 16 << 20
    with peak_growth() as growth, open_regular(path) as file:
        loaded = read_tensors(file, path, size=size, checksum=digest)["x"]
        path.unlink()
        assert torch.equal(storage, loaded)
        storage.copy_(loaded)
    assert growth() < 16 << 20
    loaded[:5] = 9
    assert loaded[:6].tolist() == [9, 9, 9, 9, 9, 5]


class peak_growth:  # noqa: N801
    """Samples the memory that is this process's own while the block runs, mapped files not counted."""

    def __enter__(self) -> Any:
        self.start = self.peak = self._own()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return lambda: self.peak - self.start

    def __exit__(self, *_: object) -> None:
        self.peak = max(self.peak, self._own())
        self.over.set()
        self.thread.join()

    def _watch(self) -> None:
        while not self.over.wait(0.001):
            self.peak = max(self.peak, self._own())

    @staticmethod
    def _own() -> int:
        memory = psutil.Process().memory_info()
        return int(memory.rss - memory.shared)
