"""`runs`, typed: as text, on a terminal, as JSON, and with folders that are broken."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cartpole_dqn.cli.runs import _row
from cartpole_dqn.runs.catalogue import RunSummary

WriteRun = Callable[..., Path]


@pytest.fixture
def some_runs(write_run: WriteRun, tmp_path: Path) -> Path:
    now = time.time()
    for age, name in ((7_300, "CartPole-v1-state-20251121-150801"), (40, "new"), (90_000, "old")):
        best = [200] if name != "old" else []
        folder = write_run(f"runs/{name}", seed=age, sets=["steps=700"], evaluations={200: [31.25]}, best=best)
        os.utime(folder / "config.toml", (now - age, now - age))
    (tmp_path / "runs" / "broken").mkdir()
    (tmp_path / "runs" / "broken" / "config.toml").write_text("x = [")
    os.utime(tmp_path / "runs" / "broken" / "config.toml", (1e9, 1e9))
    return tmp_path


def test_runs_are_listed_as_text_where_there_is_no_terminal(call: Callable[..., Any], some_runs: Path) -> None:
    result = call("runs")
    lines = result.out.splitlines()
    assert lines[0].split("  ")[0] == "run"
    cells = [line.split() for line in lines[1:]]
    assert [row[0] for row in cells] == ["new", "CartPole-v1-state-20251121-150801", "old", "broken"]
    assert " ".join(cells[0][1:-2]) == "CartPole-v1 state state done 40 300 of 700 31.2 - -"
    assert cells[0][-1] == "s"
    assert " ".join(cells[1][-2:]) == "2 h"
    assert " ".join(cells[2][-4:]) == "- - 1 d"
    assert cells[3][:5] == ["broken", "-", "-", "-", "broken"]
    assert "runs/broken/config.toml is not valid TOML" in result.err
    assert len({line.index("CartPole-v1  state") for line in lines[1:4]}) == 1, "aligned"


def test_a_run_that_is_solved_says_so() -> None:
    run = RunSummary(name="r", path=Path("r"), state="done", steps=9000, step=5000, best=499.2, solved_step=5000)
    assert "SOLVED" in _row(run, 0.0)
    assert "SOLVED" not in _row(dataclasses.replace(run, state="running"), 0.0)
    assert "SOLVED" not in _row(dataclasses.replace(run, solved_step=None), 0.0)


def test_runs_as_json(call: Callable[..., Any], some_runs: Path) -> None:
    listed = json.loads(call("runs", some_runs / "runs", "--json").out)
    assert [run["name"] for run in listed] == ["new", "CartPole-v1-state-20251121-150801", "old", "broken"]
    first = listed[0]
    assert (first["env"], first["obs"], first["preset"], first["seed"]) == ("CartPole-v1", "state", "state", 40)
    assert (first["step"], first["steps"], first["best"], first["best_step"]) == (300, 700, 31.25, 200)
    assert 39 <= first["age_seconds"] <= 100
    assert first["started"].endswith("+00:00")
    assert Path(first["path"]) == some_runs / "runs" / "new"
    assert listed[3]["state"] == "broken"
    assert "not valid TOML" in listed[3]["problem"]


def test_where_no_run_is(call: Callable[..., Any], write_run: WriteRun, tmp_path: Path) -> None:
    result = call("runs")
    assert result.out == ""
    assert result.err == "There is no run in runs/. `cartpole-dqn run` makes one in runs/.\n"
    assert call("runs", "--json").out == "[]\n"
    write_run("benchmarks/pixels/seed-0")
    result = call("runs", "benchmarks")
    assert result.err == "There is no run in benchmarks/, but in benchmarks/pixels.\n"
    assert call("runs", "benchmarks/pixels").out.splitlines()[1].startswith("seed-0 ")
    for wrong in ("nowhere", "benchmarks/pixels/seed-0/config.toml"):
        result = call("runs", wrong, code=2)
        assert result.err.startswith(f"error: the runs in {wrong} cannot be listed: ")


def test_runs_on_a_terminal_keep_their_rows(
    call: Callable[..., Any], some_runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A narrow terminal loses columns, not the rows' shape; NO_COLOR is heard."""

    def shown(width: int, **environment: str) -> str:
        for name, value in {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": str(width), **environment}.items():
            monkeypatch.setenv(name, value)
        return str(call("runs").out)

    wide = shown(140, NO_COLOR="1")
    assert "solved at" in wide
    assert "\x1b[3" not in wide, "bold is no colour"
    monkeypatch.delenv("NO_COLOR")
    narrow = shown(80)
    assert "solved at" not in narrow
    assert "preset" not in narrow
    row = next(line for line in narrow.splitlines() if "20251121-150801" in line)
    assert "CartPole-v1-state-20251121-150801" in row
    assert "2 h" in row
    assert "\x1b[31m" in narrow, "what is broken is red"


@pytest.mark.parametrize(
    ("arguments", "absent"),
    [
        (["runs"], ["torch", "gymnasium", "matplotlib", "pygame"]),
        (["plot", "new"], ["torch"]),  # Gymnasium knows what counts as solved.
        (["compare", "new", "old"], ["torch", "gymnasium", "matplotlib"]),
    ],
)
@pytest.mark.process
def test_looking_imports_nothing_heavy(some_runs: Path, arguments: list[str], absent: list[str]) -> None:
    code = (
        "import sys; from cartpole_dqn.cli import main\n"
        f"try: main()\nfinally: print([m for m in {absent!r} if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=some_runs, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert len(done.stdout.splitlines()) >= 2, "and it did its work"
