"""`run --init-from`, typed; and the same from Python."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cartpole_dqn.api import train
from cartpole_dqn.errors import ConfigError
from cartpole_dqn.runs.checkpoint import read_state
from cartpole_dqn.runs.folder import RunFolder
from cartpole_dqn.runs.saved import InitialWeights

Call = Callable[..., Any]
QUICK = ("--obs", "state", "--plain", "--set", "evaluation.every=0", "--set", "observer=[]")
SETTINGS: dict[str, Any] = {"evaluation": {"every": 0}, "observer": []}


@pytest.fixture(scope="module")
def trained(trained_once: Callable[..., Path]) -> Path:
    return trained_once(obs="state", steps=30, seed=4, settings=SETTINGS)


@pytest.fixture
def runs(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained, tmp_path / "runs" / "mine")
    return tmp_path / "runs"


def test_a_run_says_where_it_starts(call: Call, runs: Path) -> None:
    said = call("run", *QUICK, "--steps", "5", "--init-from", "latest", "--init-last", "--out", "runs/next")
    assert said.code == 0, said.err
    assert said.err.startswith("starting from the weights of mine (last, trained for 30 steps).\n")
    assert InitialWeights.kept(RunFolder(runs / "next")).run == "mine"
    said = call("run", "--config", "runs/next/config.toml", "--plain", "--out", "runs/again")
    assert said.code == 0, said.err
    assert said.err.startswith("starting from the weights of mine (last, trained for 30 steps).\n")
    assert (runs / "again" / "config.toml").read_text() == (runs / "next" / "config.toml").read_text()
    # An explicit --init-from takes the place of all that the file says.
    options = ["--config", "runs/next/config.toml", "--init-from", "runs/next", "--plain", "--out", "runs/third"]
    assert call("run", *options).err.startswith("starting from the weights of next (last, trained for 5 steps).\n")


def test_bad_input_gets_a_sentence(refused: Callable[..., None], runs: Path) -> None:
    for options, words in (
        (["--init-from", "nobody"], "error: init.run: 'nobody' is no run"),
        (["--init-last"], "error: --init-last needs --init-from RUN."),
        (["--init-from", "mine", "--set", "agent.network.hidden=[3]"], "the model of mine does not fit this run"),
        (["--set", "init.run=mine", "--set", "init.which=worst"], "init.which: expected 'best' or 'last'"),
        (["--set", "init.rum=mine"], "unknown option init.rum. Did you mean 'run'?"),
    ):
        refused(words, "run", *QUICK, "--steps", "5", "--out", "x", *options)


def test_it_is_a_setting_like_others(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs.parent)
    run = train(obs="state", steps=3, out="a", settings={**SETTINGS, "init": {"run": "mine"}}, plain=True)
    assert run.config.init.run == "mine"
    _, parts = read_state(run.folder.checkpoint, parts=["run"])
    kept = InitialWeights.kept(run.folder)
    for name, weights in kept.policy["network"].items():
        assert (parts["run"]["agent"]["online"][name] == weights).all()  # in three steps nothing is learned
    shutil.rmtree(runs / "mine")
    again = train(config="a/config.toml", out="b", plain=True)
    assert InitialWeights.kept(again.folder).checksum == kept.checksum
    with pytest.raises(ConfigError, match=r"init\.run: 'mine' is no run"):
        train(obs="state", steps=3, out="c", settings={**SETTINGS, "init": {"run": "mine"}}, plain=True)
