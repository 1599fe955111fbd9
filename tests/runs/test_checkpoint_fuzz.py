"""Thousands of broken and hostile checkpoints: each is read, or refused by a `CheckpointError`, and stays as it is."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch

from cartpole_dqn.errors import CheckpointError
from cartpole_dqn.runs.checkpoint import read_state, write_state
from hostile import checksum, places_in, require_sentence, signed

INDEX, RUN, REPLAY = "state.json", "run-1.safetensors", "replay-1.safetensors"
Files = dict[str, bytes]

STATE: dict[str, Any] = {
    "run": {
        "step": 3,
        "nan": float("nan"),
        "pcg": np.random.PCG64(1).state,
        "weights": {"w": torch.ones(2, 3), "b": torch.zeros(0), "h": torch.ones(2, dtype=torch.bfloat16)},
        "optimiser": {0: {"count": (1, np.float64(0.5))}, 1: {"long": 1 << 200}},
        "flags": np.array([True, False]),
    },
    "replay": {"obs": np.arange(12, dtype=np.uint8).reshape(3, 4), "rewards": torch.ones(3)},
}


def sound_files(folder: Path) -> Files:
    write_state(folder, STATE, meta={"step": 3, "obs": "pixels"})
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# Breaking -------------------------------------------------------------------------------------------------------------

TEXTS = ["", "x", "../x", "/etc/passwd", "F32", "weights.w", "0xff", "inf", "a\0b", "\ud800", "\x1b[2J", "y" * 5000]
MARKS = ["$", "$tuple", "$dict", "$float", "$tensor", "$array", "$scalar"]
WORDS = [b'"', b"{", b"[", b"]", b"}", b"-", b"9" * 30, b"1e999", b"null", b"NaN", b"\\ud800", b"\0"]


def sign(files: Files) -> None:
    """Make every size and checksum right again, as an attacker does."""
    try:
        table = json.loads(files[INDEX])
        for name, part in table["parts"].items():
            data = files[f"{name}-1.safetensors"]
            part.update(bytes=len(data), checksum=checksum(data))
        del table["checksum"]
        files[INDEX] = signed(json.dumps(table).encode()[1:])
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        files[INDEX] = signed(files[INDEX].partition(b"\n")[2])


def mangle(data: bytes, chance: Random) -> bytes:
    """Flip, cut, insert, repeat or overwrite some bytes."""
    out = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at, to = sorted(chance.randint(0, len(out)) for _ in range(2))
        match chance.randrange(6):
            case 0 if at < len(out):
                out[at] ^= 1 << chance.randrange(8)
            case 1:
                del out[at : min(to, at + 20)]
            case 2:
                out[at:at] = chance.randbytes(chance.randint(1, 19))
            case 3:
                out[at:at] = out[at:to]
            case 4 if chance.random() < 0.2:
                del out[at:]
            case _:
                out[at : at + 1] = chance.choice(WORDS)
    return bytes(out)


def any_value(chance: Random, depth: int = 0) -> Any:
    makes: list[Callable[[], Any]] = [
        lambda: chance.choice([None, True, chance.randint(-3, 99), 1 << chance.randrange(200), -1 << 200]),
        lambda: chance.gauss() * 10.0 ** chance.randint(-300, 300),
        lambda: chance.choice(TEXTS),
        lambda: {chance.choice(MARKS): any_value(chance, depth + 1)},
        lambda: [any_value(chance, depth + 1) for _ in range(chance.randrange(4))] if depth < 4 else [],
        lambda: nested(chance.randint(1, 300)),
    ]
    return chance.choice(makes)()


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value] if depth % 2 else {"a": value}
    return value


def edit(value: Any, chance: Random) -> Any:
    """Change one place somewhere inside a JSON value."""
    places = places_in(value)
    if not places:
        return any_value(chance)
    node, key = chance.choice(places)
    match chance.randrange(5):
        case 0:
            del node[key]
        case 1 if isinstance(node, dict):
            node[str(any_value(chance))] = node.pop(key)
        case 2:
            other, name = chance.choice(places)
            node[key] = copy.deepcopy(other[name])
        case 3 if type(node[key]) is int:
            node[key] += chance.randint(-8, 8)
        case _:
            node[key] = any_value(chance)
    return value


def break_bytes(files: Files, chance: Random) -> None:
    name = chance.choice(sorted(files))
    files[name] = mangle(files[name], chance)


def break_bytes_signed(files: Files, chance: Random) -> None:
    break_bytes(files, chance)
    sign(files)


def break_header(files: Files, chance: Random) -> None:
    name = chance.choice([RUN, REPLAY])
    length = int.from_bytes(files[name][:8], "little")
    header = json.loads(files[name][8 : 8 + length])
    for _ in range(chance.randint(1, 2)):
        header = edit(header, chance)
    text = json.dumps(header).encode()
    files[name] = len(text).to_bytes(8, "little") + text + files[name][8 + length :]
    sign(files)


def break_index(files: Files, chance: Random) -> None:
    table = json.loads(files[INDEX])
    del table["checksum"]
    for _ in range(chance.randint(1, 3)):
        table = edit(table, chance)
    files[INDEX] = signed(json.dumps(table).encode()[1:])


BREAKS = [break_bytes, break_bytes_signed, break_header, break_index]


# Trying ---------------------------------------------------------------------------------------------------------------


def try_broken(folder: Path, sound: Files, seed: int) -> bool:
    """Break a checkpoint as `seed` says and read it; return whether it was refused."""
    chance = Random(seed)
    files = dict(sound)
    breaking = chance.choice(BREAKS)
    breaking(files, chance)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    refused = False
    try:
        read_state(folder, optional={"replay"} if seed % 2 else set())
    except CheckpointError as error:
        refused = True
        require_sentence(error, str(folder), seed)
    except Exception as error:
        raise AssertionError(f"seed {seed}, {breaking.__name__}: {type(error).__name__}: {error}") from error
    if breaking is break_bytes and files != sound:
        assert refused, f"seed {seed}: a change that nobody signed was not noticed"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files, f"seed {seed}: reading wrote"
    return refused


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seeds", [range(400), pytest.param(range(1_000, 21_000), marks=pytest.mark.slow)])
def test_broken_checkpoints(tmp_path: Path, seeds: range) -> None:
    sound = sound_files(tmp_path / "sound")
    refused = sum(try_broken(tmp_path / "broken", sound, seed) for seed in seeds)
    # Where too much is refused at the door, or too little at all, the breaks reach nothing.
    assert 0.6 * len(seeds) < refused < 0.999 * len(seeds)
