"""`export`, typed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Call = Callable[..., Any]


def test_export_writes_the_file_and_says_how_it_compares(call: Call, trained: Path, tmp_path: Path) -> None:
    said = call("export", trained, "--out", "play.pt2", "--episodes", "2", "--seed", 3)
    assert (said.code, said.out) == (0, "play.pt2\n"), said.err
    assert (tmp_path / "play.pt2").read_bytes()[:2] == b"PK"
    assert said.err.splitlines()[0] == "input observation: now"
    assert "mean return of 2 episodes: agent " in said.err


def test_what_is_left_out_is_said(call: Call, trained_once: Callable[..., Path]) -> None:
    chain = [{"wrapper": "stack", "stack_size": 2, "padding_type": "zero"}, {"wrapper": "flatten"}]
    settings = {"evaluation": {"every": 0}, "observer": [], "observation": chain}
    run = trained_once(obs="state", steps=40, settings=settings)
    said = call("export", run, "--format", "torch", "--out", "x", "--episodes", "1")
    assert said.code == 0, said.err
    assert said.err.splitlines()[0] == (
        "FrameStackObservation is not in the file, which begins with its observations: padding_type 'zero' fills in "
        "what was never observed."
    )


def test_bad_input(refused: Callable[..., None], trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused("'nobody' is no run", "export", "nobody")
    refused("--format onx: expected onnx or torch. Did you mean 'onnx'?", "export", trained, "--format", "onx")
    refused("no/x.pt2 cannot be written: there is no folder no.", "export", trained, "--out", "no/x.pt2")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    refused("pip install 'cartpole-dqn[export]'", "export", trained)
