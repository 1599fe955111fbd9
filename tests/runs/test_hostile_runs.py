"""A broken run folder, or a stranger's: `resume` and `evaluate` say a sentence, run nothing and change nothing."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cartpole_dqn import cli
from cartpole_dqn.runs.checkpoint import read_state, write_state
from hostile import Bomb, resign

SETTINGS = ["agent.learning_starts=0", "agent.batch_size=8", "evaluation.every=60", "evaluation.episodes=1"]
RUN = ["run", "--obs", "state", "--steps", "60", "--plain", *(word for text in SETTINGS for word in ("--set", text))]
Break = Callable[[Path], None]


def call(*arguments: str) -> int:
    """Run the command line in this process; return its exit code."""
    before, sys.argv = sys.argv, ["cartpole-dqn", *arguments]
    try:
        cli.main()
    except SystemExit as left:
        return int(left.code or 0)
    finally:
        sys.argv = before
    return 0


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound") / "run"
    assert call(*RUN, "--out", str(folder)) == 0
    return folder


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


def first_of(weights: dict[str, torch.Tensor]) -> str:
    return next(name for name in weights if name.endswith("weight"))


def widen(meta: dict[str, Any], weights: dict[str, torch.Tensor]) -> None:
    weights[first_of(weights)] = torch.zeros(3, 3)


def spoil(value: float) -> Callable[[dict[str, Any], dict[str, torch.Tensor]], None]:
    return lambda meta, weights: weights[first_of(weights)].view(-1)[:1].fill_(value)


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
    "wrong shapes": (change_state(widen), "the weights do not fit"),
    "NaN weights": (change_state(spoil(float("nan"))), "are not finite"),
    "other environment": (
        change_state(lambda meta, weights: meta.update(env="Acrobot-v1")),
        "has env 'Acrobot-v1'",
    ),
    "an environment that speaks to the terminal": (
        change_state(lambda meta, weights: meta.update(env="\x1b[2J" * 99)),
        "has env '\\x1b[2J",
    ),
    "signed pickle": (plant_bomb, "looks like a pickle"),
}


def content(folder: Path) -> dict[str, bytes | str]:
    found: dict[str, bytes | str] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            found[str(path)] = str(path.readlink())
        elif path.is_file() and path.name != ".lock":
            found[str(path)] = path.read_bytes() if path.stat().st_size < 1 << 30 else f"{path.stat().st_size} bytes"
    return found


@pytest.mark.parametrize("command", ["resume", "evaluate", "evaluate --last"])
@pytest.mark.parametrize("case", BREAKS)
def test_a_broken_or_hostile_run_gets_a_sentence(
    case: str, command: str, sound: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    do, words = BREAKS[case]
    folder = Path(shutil.copytree(sound, tmp_path / "run"))
    do(folder / ("best" if command == "evaluate" else "checkpoint"))
    before = content(tmp_path)
    more = ["--steps", "90", "--plain"] if command == "resume" else ["--episodes", "1"]
    capfd.readouterr()
    code = call(*command.split(), str(folder), *more)
    said = capfd.readouterr()
    assert code == 2, said.err
    assert said.out == ""
    assert words in said.err
    assert said.err.startswith("error: ")
    assert "Traceback" not in said.err
    assert said.err.rstrip("\n").isprintable()
    assert content(tmp_path) == before
    assert not (tmp_path / "exploded").exists()


def test_what_a_stranger_leaves_beside_a_sound_run_is_never_run(sound: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(sound, tmp_path / "run"))
    for place in (folder, folder / "checkpoint", folder / "best"):
        for name in ("data.pkl", "model.pt", "replay.pickle", "plugin.py", "sitecustomize.py", "torch.py"):
            (place / name).write_text(f"import os; os.mkdir({str(tmp_path / 'exploded')!r})")
    assert call("evaluate", str(folder), "--episodes", "1") == 0
    assert call("resume", str(folder), "--steps", "70", "--plain") == 0
    assert not (tmp_path / "exploded").exists()


def test_a_configuration_of_another_run_is_told(sound: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = Path(shutil.copytree(sound, tmp_path / "run"))
    text = (folder / "config.toml").read_text()
    (folder / "config.toml").write_text(text.replace('id = "CartPole-v1"', 'id = "CartPole-v0"'))
    assert call("resume", str(folder), "--steps", "90", "--plain") == 2
    assert "has env 'CartPole-v1', but the run's configuration has 'CartPole-v0'" in capfd.readouterr().err
    (folder / "config.toml").write_text(text.replace("capacity = 50000", "capacity = 40000"))
    assert call("resume", str(folder), "--steps", "90", "--plain") == 2
    assert "the saved state has capacity 50000, this ring 40000" in capfd.readouterr().err


def test_other_versions_than_the_run_began_with_are_told(
    sound: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(sound, tmp_path / "run"))
    described = json.loads((folder / "environment.json").read_text())
    described["versions"]["torch"] = "2.0.1"
    described["cpu"] = "Abacus"
    (folder / "environment.json").write_text(json.dumps(described))
    assert call("resume", str(folder), "--steps", "90", "--plain") == 0
    said = capfd.readouterr().err
    assert "since this run began: " in said
    assert f"torch 2.0.1 is now {torch.__version__.partition('+')[0]}" in said
    assert "cpu Abacus is now " in said
    assert call("resume", str(folder), "--steps", "100", "--plain") == 0
    assert "since this run began" not in capfd.readouterr().err
    odd = json.dumps({"versions": {"torch": "\x1b[2J"}, "cpu": [1]})
    for text in ("", "[]", "[" * 100_000, '{"versions": 3}', odd):
        (folder / "environment.json").write_text(text)
        assert call("resume", str(folder), "--steps", "100", "--plain") == 0
        assert "since this run began" not in capfd.readouterr().err
