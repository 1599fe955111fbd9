"""A broken run folder, or a stranger's: `resume` and `evaluate` say a sentence, run nothing and change nothing."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cartpole_dqn.runs.checkpoint import read_state, write_state
from hostile import Bomb, resign

SETTINGS = {
    "agent": {"learning_starts": 0, "batch_size": 8},
    "evaluation": {"every": 60, "episodes": 1},
    "observer": [{"name": "metrics"}],
}
Break = Callable[[Path], None]
Call = Callable[..., Any]


@pytest.fixture
def folder(trained_once: Callable[..., Path], tmp_path: Path) -> Path:
    """A sound run, to be broken."""
    return Path(shutil.copytree(trained_once(obs="state", steps=60, settings=SETTINGS), tmp_path / "run"))


def tensors(folder: Path) -> list[Path]:
    """The files of weights: a resumed run reads one of them, an evaluation the other."""
    return [path for path in folder.iterdir() if path.name.startswith(("run-", "policy-"))]


def change_bytes(change: Callable[[bytes], bytes], *, signed: bool = False) -> Break:
    def do(folder: Path) -> None:
        for path in tensors(folder):
            path.write_bytes(change(path.read_bytes()))
        if signed:
            resign(folder)

    return do


def change_state(change: Callable[[dict[str, Any], dict[str, torch.Tensor]], None]) -> Break:
    """Write another state in place of the one there, in order: all that is wrong is what it says."""

    def do(folder: Path) -> None:
        meta, parts = read_state(folder)
        before = dict(meta)
        change(meta, parts["policy"]["network"])
        if "run" in parts:
            change(before, parts["run"]["agent"]["online"])
        write_state(folder, parts, meta=meta)

    return do


def spoil(meta: dict[str, Any], weights: dict[str, torch.Tensor]) -> None:
    next(value for name, value in weights.items() if name.endswith("weight")).view(-1)[0] = float("nan")


def plant_bomb(folder: Path) -> None:
    bomb = pickle.dumps(Bomb(folder.parents[1] / "exploded"))
    for name in ("data.pkl", "agent.pt", "model.safetensors", "replay.pickle", "conftest.py", "sitecustomize.py"):
        (folder / name).write_bytes(bomb)
        (folder.parent / name).write_bytes(bomb)
    change_bytes(lambda data: bomb, signed=True)(folder)


def grow(folder: Path) -> None:
    """Files of a tebibyte that take no room, and say of themselves that they are one tensor."""
    size = 1 << 40
    header = json.dumps({"x": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    grown = {}
    for path in tensors(folder):
        path.write_bytes(len(header).to_bytes(8, "little") + header)
        os.truncate(path, 8 + len(header) + size)
        name = path.name.partition("-")[0]
        grown[name] = {"bytes": 8 + len(header) + size, "file": f"{name}-2.safetensors"}
        path.rename(folder / f"{name}-2.safetensors")
    resign(folder, lambda table: [table["parts"][name].update(change) for name, change in grown.items()])


BREAKS: dict[str, tuple[Break, str]] = {
    "truncated": (change_bytes(lambda data: data[:-7]), "bytes where"),
    "larger than memory": (grow, "would take 1.1 TB of memory, but"),
    "NaN weights": (change_state(spoil), "are not finite"),
    "wrong shapes": (
        change_state(lambda _, w: w.update(dict.fromkeys(w, torch.zeros(3, 3)))),
        "the weights do not fit",
    ),
    "an environment that speaks to the terminal": (
        change_state(lambda meta, weights: meta.update(env="\x1b[2J" * 99)),
        "has env '\\x1b[2J",
    ),
    "signed pickle": (plant_bomb, "looks like a pickle"),
}


def content(folder: Path) -> dict[str, bytes | str]:
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(p): p.read_bytes() if p.stat().st_size < 1 << 30 else f"{p.stat().st_size} bytes" for p in paths}


@pytest.mark.parametrize("command", ["resume", "evaluate", "evaluate --last"])
@pytest.mark.parametrize("case", BREAKS)
def test_a_broken_or_hostile_run_gets_a_sentence(case: str, command: str, folder: Path, call: Call) -> None:
    do, words = BREAKS[case]
    do(folder / ("best" if command == "evaluate" else "checkpoint"))
    before = content(folder.parent)
    more = ["--steps", "90", "--plain"] if command == "resume" else ["--episodes", "1"]
    out, err = call(*command.split(), str(folder), *more, code=2)
    assert out == ""
    assert words in err
    assert err.startswith("error: ")
    assert err.rstrip("\n").isprintable()
    assert content(folder.parent) == before
    assert not (folder.parent / "exploded").exists()


def test_what_a_stranger_leaves_beside_a_sound_run_is_never_run(folder: Path, call: Call) -> None:
    exploded = folder.parent / "exploded"
    for place in (folder, folder / "checkpoint", folder / "best"):
        for name in ("data.pkl", "model.pt", "replay.pickle", "plugin.py", "sitecustomize.py", "torch.py"):
            (place / name).write_text(f"import os; os.mkdir({str(exploded)!r})")
    call("evaluate", str(folder), "--episodes", "1")
    call("resume", str(folder), "--steps", "70", "--plain")
    assert not exploded.exists()


def test_a_configuration_of_another_run_is_told(folder: Path, call: Call) -> None:
    text = (folder / "config.toml").read_text()
    for old, new, words in (
        ('"CartPole-v1"', '"CartPole-v0"', "has env 'CartPole-v1', but the run's configuration has 'CartPole-v0'"),
        ("capacity = 50000", "capacity = 40000", "the saved state has capacity 50000, this ring 40000"),
    ):
        (folder / "config.toml").write_text(text.replace(old, new))
        result = call("resume", str(folder), "--steps", "90", "--plain", code=2)
        assert words in result.err


def test_other_versions_than_the_run_began_with_are_told(folder: Path, call: Call) -> None:
    description = json.loads((folder / "environment.json").read_text())
    description["versions"]["torch"] = "2.0.1"
    description["cpu"] = "Abacus"
    (folder / "environment.json").write_text(json.dumps(description))
    _, err = call("resume", str(folder), "--steps", "90", "--plain")
    assert "since this run began: " in err
    assert f"torch 2.0.1 is now {torch.__version__.partition('+')[0]}" in err
    assert "cpu Abacus is now " in err
    for text in (None, "[" * 100_000, json.dumps({"versions": {"torch": "\x1b[2J"}, "cpu": [1]})):
        if text is not None:
            (folder / "environment.json").write_text(text)
        _, err = call("resume", str(folder), "--steps", "100", "--plain")
        assert "since this run began" not in err
