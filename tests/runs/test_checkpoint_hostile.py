"""Checkpoints that are broken, or were made to do harm."""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cartpole_dqn.errors import CheckpointError, RunError
from cartpole_dqn.runs.checkpoint import SCHEMA, STATE_FILE, read_state, taking_over, write_state
from hostile import Bomb, resign, signed

PARTS: dict[str, dict[str, Any]] = {
    "run": {"step": 7, "weights": {"w": torch.arange(6.0).reshape(2, 3)}, "pcg": np.random.PCG64(1).state},
    "replay": {"obs": np.arange(40, dtype=np.uint8).reshape(10, 4), "position": np.int64(3)},
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound") / "checkpoint"
    write_state(folder, PARTS, meta={"step": 7})
    return folder


@contextlib.contextmanager
def copy_of(folder: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as place:
        yield Path(shutil.copytree(folder, Path(place) / "checkpoint"))


FILES = (STATE_FILE, "run-1.safetensors", "replay-1.safetensors")


def test_a_missing_file_or_folder_is_named(sound: Path, tmp_path: Path) -> None:
    for file in FILES:
        with copy_of(sound) as folder:
            (folder / file).unlink()
            with pytest.raises(CheckpointError, match=f"{file}.* is missing"):
                read_state(folder)
    with pytest.raises(CheckpointError, match="there is no checkpoint at"):
        read_state(tmp_path / "none")


@pytest.mark.parametrize("kind", ["pickle", "torch zip", "torch legacy"])
@pytest.mark.parametrize("is_signed", [False, True])
@pytest.mark.parametrize("file", FILES)
def test_a_pickle_is_never_opened(sound: Path, tmp_path: Path, kind: str, is_signed: bool, file: str) -> None:
    mark, bomb = tmp_path / "exploded", tmp_path / "bomb"
    if kind == "pickle":
        bomb.write_bytes(pickle.dumps(Bomb(mark)))
    else:
        torch.save(Bomb(mark), bomb, _use_new_zipfile_serialization=kind == "torch zip")
    with copy_of(sound) as folder:
        for name in (file, "agent.pt", "data.pkl"):
            shutil.copy(bomb, folder / name)
        if is_signed and file == STATE_FILE:
            (folder / file).write_bytes(signed(bomb.read_bytes()))
        elif is_signed:
            resign(folder)
        with pytest.raises(CheckpointError, match=file if file == STATE_FILE else "looks like a pickle"):
            read_state(folder)
    assert not mark.exists()
    pickle.loads(pickle.dumps(Bomb(mark)))
    assert mark.exists(), "the bomb is a dud, and this test shows nothing"


@pytest.mark.parametrize(
    "name",
    [
        "../secret-1.safetensors",
        "/etc/passwd",
        "run-1.safetensors/../../x",
        "",
        "run-1.safetensors\0",
        "replay-1.safetensors",
        "state.json",
        "run-\u0661.safetensors",
        5,
        ["run-1.safetensors"],
    ],
)
def test_names_that_lead_elsewhere_are_refused(sound: Path, name: Any) -> None:
    with copy_of(sound) as folder:
        shutil.copy(folder / "run-1.safetensors", folder.parent / "secret-1.safetensors")
        resign(folder, lambda table: table["parts"]["run"].update(file=name))
        with pytest.raises(CheckpointError, match="not a valid file name"):
            read_state(folder)


@pytest.mark.parametrize("file", FILES)
def test_links_pipes_and_folders_are_not_followed(sound: Path, file: str) -> None:
    with copy_of(sound) as folder:
        elsewhere = folder.parent / "elsewhere"
        (folder / file).rename(elsewhere)
        for target in (str(elsewhere), "nowhere", "/dev/zero", None):
            if target is None:
                os.mkfifo(folder / file)
            else:
                (folder / file).symlink_to(target)
            with pytest.raises(CheckpointError, match="cannot be read"):
                read_state(folder)
            (folder / file).unlink()
        (folder / file).mkdir()
        with pytest.raises(CheckpointError, match="cannot be read"):
            read_state(folder)


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        (b"", "not valid JSON"),
        (b'"x":' * 100_000, "nested too deep|not valid JSON"),
        (b'"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deep"),
        (b'"x":' + b"9" * 5000 + b"}", "not valid JSON"),
        (b'"x":\xff}', "not valid JSON"),
        (b'"x":1}', "not the index of a checkpoint"),
        (b'"format":"cartpole-dqn checkpoint","schema":2}', "its entries are not those"),
        (b'"format":"cartpole-dqn checkpoint","schema":2,"meta":{"$float":1},"parts":{}}', "is inconsistent"),
    ],
)
def test_an_index_that_is_none_is_refused(sound: Path, rest: bytes, words: str) -> None:
    with copy_of(sound) as folder:
        (folder / STATE_FILE).write_bytes(signed(rest))
        with pytest.raises(CheckpointError, match=words):
            read_state(folder)


@pytest.mark.parametrize("schema", [0, 1, 10**30, True, "1", None, 1.0, [1]])
def test_another_layout_is_named(sound: Path, schema: Any) -> None:
    with copy_of(sound) as folder:
        resign(folder, lambda table: table.update(schema=schema))
        with pytest.raises(CheckpointError, match=rf"reads layout {SCHEMA}\. Use the version that wrote it"):
            read_state(folder)


def test_an_index_larger_than_any_is_refused_unread(sound: Path) -> None:
    with copy_of(sound) as folder:
        os.truncate(folder / STATE_FILE, 1 << 36)
        with pytest.raises(CheckpointError, match="too many for a checkpoint's index"):
            read_state(folder)


def test_no_descriptor_is_left_open(sound: Path) -> None:
    def count() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    with copy_of(sound) as folder:
        before = count()
        for _ in range(3):
            write_state(folder, PARTS, meta={})
            read_state(folder)
        next(folder.glob("run-*")).write_bytes(b"x")
        for _ in range(3):
            with pytest.raises(CheckpointError):
                read_state(folder)
        assert count() == before


def test_whatever_a_part_raises_is_a_state_that_does_not_fit(tmp_path: Path) -> None:
    errors = [KeyError("x"), OverflowError("too\nlarge"), RuntimeError("a" * 9000), AssertionError()]
    for error in errors:
        words = f"x does not fit the run's configuration: {type(error).__name__}"
        with pytest.raises(CheckpointError, match=words) as caught, taking_over(tmp_path / "x"):
            raise error
        assert caught.value.__cause__ is error
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 900
    for passed in (RunError("as it is"), KeyboardInterrupt()):
        with pytest.raises(type(passed)), taking_over(tmp_path):
            raise passed
