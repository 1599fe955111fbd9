"""`run --init-from`, typed; and the same from Python."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cartpole_dqn.api import load, train
from cartpole_dqn.runs.folder import RunFolder
from cartpole_dqn.runs.saved import InitialWeights

Call = Callable[..., Any]
QUICK = ("--obs", "state", "--plain", "--set", "evaluation.every=0", "--set", "observer=[]")
SETTINGS: dict[str, Any] = {"evaluation": {"every": 0}, "observer": []}


def test_a_run_says_where_it_starts(call: Call, runs: Path) -> None:
    said = call("run", *QUICK, "--steps", "5", "--init-from", "latest", "--init-last", "--out", "runs/next")
    assert said.code == 0, said.err
    assert said.err.startswith("starting from the weights of mine (last, trained for 40 steps).\n")
    assert InitialWeights.kept(RunFolder(runs / "next")).run == "mine"
    said = call("run", "--config", "runs/next/config.toml", "--plain", "--out", "runs/again")
    assert said.code == 0, said.err
    assert said.err.startswith("starting from the weights of mine (last, trained for 40 steps).\n")
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


def test_python_takes_a_run(runs: Path) -> None:
    given = load(runs / "mine")
    run = train(obs="state", steps=3, out=runs / "next", init_from=given, init_last=True, settings=SETTINGS, plain=True)
    assert (run.config.init.run, run.config.init.which, run.config.init.step) == ("mine", "last", 40)
