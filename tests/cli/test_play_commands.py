"""`record` and `watch`, typed."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import pygame
import pytest
from PIL import Image

from cartpole_dqn import system
from cartpole_dqn.envs.guard import Guard

Call = Callable[..., Any]


def test_record_writes_into_the_runs_folder_unless_told_otherwise(call: Call, runs: Path) -> None:
    result = call("record", "latest", "--max-steps", "5")
    assert result.out == "runs/mine/record.gif\n"
    assert result.err.splitlines()[0] == "episode 1: return 5, 5 steps"
    assert result.err.splitlines()[1].startswith("40 pictures at 50 a second, ")
    with Image.open(runs / "mine" / "record.gif") as image:
        assert image.size[0] == 600 + 328
    result = call("record", "mi", "--out", "x.gif", "--no-side-by-side", "--episodes", 2, "--fps", 10, "--max-steps", 3)
    assert result.out == "x.gif\n"
    assert "episode 2: return 3, 3 steps\n20 pictures at 10 a second" in result.err
    with Image.open("x.gif") as image:
        assert image.size[0] == 600
        assert image.size[1] < 250, "the empty sky is cut off"


def test_watch_plays_and_says_what_came_of_it(call: Call, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    result = call("watch", "mine", "--episodes", 2, "--max-steps", 4, "--speed", 8)
    assert result.out == "episode 1: return 4\nepisode 2: return 4\n"
    assert result.err == "space: pause, n: next step, arrows: speed, q: quit\n"


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(("command", "number"), [("record", signal.SIGTERM), ("watch", signal.SIGINT)])
def test_a_signal_ends_it_in_order(
    call: Call, runs: Path, signalled_once: Call, monkeypatch: pytest.MonkeyPatch, command: str, number: signal.Signals
) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    is_playing = (runs.parent / ".x.new.gif").exists if command == "record" else pygame.display.get_init
    signalled_once(is_playing, number)
    options = ["--out", "x.gif", "--episodes", "100000"] if command == "record" else []
    call(command, "mine", *options, code=128 + number)
    assert [path.name for path in runs.parent.iterdir()] == ["runs"]


def test_an_exit_that_was_dropped_is_raised_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a finaliser, where Python prints what is raised and goes on."""
    monkeypatch.setattr(system, "_AGAIN", 0.05)

    def plays() -> None:
        with system.unwinding_on_signals():
            with contextlib.suppress(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(5)
            time.sleep(5)

    with pytest.raises(SystemExit) as left:
        plays()
    assert left.value.code == 143
    assert signal.getitimer(signal.ITIMER_REAL)[1] == 0.0


def test_a_signal_that_meets_an_environment_is_not_its_exit() -> None:
    class Signalled(gymnasium.Wrapper[Any, Any, Any, Any]):
        def reset(self, **given: Any) -> Any:
            os.kill(os.getpid(), signal.SIGTERM)
            return self.env.reset(**given)

    with pytest.raises(SystemExit) as left, system.unwinding_on_signals():
        Guard(Signalled(gymnasium.make("CartPole-v1"))).reset()
    assert left.value.code == 143
