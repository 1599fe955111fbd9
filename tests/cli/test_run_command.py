"""The commands as a user types them; most of them in this process, terminals in processes of their own."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

import forked
from cartpole_dqn.api import load, train
from cartpole_dqn.cli.app import app
from cartpole_dqn.cli.session import Session
from cartpole_dqn.cli.train import _say_next
from cartpole_dqn.config.schema import parse_toml
from cartpole_dqn.contracts.events import Progress, RunEnded
from cartpole_dqn.runs.folder import RunFolder, RunStatus, run_state
from cartpole_dqn.runs.saved import InitialWeights
from waiting import until

Invoke = Callable[..., Any]

QUICK = ["--set", "agent.learning_starts=0", "--set", "agent.batch_size=8", "--plain"]


@pytest.mark.parametrize(("text", "steps"), [("150", 150), ("1e4", 10_000), ("2.5e3", 2_500), ("20_000", 20_000)])
def test_steps_may_be_written_as_powers_of_ten(text: str, steps: int) -> None:
    command: Any = typer.main.get_command(app).get_command(None, "run")  # type: ignore[attr-defined, arg-type]
    assert command.make_context("run", ["--steps", text]).params["steps"] == steps


def test_a_run_leaves_its_folder(call: Invoke, tmp_path: Path) -> None:
    result = call("run", "--obs", "state", "--steps", "150", "--out", "r", "--set", "evaluation.every=100", *QUICK)
    assert result.out == "r\n", "results on stdout, everything else on stderr"
    assert "see it play: cartpole-dqn record r" in result.err
    files = {p.name for p in (tmp_path / "r").iterdir()}
    expected = {"config.toml", "metrics.csv", "metrics.jsonl", "curve.png", "checkpoint", "best", "environment.json"}
    assert expected <= files
    config = parse_toml((tmp_path / "r" / "config.toml").read_text(), "config")
    assert config["steps"] == 150
    assert config["agent"]["replay"]["capacity"] == 50_000
    environment = json.loads((tmp_path / "r" / "environment.json").read_text())
    assert environment["threads"] == 1
    assert environment["plugins"][0]["distribution"] == "cartpole-dqn"
    assert str(tmp_path) not in (tmp_path / "r" / "environment.json").read_text()
    assert (tmp_path / "r" / "metrics.csv").read_text().count("\n") >= 3


def test_config_repeats_a_run(call: Invoke, tmp_path: Path) -> None:
    call("run", "--obs", "pixels", "--steps", "80", "--seed", "5", "--out", "a", *QUICK)
    call("run", "--config", "a/config.toml", "--out", "b", "--plain")

    def columns(name: str) -> list[list[str]]:
        rows = [line.split(",") for line in (tmp_path / name / "metrics.csv").read_text().splitlines()]
        timed = [i for i, column in enumerate(rows[0]) if column in ("seconds", "steps_per_second")]
        return [[cell for i, cell in enumerate(row) if i not in timed] for row in rows]

    assert columns("a") == columns("b")
    assert len(columns("a")) > 2


def test_evaluate_says_one_json_object(call: Invoke) -> None:
    call("run", "--obs", "state", "--steps", "120", "--out", "r", *QUICK)
    before = {path: path.stat().st_mtime_ns for path in Path("r").rglob("*")}
    result = call("evaluate", "r", "--episodes", "4", "--seed", "3", "--json")
    assert {path: path.stat().st_mtime_ns for path in Path("r").rglob("*")} == before, "it may be read-only"
    figures = json.loads(result.out)
    assert set(figures) == {"mean", "std", "min", "max", "episodes", "seed", "model"}
    assert (figures["episodes"], figures["seed"], figures["model"]) == (4, 3, "best")
    assert figures["min"] <= figures["mean"] <= figures["max"]
    assert json.loads(call("evaluate", "r", "--episodes", "4", "--seed", "3", "--json").out) == figures
    last = json.loads(call("evaluate", "r", "--episodes", "4", "--json", "--last").out)
    assert last["model"] == "last"
    result = call("evaluate", "r", "--episodes", "2").out
    assert "best model" in result
    assert result.splitlines()[-1] == "needs 475"
    config = Path("r/config.toml")
    config.write_text(config.read_text().replace("[evaluation]\n", "[evaluation]\nsolved_at = 1\n"))
    assert call("evaluate", "r", "--episodes", "2").out.splitlines()[-1] == "needs 1 over 100 episodes"
    assert call("evaluate", "r", "--episodes", "100").out.splitlines()[-1] == "SOLVED"


def test_a_run_without_its_replay_says_what_that_costs(call: Invoke, tmp_path: Path) -> None:
    result = call("run", "--obs", "state", "--steps", "60", "--out", "r", "--no-save-replay", *QUICK)
    assert "the replay is not saved" in result.err
    assert not list((tmp_path / "r" / "checkpoint").glob("replay*"))
    result = call("resume", "r", "--steps", "120", "--plain")
    assert "it starts empty, so results will differ" in " ".join(result.err.split())


def test_a_tutorial_of_an_older_environment_runs_without_a_warning(call: Invoke) -> None:
    result = call("run", "--preset", "tutorial-state-v0", "--steps", "150", "--out", "r", "--plain")
    assert "150 steps" in result.err
    assert "out of date" not in result.err


def test_a_run_that_fails_says_why_and_where_it_is(call: Invoke, tmp_path: Path) -> None:
    wild = ("--set", "agent.optimiser.lr=1e30")
    result = call("run", "--obs", "state", "--steps", "3000", "--out", "r", *wild, *QUICK, code=1)
    assert "the run failed at step" in result.err
    assert "the loss became" in result.err
    assert result.err.endswith(
        "The run's folder: r\nresuming it would fail in the same way. Start again with other settings: cartpole-dqn "
        "run --config r/config.toml --set KEY=VALUE\n"
    )
    assert json.loads((tmp_path / "r" / "status.json").read_text())["state"] == "failed"


TIRED = """
from cartpole_dqn import Exploration, hookimpl, options_class

@options_class
class Options: pass

class Tired(Exploration):
    Options = Options
    def __init__(self, options, context): pass
    def select(self, q, step, generator, mask):
        return q().argmax(1) if step < 30 else [][1]

@hookimpl
def register_components(registry): registry.add('exploration', 'tired', 'tired_parts:Tired')
"""


def test_a_plugin_that_fails_while_running_is_named(call: Invoke, tmp_path: Path, install: Callable[..., None]) -> None:
    install("tired", {"tired": "tired_parts"}, tired_parts=TIRED)
    result = call("run", "--obs", "state", "--exploration", "tired", "--steps", "90", "--out", "r", *QUICK, code=1)
    assert "the run failed at step 30: IndexError" in result.err
    assert "It was raised in code of the plugin tired." in result.err
    assert "exploration/tired" in (tmp_path / "r" / "environment.json").read_text()


def test_until_solved_stops_early(call: Invoke, tmp_path: Path) -> None:
    settings = ("evaluation.every=100", "evaluation.solved_at=9", "evaluation.confirm_episodes=3")
    easy = [word for setting in settings for word in ("--set", setting)]
    result = call("run", "--obs", "state", "--steps", "3000", "--out", "r", "--until-solved", *easy, *QUICK)
    rows = [json.loads(line) for line in (tmp_path / "r" / "metrics.jsonl").read_text().splitlines()]
    assert [(r["step"], r["stream"]) for r in rows if r["event"] == "evaluation"] == [(100, "select"), (100, "confirm")]
    assert rows[-1]["reason"] == "solved"
    text = (tmp_path / "r" / "status.json").read_text()
    (tmp_path / "r" / "status.json").write_text(text.replace("done", "running"))
    call("resume", "r")
    assert run_state(tmp_path / "r") == RunStatus("done", 100), "as if it had not been killed at its end"
    result = call("resume", "r", "--steps", "250")
    assert "stopped at step 100 because it was solved. It now trains to the end of its budget" in result.err
    assert run_state(tmp_path / "r") == RunStatus("done", 250)
    assert call("resume", "r", "--steps", "350").err.count("because it was solved") == 0
    result = call("run", "--env", "Blackjack-v1", "--obs", "state", "--until-solved", code=2)
    assert "evaluation.solved_at" in result.err


def test_the_printed_command_finds_a_folder_that_looks_like_an_option(call: Invoke, tmp_path: Path) -> None:
    result = call("run", "--obs", "state", "--steps", "60", "--out=-d", *QUICK)
    assert result.out == f"{tmp_path}/-d\n"
    _, _, *arguments = shlex.split(result.err.splitlines()[-1].partition(": ")[2])
    result = call("evaluate", *arguments, "--episodes", "1", "--json")
    assert json.loads(result.out)["episodes"] == 1


WITHOUT_METRICS = ("--obs", "state", "--plain", "--set", "evaluation.every=0", "--set", "observer=[]")


def test_a_run_says_where_it_starts(call: Invoke, runs: Path) -> None:
    result = call("run", *WITHOUT_METRICS, "--steps", "5", "--init-from", "latest", "--init-last", "--out", "runs/next")
    assert result.err.startswith("starting from the weights of mine (last, trained for 40 steps).\n")
    assert InitialWeights.read(RunFolder(runs / "next")).run == "mine"
    result = call("run", "--config", "runs/next/config.toml", "--plain", "--out", "runs/again")
    assert result.err.startswith("starting from the weights of mine (last, trained for 40 steps).\n")
    assert (runs / "again" / "config.toml").read_text() == (runs / "next" / "config.toml").read_text()
    # An explicit --init-from takes the place of all that the file says.
    options = ["--config", "runs/next/config.toml", "--init-from", "runs/next", "--plain", "--out", "runs/third"]
    assert call("run", *options).err.startswith("starting from the weights of next (last, trained for 5 steps).\n")


def test_python_takes_a_run(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = load(runs / "mine")
    settings: dict[str, Any] = {"evaluation": {"every": 0}, "observer": []}
    run = train(obs="state", steps=3, out=runs / "next", init_from=given, init_last=True, settings=settings, plain=True)
    assert (run.config.init.run, run.config.init.which, run.config.init.step) == ("mine", "last", 40)
    assert "starting from the weights of mine (last, trained for 40 steps)." in capsys.readouterr().err


def test_listings_and_version(call: Invoke) -> None:
    assert call("--version").out == "cartpole-dqn 0.1.0\n"
    result = call("presets", "list")
    assert "tutorial-pixels" in result.out
    assert parse_toml(call("presets", "show", "pixels").out, "")["agent"]["name"] == "dqn"
    full = parse_toml(call("presets", "show", "tutorial-state-v0", "--full").out, "")
    assert (full["env"]["id"], full["steps"], full["agent"]["clip_at"]) == ("CartPole-v0", 100_000, 100.0)
    assert {p["name"] for p in json.loads(call("presets", "list", "--json").out)} >= {"pixels", "state"}


def test_a_run_without_a_model_is_not_offered_to_watch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ended = RunEnded("SIGINT", Progress(3, 0, 0.0, {}, {}), None, 0.0, 0.0)
    with pytest.raises(typer.Exit):
        _say_next(Session(), RunFolder(tmp_path), ended)
    err = capsys.readouterr().err
    assert "resume with" in err
    assert "see it play" not in err


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_ends_a_rendering_run_in_order(name: str, call: Invoke, signalled_once: Invoke) -> None:
    metrics, number = Path("r/metrics.csv"), getattr(signal, name)
    signalled_once(lambda: metrics.exists() and metrics.read_text().count("\n") > 3, number)
    result = call("run", "--obs", "pixels", "--out", "r", *QUICK, code=128 + number)
    assert result.out == "r\n"
    assert "resume with: cartpole-dqn resume r" in result.err
    assert "see it play:" in result.err
    assert run_state(Path("r")).state == "interrupted"
    assert Path("r/curve.png").exists()
    assert Path("r/checkpoint/state.json").exists()


# Processes of their own -----------------------------------------------------------------------------------------------


RUN = [sys.executable, "-m", "cartpole_dqn", "run"]


@pytest.mark.process
@pytest.mark.smoke
@pytest.mark.xdist_group("terminal")
def test_a_live_display_ends_with_ctrl_c_and_gives_the_cursor_back(tmp_path: Path) -> None:
    pexpect = pytest.importorskip("pexpect")
    folder = tmp_path / "r"
    arguments = [*RUN, "--obs", "state", "--steps", "200000", "--out", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TERM": "xterm-256color"}
    child = forked.spawn(arguments, dimensions=(30, 100), env=environment, timeout=60)
    child.logfile_read = shown = io.BytesIO()
    child.expect("epsilon")
    child.expect("steps/s")
    child.setwinsize(16, 60)
    for _ in range(3):  # drawn anew, in the smaller window
        child.expect("steps/s")
    child.sendintr()
    child.expect(r"stopped \(Ctrl-C\), saved at step \d")
    child.expect("resume with")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    assert shown.getvalue().rfind(b"\x1b[?25h") > shown.getvalue().rfind(b"\x1b[?25l") >= 0
    assert (folder / "checkpoint" / "state.json").exists()


TRAINED = Path(__file__).parents[2] / "examples" / "trained" / "state"
ON_A_TERMINAL = {
    "run": (["run", "--obs", "state", "--steps", "200000", "--out", "r"], "steps/s"),
    "sweep": (["sweep", "--obs", "state", "--steps", "200000", "--seeds", "1", "--out", "s"], "1 running"),
    "watch": (["watch", str(TRAINED), "--terminal"], "Ctrl-C: quit"),
    "evaluate": (["evaluate", str(TRAINED), "--episodes", "100000"], "evaluating"),
}


@pytest.mark.process
@pytest.mark.xdist_group("terminal")
@pytest.mark.parametrize("command", ON_A_TERMINAL)
def test_ctrl_z_gives_the_terminal_back_and_fg_takes_it_again(tmp_path: Path, command: str) -> None:
    arguments, words = ON_A_TERMINAL[command]
    pexpect = pytest.importorskip("pexpect")
    bash = pexpect.which("bash")
    if bash is None:
        pytest.skip("needs a shell with job control")
    env = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "TERM": "xterm-256color",
        "PS1": "$ ",
        "BASH_SILENCE_DEPRECATION_WARNING": "1",
    }
    shell = pexpect.spawn(bash, ["--norc", "-i"], dimensions=(30, 100), env=env, cwd=tmp_path, timeout=60)
    shell.sendline(shlex.join([sys.executable, "-m", "cartpole_dqn", *arguments]))
    shell.expect(words)
    # What is printed on the alternate screen is gone after it. A spinner hides the cursor only.
    leave, enter = ("\x1b[?25h", "\x1b[?25l") if command == "evaluate" else ("\x1b[?1049l", "\x1b[?1049h")
    for again in ("bg; fg", "fg"):
        shell.sendcontrol("z")
        shell.expect(rf"{re.escape(leave)}.*Stopped")
        shown = shell.before + shell.after
        assert shown.rfind(b"\x1b[?25h") > shown.rfind(b"\x1b[?25l"), "the cursor"
        shell.expect_exact("$ ")
        shell.sendline(again)
        shell.expect_exact(enter)
        shell.expect(words)
    shell.sendintr()
    shell.expect_exact(leave)
    shell.expect_exact("$ ")
    shell.close()


@pytest.mark.process
@pytest.mark.xdist_group("terminal")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGQUIT"])
def test_a_signal_before_the_run_begins_gives_the_terminal_back(name: str) -> None:
    pexpect = pytest.importorskip("pexpect")
    program = """
        import signal
        from rich.console import Console
        from cartpole_dqn.contracts.events import RunStarted
        from cartpole_dqn.observers.display.display import first_screen
        with first_screen(Console(stderr=True), RunStarted("x", None, 5, None, step=0, episode=0, num_envs=1)):
            signal.pause()
    """
    env = {**os.environ, "OMP_NUM_THREADS": "1", "TERM": "xterm-256color"}
    child = forked.spawn([sys.executable, "-c", textwrap.dedent(program)], env=env, timeout=60)
    child.expect("starting")
    child.kill(getattr(signal, name))
    child.expect_exact("\x1b[?25h\x1b[?1049l")
    child.expect(pexpect.EOF)
    child.close()
    assert child.signalstatus == getattr(signal, name)


@pytest.mark.parametrize("name", [pytest.param("SIGTERM", marks=pytest.mark.smoke), "SIGHUP", "SIGINT"])
@pytest.mark.process
def test_a_signal_ends_a_rendering_process_in_order(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "r"
    process = forked.Popen(
        [*RUN, "--obs", "pixels", "--out", str(folder), *QUICK],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    until(lambda: (folder / "metrics.csv").exists() and (folder / "metrics.csv").read_text().count("\n") > 3)
    number = getattr(signal, name)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    assert out.strip() == str(folder)
    assert f"resume with: cartpole-dqn resume {folder}" in err
    assert "see it play:" in err
    assert json.loads((folder / "status.json").read_text())["state"] == "interrupted"
    assert (folder / "curve.png").exists()
    assert (folder / "checkpoint" / "state.json").exists()
