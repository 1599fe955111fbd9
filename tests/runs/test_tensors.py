from __future__ import annotations

import hashlib
import json
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from cartpole_dqn.errors import CheckpointError
from cartpole_dqn.files import open_regular
from cartpole_dqn.runs.tensors import CODES, read_tensors, write_tensors


def checksum(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=32).hexdigest()


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
    def raw(t: torch.Tensor) -> bytes:
        return t.clone(memory_format=torch.contiguous_format).reshape(-1).view(torch.uint8).numpy().tobytes()

    return a.keys() == b.keys() and all(
        (a[n].dtype, a[n].shape, raw(a[n])) == (b[n].dtype, b[n].shape, raw(b[n])) for n in a
    )


@given(tables())
def test_the_safetensors_package_reads_what_is_written(table: dict[str, torch.Tensor]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.safetensors"
        size, digest = write_tensors(path, table)
        data = path.read_bytes()
        assert (size, digest) == (len(data), checksum(data))
        assert equal(safetensors.torch.load(data), table)
        with open_regular(path) as file:
            assert equal(read_tensors(file, path, size=size, checksum=digest), table)


@given(tables(), st.booleans())
def test_what_the_safetensors_package_writes_is_read(table: dict[str, torch.Tensor], metadata: bool) -> None:
    table = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in table.items()}
    data = safetensors.torch.save(table, {"format": "pt"} if metadata else None)
    with tempfile.TemporaryDirectory() as folder:
        assert equal(read_bytes_as_file(Path(folder) / "x.safetensors", data), table)


def test_every_tensor_is_aligned_and_larger_than_a_chunk_is_fine(tmp_path: Path) -> None:
    table = {"flag": torch.tensor([True]), "large": torch.arange(3_000_000), "byte": torch.ones(3, dtype=torch.uint8)}
    size, digest = write_tensors(tmp_path / "x", table)
    data = (tmp_path / "x").read_bytes()
    length = int.from_bytes(data[:8], "little")
    for name, entry in json.loads(data[8 : 8 + length]).items():
        assert (8 + length + entry["data_offsets"][0]) % table[name].element_size() == 0
    with open_regular(tmp_path / "x") as file:
        assert equal(read_tensors(file, tmp_path / "x", size=size, checksum=digest), table)


def test_lazy_conjugates_are_written_as_they_look(tmp_path: Path) -> None:
    z = torch.tensor([1 + 2j], dtype=torch.complex64)
    write_tensors(tmp_path / "x", {"z": z.conj(), "imag": z.conj().imag})
    found = safetensors.torch.load_file(tmp_path / "x")
    assert found["z"].tolist() == [1 - 2j]
    assert found["imag"].tolist() == [-2.0]


def test_a_header_of_every_length_is_read(tmp_path: Path) -> None:
    # Lengths such as 0x80 and 0x0280 make the file begin as a pickle does.
    for length in range(8, 400):
        table = {"n" * length: torch.tensor([1.5])}
        path = tmp_path / str(length)
        size, digest = write_tensors(path, table)
        with open_regular(path) as file:
            assert equal(read_tensors(file, path, size=size, checksum=digest), table)


def entry(dtype: Any = "F32", shape: Any = (1,), offsets: Any = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize(
    "header",
    [
        [],
        {"x": 1},
        {"x": {}},
        {"x": {**entry(), "more": 1}},
        {"x": entry(dtype="F128")},
        {"x": entry(dtype=["F32"])},
        {"x": entry(shape=[2])},
        {"x": entry(shape=[-1])},
        {"x": entry(shape=[True])},
        {"x": entry(shape=[1.0])},
        {"x": entry(shape="1")},
        {"x": entry(shape=[1] * 33)},
        {"x": entry(shape=[2**62, 2**62, 0], offsets=[0, 0])},
        {"x": entry(offsets=[4, 8])},
        {"x": entry(offsets=[4, 0])},
        {"x": entry(offsets=[-4, 0])},
        {"x": entry(offsets=[0, 4, 4])},
        {"x": entry(shape=[2**40], offsets=[0, 2**42])},
        {"x": entry(), "y": entry()},
        {"x": entry(), "y": entry(offsets=[8, 12])},
        {},
    ],
)
def test_a_header_that_does_not_hold_together_is_refused(tmp_path: Path, header: Any) -> None:
    text = json.dumps(header).encode()
    with pytest.raises(CheckpointError, match=r"its header does not hold together|looks like a pickle"):
        read_bytes_as_file(tmp_path / "x", len(text).to_bytes(8, "little") + text + bytes(4))


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"null", b"[" * 100_000, b'{"x":' * 100_000, b"1" * 5000, b"\xff\xfe", b'{"x": ' + b"9" * 5000 + b"}"],
)
def test_a_header_that_is_no_json_is_refused(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(CheckpointError):
        read_bytes_as_file(tmp_path / "x", len(text).to_bytes(8, "little") + text)


@pytest.mark.parametrize("length", [0, 100, 2**31, 2**40, 2**63, 2**64 - 1])
def test_a_header_length_beyond_the_file_is_refused_before_memory_is_taken(tmp_path: Path, length: int) -> None:
    with pytest.raises(CheckpointError, match=r"x is damaged: it says that its header has [\d,]+ bytes"):
        read_bytes_as_file(tmp_path / "x", length.to_bytes(8, "little") + b"{}      ")


@pytest.mark.parametrize("data", [b"", b"x", b"\x02\0\0\0\0\0\0\0", b"\x02\0\0\0\0\0\0\0{"])
def test_a_file_that_is_too_short_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(CheckpointError):
        read_bytes_as_file(tmp_path / "x", data)


def test_a_boolean_is_zero_or_one(tmp_path: Path) -> None:
    data = bytearray(safetensors.torch.save({"x": torch.tensor([True, False])}))
    assert read_bytes_as_file(tmp_path / "x", bytes(data))["x"].tolist() == [True, False]
    data[-1] = 7
    with pytest.raises(CheckpointError, match="no boolean"):
        read_bytes_as_file(tmp_path / "x", bytes(data))


def test_a_pickle_is_named_as_such(tmp_path: Path) -> None:
    for new in (True, False):
        torch.save({"x": torch.zeros(3)}, tmp_path / "x", _use_new_zipfile_serialization=new)
        with pytest.raises(CheckpointError, match="looks like a pickle"):
            read_bytes_as_file(tmp_path / "x", (tmp_path / "x").read_bytes())


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

        with pytest.raises(CheckpointError, match="ended early"):
            read_tensors(Shrinking(), path, size=size, checksum=digest)  # type: ignore[arg-type]


def test_a_large_state_is_held_once(tmp_path: Path) -> None:
    """Reading takes the tensors' own memory and next to nothing more; writing next to nothing."""
    table = {"x": torch.zeros(64 << 20, dtype=torch.uint8)}
    with peak_growth() as growth:
        size, digest = write_tensors(tmp_path / "x", table)
    assert growth() < 16 << 20
    del table
    with peak_growth() as growth, open_regular(tmp_path / "x") as file:
        read_tensors(file, tmp_path / "x", size=size, checksum=digest)
    assert growth() < (64 + 16) << 20


class peak_growth:  # noqa: N801
    """Samples this process's resident memory while the block runs."""

    def __enter__(self) -> Any:
        self.start = self.peak = self._resident()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return lambda: self.peak - self.start

    def __exit__(self, *_: object) -> None:
        self.peak = max(self.peak, self._resident())
        self.over.set()
        self.thread.join()

    def _watch(self) -> None:
        while not self.over.wait(0.001):
            self.peak = max(self.peak, self._resident())

    @staticmethod
    def _resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
