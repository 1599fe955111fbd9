"""`share` and `export`, typed, and shared agents given to the commands that take a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Call = Callable[..., Any]


@pytest.fixture
def shared(call: Call, runs: Path, tmp_path: Path) -> Path:
    result = call("share", "latest", "--out", "given", "--episodes", 20, "--record-steps", 0)
    assert result.out == "given\n"
    assert "left out: the curve: " in result.err
    assert "episodes on held-out seeds (--seed 0); " in result.err
    return tmp_path / "given"


def claim(folder: Path, **changes: float) -> None:
    table = json.loads((folder / "shared.json").read_text())
    table["score"].update(changes)
    (folder / "shared.json").write_text(json.dumps(table))


def test_commands_take_it_as_a_run(call: Call, shared: Path) -> None:
    for given in ("given", "given.zip"):
        result = call("evaluate", given, "--episodes", 20)
        assert any(line.startswith("The claimed score (mean ") for line in result.out.splitlines())
        assert result.out.endswith("20 episodes on held-out seeds (--seed 0)) holds.\n")
        result = call("record", given, "--max-steps", 3, "--no-side-by-side")
        assert Path(result.out.strip()) == Path("given/record.gif" if given == "given" else "given-record.gif")
        assert Path(result.out.strip()).exists()
        start = ("--init-from", given, "--set", "evaluation.every=0", "--set", "observer=[]")
        result = call("run", "--config", "given/config.toml", *start, "--steps", 5, "--out", f"from-{given}", "--plain")
        assert result.err.startswith("starting from the weights of given (best, trained for 40 steps).\n")
        result = call("report", given, "--episodes", 1, "--last", "--no-animation", "--out", "x.html")
        assert ": given holds only its best model" in result.err, "without the place where a zip is unpacked"


def test_evaluate_says_that_a_claim_does_not_hold(call: Call, shared: Path) -> None:
    claim(shared, mean=500.0, low=500.0, high=500.0, std=0.0)
    result = call("evaluate", "given", "--episodes", 20, code=1)
    assert ") does not hold: here the interval is " in result.out
    result = call("evaluate", "given", "--episodes", 20, "--json", code=1)
    assert json.loads(result.out)["claimed"]["holds"] is False
    result = call("evaluate", "given", "--episodes", 2)
    assert result.out.endswith(") cannot be judged from 2 episodes.\n")
    claim(shared, mean=5.0, low=5.0, high=5.0, std=0.0)
    call("evaluate", "given", "--episodes", 20, "--json")


def test_what_it_cannot_do_gets_a_sentence(refused: Callable[..., None], shared: Path) -> None:
    for given in ("given", "given.zip"):
        refused("given is a shared agent, which has no checkpoint to resume from", "resume", given, "--plain")
        refused("given holds only its best model. Leave out --last.", "evaluate", given, "--last")
    refused("given.zip exists. Choose another --out.", "share", "mine", "--out", "given")
    refused("--out .: expected a folder's name, since NAME.zip is written beside it.", "share", "mine", "--out", ".")
    refused("it holds no sweep.toml. It is a run: `cartpole-dqn resume runs/mine`", "sweep", "--resume", "runs/mine")
    refused("runs/mine: Is a directory. Did you mean 'runs/mine/config.toml'?", "run", "--config", "runs/mine")


def test_each_command_refuses_one_that_names_code(refused: Callable[..., None], shared: Path) -> None:
    text = (shared / "config.toml").read_text()
    (shared / "config.toml").write_text(text.replace('id = "CartPole-v1"', 'id = "antigravity:CartPole-v1"'))
    for command in ("evaluate", "watch", "record", "report", "share --out x", "run --obs state --init-from"):
        refused("names code to import, env.id = 'antigravity:CartPole-v1'", *command.split(), "given")


def test_the_schema_is_printed(call: Call) -> None:
    result = call("presets", "schema")
    assert json.loads(result.out)["properties"]["agent"]["$ref"] == "#/definitions/agent"


def test_export_writes_the_file_and_says_how_it_compares(call: Call, trained: Path, tmp_path: Path) -> None:
    result = call("export", trained, "--out", "play.pt2", "--episodes", "2", "--seed", 3)
    assert result.out == "play.pt2\n"
    assert (tmp_path / "play.pt2").read_bytes()[:2] == b"PK"
    assert result.err.splitlines()[0] == "input observation: now"
    assert "mean return of 2 episodes: agent " in result.err
