"""`report`, typed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Call = Callable[..., Any]


@pytest.fixture(scope="module")
def trained(trained_once: Callable[..., Path]) -> Path:
    settings = {"evaluation": {"every": 20, "episodes": 2}, "observer": [{"name": "metrics"}]}
    return trained_once(obs="state", steps=60, settings=settings)


def test_it_writes_into_the_runs_folder_unless_told_otherwise(call: Call, runs: Path) -> None:
    result = call("report", "latest", "--episodes", 2)
    assert (result.out, result.err) == ("runs/mine/report.html\n", "")
    page = Path("runs/mine/report.html").read_text()
    assert "best model of step" in page
    assert "image/gif" in page
    assert "cartpole-dqn resume runs/mine" in page
    result = call("report", "mi", "--out", "x.html", "--episodes", 3, "--seed", 5, "--last", "--no-animation")
    assert result.out == "x.html\n"
    page = " ".join(Path("x.html").read_text().split())
    assert "The last model, trained for 60 steps, played 3 episodes" in page
    assert "3 episodes on held-out seeds (--seed 5), without random actions" in page
    assert "image/gif" not in page


def test_nothing_is_played_where_nothing_is_asked_for(call: Call, runs: Path) -> None:
    shutil.rmtree(runs / "mine" / "best")
    shutil.rmtree(runs / "mine" / "checkpoint")
    result = call("report", "mine", "--episodes", 0, "--no-animation")
    assert result.err == ""


def test_a_run_of_a_plugin_that_is_not_here_has_a_page(call: Call, runs: Path) -> None:
    config = runs / "mine" / "config.toml"
    config.write_text(config.read_text().replace('name = "uniform"', 'name = "elsewhere"'))
    result = call("report", "mine")
    assert result.err.startswith("missing: The configuration cannot be used here: unknown replay 'elsewhere'.")
    page = Path("runs/mine/report.html").read_text()
    assert "What is missing on this page" in page
    assert "elsewhere" in page
    assert "<h2>Curves</h2>" in page
