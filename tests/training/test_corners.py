"""Odd uses: settings that never learn, a folder that is moved, a resume with nothing to do, a failing close()."""

from __future__ import annotations

import io
import json
import signal
import time
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from rich.console import Console

from cartpole_dqn.api import load, train
from cartpole_dqn.envs.guard import Guard
from cartpole_dqn.errors import ConfigError, RunError
from cartpole_dqn.plugin.host import load_plugins
from cartpole_dqn.runs.folder import RunFolder, run_state
from cartpole_dqn.system import Steady, stopping_on_signals
from cartpole_dqn.training.assembly import assemble
from cartpole_dqn.training.resolve import resolve_config

HOST = load_plugins(allowed=())


def assembled(steps: int, capacity: int, learning_starts: int) -> tuple[Any, io.StringIO]:
    agent = {"replay": {"capacity": capacity}, "learning_starts": learning_starts, "batch_size": 8}
    flags = {"obs": "state", "steps": steps, "agent": agent, "evaluation": {"every": 0}, "observer": []}
    output = io.StringIO()
    console = Console(file=output, width=1000)
    config = resolve_config(HOST, flags=flags)[0]
    return assemble(config, HOST, folder=None, console=console, clock=time.perf_counter), output


def test_a_full_replay_is_enough_to_learn_from() -> None:
    # Ends of episodes take slots: never 100 at once.
    run, output = assembled(steps=300, capacity=100, learning_starts=100)
    run.runner.run()
    assert run.agent.status()["updates"] > 0
    assert output.getvalue() == ""


def test_an_agent_that_could_never_learn_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"needs 200 transitions.*has room for 100"):
        assembled(steps=300, capacity=100, learning_starts=200)


def test_a_run_that_ends_before_it_learns_says_so_before_and_after() -> None:
    run, output = assembled(steps=30, capacity=1000, learning_starts=200)
    assert "no update will be made: agent dqn begins to learn at step 200" in output.getvalue()
    run.runner.run()
    assert "no update was made in 30 steps" in output.getvalue()


def test_a_folder_that_was_moved_is_not_made_again(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "a", env_id="x", obs="y")
    with folder.lock():
        folder.require_in_place()
        folder.path.rename(tmp_path / "b")
        with pytest.raises(RunError, match="moved or deleted"):
            folder.require_in_place()
        folder.write_status("failed", 3)
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / ".lock").write_text("1\n")  # another run
        assert not folder.in_place
        folder.write_status("failed", 3)
    assert run_state(tmp_path / "a").state == "unknown"


def test_a_folder_that_is_moved_while_it_is_written_to_is_said_to_be(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "a", env_id="x", obs="y")
    with folder.lock():
        folder.config.mkdir()
        with pytest.raises(RunError, match=r"config\.toml could not be written"), folder.written_in_place():
            folder.write_config("")
        with pytest.raises(RunError, match="moved or deleted"), folder.written_in_place():  # noqa: PT012
            folder.path.rename(tmp_path / "b")
            folder.write_config("")


def test_a_resume_with_nothing_to_do_changes_nothing_and_numpy_integers_are_seeds(tmp_path: Path) -> None:
    settings = {"evaluation": {"every": 0}}
    run = train(obs="state", steps=60, seed=np.int64(3), settings=settings, out=tmp_path / "r", plain=True)  # type: ignore[arg-type]
    before = {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file() and p.name != ".lock"}
    assert load(run.path).resume(40, plain=True).config.steps == 60
    assert {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file() and p.name != ".lock"} == before


def test_a_run_killed_between_its_last_checkpoint_and_its_end_is_ended_by_resume(tmp_path: Path) -> None:
    settings = {"agent": {"learning_starts": 20, "batch_size": 8}, "evaluation": {"every": 20, "episodes": 1}}
    run = train(obs="state", steps=40, seed=1, settings=settings, out=tmp_path / "r", plain=True)
    metrics = run.path / "metrics.jsonl"
    whole = metrics.read_text().splitlines(keepends=True)
    assert json.loads(whole[-1])["event"] == "run_ended"
    metrics.write_text("".join(whole[:-1]))
    (run.path / "status.json").write_text(json.dumps({"state": "running", "step": 0}))
    assert run_state(run.path).state == "killed"

    load(run.path).resume(plain=True)
    assert run_state(run.path).state == "done"
    ended = metrics.read_text().splitlines(keepends=True)
    assert ended[:-1] == [line for line in whole[:-1] if json.loads(line)["event"] != "checkpoint"]
    assert {**json.loads(ended[-1]), "checkpoint_seconds": 0} == {**json.loads(whole[-1]), "checkpoint_seconds": 0}


def test_a_close_that_raises_is_said_once() -> None:
    class Closes(gymnasium.Wrapper[Any, Any, Any, Any]):
        def close(self) -> None:
            raise AttributeError("no screen, here")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            Guard(Closes(gymnasium.make("CartPole-v1"))).close()
    assert ["no screen, here" in str(warning.message) for warning in caught] == [True]


def test_a_stream_without_a_reader_is_dropped() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    stream = Steady(Gone())
    assert (stream.write("abc"), stream.write("d")) == (3, 1)
    assert isinstance(stream.error, BrokenPipeError)


def test_a_first_signal_asks_and_ctrl_c_after_it_interrupts() -> None:
    asked: list[str] = []
    before = signal.getsignal(signal.SIGINT)
    with stopping_on_signals(asked.append):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert asked == ["SIGINT", "SIGTERM"]
    assert signal.getsignal(signal.SIGINT) == before


def test_a_signal_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with stopping_on_signals(lambda name: None):
            assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
            assert signal.getsignal(signal.SIGINT) != signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)
