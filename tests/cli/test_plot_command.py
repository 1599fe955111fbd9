"""`plot`, typed: which picture goes where, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

WriteRun = Callable[..., Path]
LR = "agent.optimiser.lr=0.01"


@pytest.fixture
def runs(write_run: WriteRun, tmp_path: Path) -> Path:
    for seed in range(2):
        write_run(f"runs/a{seed}", seed=seed, returns=range(30), evaluations={1000: [3, 5]}, best=[1000])
    write_run("runs/b0", sets=[LR], returns=range(20))
    return tmp_path / "runs"


def words_in(path: Path) -> list[str]:
    return re.findall(r"<!-- (.*?) -->", path.read_text())


def test_one_run_has_its_own_curve(call: Callable[..., Any], runs: Path) -> None:
    result = call("plot", "a0")
    assert result.out == "runs/a0/curve.png\n"
    assert Image.open(runs / "a0" / "curve.png").format == "PNG"
    result = call("plot", "b", "--out", "b.svg", "--x", "episodes", "--title", "Mine")
    assert result.out == "b.svg\n"
    assert {"Mine", "episodes"} <= set(words_in(Path("b.svg")))
    assert "dqn on CartPole-v1, state, preset state, seed 0" not in words_in(Path("b.svg"))


def test_both_themes_are_two_pictures(call: Callable[..., Any], runs: Path) -> None:
    result = call("plot", "a0", "a1", "--theme", "both")
    assert result.out == "curves.png\ncurves-dark.png\n", "where several runs go by default"
    corners = [Image.open(name).convert("RGB").getpixel((0, 0)) for name in result.out.split()]
    assert corners == [(255, 255, 255), (0x15, 0x19, 0x1E)]


def test_groups_by_default_and_as_asked(call: Callable[..., Any], runs: Path) -> None:
    call("plot", "runs", "--out", "x.svg")
    assert {"lr=0.002 (2 runs)", "lr=0.01 (1 run)", "dqn on CartPole-v1, state"} <= set(words_in(Path("x.svg")))
    call("plot", "b0", "a0", "--out", "x.svg", "--group-by", "run")
    assert {"b0 (1 run)", "a0 (1 run)"} <= set(words_in(Path("x.svg")))
    call("plot", "runs", "--out", "x.svg", "--group-by", "env,obs", "--group-by", "n_step")
    assert "env=CartPole-v1, obs=state, n_step=5 (3 runs)" in words_in(Path("x.svg"))


def test_runs_that_differ_only_in_where_they_end_are_one_group(
    call: Callable[..., Any], write_run: WriteRun, runs: Path
) -> None:
    write_run("runs/c0", seed=9, sets=["steps=777", "evaluation.until_solved=true"], returns=range(10))
    call("plot", "runs", "--out", "x.svg")
    assert {"lr=0.002 (3 runs)", "lr=0.01 (1 run)"} <= set(words_in(Path("x.svg")))
    call("plot", "runs", "--out", "x.svg", "--group-by", "steps")
    assert "steps=777 (1 run)" in words_in(Path("x.svg"))


def test_a_damaged_line_costs_no_run_its_place(call: Callable[..., Any], runs: Path) -> None:
    with (runs / "b0" / "metrics.jsonl").open("a") as file:
        file.write("x\n")
    lines = len((runs / "b0" / "metrics.jsonl").read_text().splitlines())
    for command in (["plot", "a0", "b0", "--out", "x.svg"], ["compare", "a0", "b0"]):
        result = call(*command)
        assert result.err == f"runs/b0/metrics.jsonl: line {lines} is damaged and left out.\n"


def test_a_broken_run_in_a_folder_is_left_out_but_not_when_it_is_named(call: Callable[..., Any], runs: Path) -> None:
    (runs / "b0" / "metrics.jsonl").write_text("x\n")
    result = call("plot", "runs", "--out", "x.svg")
    assert "left out: runs/b0/metrics.jsonl is not what the observer 'metrics' writes" in result.err
    result = call("plot", "a0", "b0", "--out", "x.svg", code=2)
    assert result.err.startswith("error: runs/b0/metrics.jsonl is not what")
    for run in ("a0", "a1"):
        (runs / run / "config.toml").write_text("= x")
    result = call("plot", "runs", "--out", "x.svg", code=2)
    assert result.err.endswith("error: none of the 3 runs there can be read.\n")
