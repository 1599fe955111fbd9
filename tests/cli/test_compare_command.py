"""`compare`, typed: written runs for figures that are known, real short runs for models that are played."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

WriteRun = Callable[..., Path]
LR = "agent.optimiser.lr=0.01"


@pytest.fixture
def runs(write_run: WriteRun, tmp_path: Path) -> Path:
    for seed in range(3):
        confirmations = {200: ([480.0 + seed], True)} if seed else {}
        evaluations = {200: [490.0], 300: [300.0 + seed]}
        write_run(f"runs/a{seed}", seed=seed, evaluations=evaluations, confirmations=confirmations, best=[200])
        write_run(f"runs/b{seed}", seed=seed, sets=[LR], evaluations={300: [20.0 + seed]}, best=[300])
    return tmp_path / "runs"


@pytest.fixture(scope="session")
def real_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two real runs of some hundred steps, with models."""
    from cartpole_dqn import train

    root = tmp_path_factory.mktemp("real")
    for seed in range(2):
        settings = {"evaluation": {"every": 100, "episodes": 2}, "agent": {"learning_starts": 0, "batch_size": 8}}
        train(obs="state", steps=200, seed=seed, out=root / f"r{seed}", settings=settings, plain=True)
    return root


def test_forms_and_where_they_go(call: Callable[..., Any], runs: Path) -> None:
    markdown = call("compare", "runs", "--format", "markdown").out
    assert "| lr=0.002 | 3 | 484.3 [481.0, 490.0] | 481.0 |" in markdown
    table = json.loads(call("compare", "runs", "--format", "json", "--score", "last").out)
    assert (table["score"], [group["runs"] for group in table["groups"]]) == ("last", [3, 3])
    assert call("compare", "runs", "--out", "x.md").out == "x.md\n"
    assert Path("x.md").read_text() == markdown
    call("compare", "runs", "--out", "x.json", "--score", "last")
    assert json.loads(Path("x.json").read_text()) == table
    call("compare", "runs", "--out", "x.txt")
    assert Path("x.txt").read_text() == call("compare", "runs").out
    call("compare", "runs", "--out", "x.json", "--format", "markdown")
    assert Path("x.json").read_text() == markdown, "what is asked for comes before the suffix"


def test_models_are_played_on_report_seeds(call: Callable[..., Any], real_runs: Path) -> None:
    arguments = ["compare", real_runs, "--format", "json"]
    kept = json.loads(call(*arguments).out)
    assert (kept["source"], [run["last"]["episodes"] for run in kept["runs"]]) == ("metrics", [2, 2])
    result = call(*arguments, "--episodes", "4", "--seed", "3")
    assert "r1, best model (2 of 2)" in result.err
    played = json.loads(result.out)
    assert played["source"] == "played"
    for run in played["runs"]:
        for which, flag in (("best", []), ("last", ["--last"])):
            alone = call("evaluate", run["path"], "--episodes", "4", "--seed", "3", "--json", *flag)
            report = json.loads(alone.out)
            expected = {"episodes": 4, "mean": report["mean"], "std": report["std"], "lowest": report["min"]}
            assert run[which] == pytest.approx(expected)
