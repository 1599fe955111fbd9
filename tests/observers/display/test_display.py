from __future__ import annotations

import io
import os
import re
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyte
import pytest
from rich.console import Console

from cartpole_dqn.contracts.events import Evaluating, ObserverContext, RunFailed
from cartpole_dqn.contracts.options import check_options
from cartpole_dqn.observers.display.display import Display, DisplayOptions, first_screen, is_live
from cartpole_dqn.plugin.host import load_plugins
from cartpole_dqn.system import Steady
from cartpole_dqn.training.observer_group import ObserverGroup
from cartpole_dqn.training.session import say_notes


class Terminal:
    """A console that writes for a terminal, and the screen that this terminal would show."""

    def __init__(self, width: int = 80, height: int = 24, *, color_system: Any = None) -> None:
        self.file = io.StringIO()
        self.console = Console(
            file=self.file,
            force_terminal=True,
            force_interactive=True,
            width=width,
            height=height,
            color_system=color_system,
        )

    @property
    def text(self) -> str:
        return self.file.getvalue()

    def screen(self, *, alternate: bool = False) -> pyte.Screen:
        """The usual screen, or the alternate one, which pyte does not tell apart."""
        parts = re.split(r"\x1b\[\?1049([hl])", self.text)
        usual = parts[0] + "".join(text for mark, text in zip(parts[1::2], parts[2::2], strict=True) if mark == "l")
        screen = pyte.Screen(self.console.width, self.console.height)
        text = parts[-1] if alternate else usual
        # Nothing in the text after switching says where the hidden cursor is.
        pyte.Stream(screen).feed(text.replace("\n", "\r\n"))
        return screen

    @property
    def cursor_hidden(self) -> bool:
        return self.text.rfind("\x1b[?25l") > self.text.rfind("\x1b[?25h")

    def lines(self, *, alternate: bool = False) -> list[str]:
        return [line.rstrip() for line in self.screen(alternate=alternate).display if line.strip()]


CALM = check_options(DisplayOptions, {"refresh_per_second": 0.005}, where="display")
"""Draws at the start and at the end only: the thread waits for minutes."""


def make(terminal: Terminal, clock: Any, *, plain: bool = False, **options: Any) -> Display:
    chosen = DisplayOptions(**options) if options else CALM
    return Display(chosen, ObserverContext(folder="runs/x", console=terminal.console, clock=clock, plain=plain))


def play(display: Display, clock: Any, events: Any, *, episodes: int = 30) -> None:
    """A run with everything that happens in one, but for its end."""
    display.run_started(events.started())
    for k in range(1, episodes + 1):
        clock.now += 1.0
        progress = events.progress(20 * k, episode=k, seconds=float(k))
        display.updated(progress)
        display.episode_ended(events.episode(k, float(k), step=20 * k, progress=progress))
    display.evaluated(events.evaluation(best=True))
    display.checkpoint_written(events.checkpoint())


@pytest.mark.parametrize(("width", "height"), [(120, 35), (80, 24), (40, 10), (20, 5), (9, 2)])
def test_one_panel_then_the_summary(clock: Any, events: Any, width: int, height: int) -> None:
    terminal, streams = Terminal(width, height), (sys.stdout, sys.stderr)
    display = make(terminal, clock)
    play(display, clock, events)
    assert terminal.cursor_hidden
    display.run_ended(events.ended())
    assert not terminal.cursor_hidden
    assert (sys.stdout, sys.stderr) == streams
    joined = " ".join(terminal.text.split("╰")[-1].split())
    assert "1,000 steps, 40 episodes; training 0:20 at 50 steps/s" in joined
    if width >= 80:
        lines = terminal.lines()
        assert sum("dqn on CartPole-v1" in line for line in lines) <= 1
        assert sum(line.startswith("╰") for line in lines) == 1
        assert lines[0].startswith("╭"), "its top is not pushed off the terminal"
        assert sum("best 150" in line for line in lines) == 1
        assert len(lines) <= height - 4, "two commands, the folder and the prompt"


@pytest.mark.skipif(os.name != "posix", reason="no pseudo-terminals")
def test_a_terminal_that_was_closed_is_left_in_peace(clock: Any, events: Any) -> None:
    ours, theirs = os.openpty()
    streams = (sys.stdout, sys.stderr)
    with open(theirs, "w") as file:  # noqa: PTH123 (a descriptor)
        terminal: Any = SimpleNamespace(console=Console(file=cast("Any", Steady(file)), force_terminal=True))
        display = make(terminal, clock)
        display.run_started(events.started())
        os.close(ours)
        display.run_ended(events.ended())
    assert (sys.stdout, sys.stderr) == streams


def test_it_is_drawn_again_in_its_place_and_says_why_no_step_is_made(clock: Any, events: Any) -> None:
    terminal = Terminal()
    display = make(terminal, clock, refresh_per_second=30.0)
    play(display, clock, events)
    wait_for(terminal, "600 / 1,000")
    clock.now += 17  # and no event comes
    wait_for(terminal, "saving, or waiting for the environment: 17 s since the last step")
    display.evaluating(Evaluating(600, "select", 0, 10, None))
    clock.now += 1
    wait_for(terminal, "0/10")
    display.evaluating(Evaluating(600, "confirm", 34, 100, 498.25))
    wait_for(terminal, "34/100, mean 498.2")
    display.evaluated(events.evaluation())
    wait_for(terminal, "runs/x")
    assert sum("600 / 1,000 steps  60%" in line for line in terminal.lines(alternate=True)) == 1
    display.run_failed(RunFailed(600, ValueError("x")))
    assert not terminal.cursor_hidden
    lines = terminal.lines()
    assert sum(line.startswith("╭") for line in lines) == 1
    assert sum("600 / 1,000 steps  60%" in line for line in lines) == 1


def test_a_long_evaluation_has_its_lines_in_plain_mode(clock: Any, events: Any) -> None:
    terminal = Terminal()
    display = make(terminal, clock, plain=True, plain_every_seconds=5.0)
    display.run_started(events.started())
    for done in range(101):
        display.evaluating(Evaluating(600, "confirm", done, 100, 0.5 if done else None))
        clock.now += 0.2
    lines = [line for line in terminal.text.splitlines() if "confirming" in line]
    assert lines == [f"confirming {done}/100, mean 0.5" for done in (25, 50, 75, 100)]


def test_steps_draw_nothing(clock: Any, events: Any) -> None:
    terminal = Terminal()
    display = make(terminal, clock)
    display.run_started(events.started())
    before = terminal.text
    for k in range(3000):
        clock.now += 0.01
        display.updated(events.progress(k))
    assert terminal.text == before
    display.run_failed(RunFailed(3000, ValueError("x")))


def test_a_display_that_fails_is_named_and_gives_the_terminal_back(clock: Any, events: Any) -> None:
    class Broken:
        def __float__(self) -> float:
            raise ZeroDivisionError("no figure")

    terminal = Terminal()
    warnings: list[str] = []
    display = make(terminal, clock, refresh_per_second=30.0)
    group = ObserverGroup([("display", display)], warnings.append)
    group.tell("run_started", events.started())
    deadline = time.monotonic() + 20
    while not warnings and time.monotonic() < deadline:
        group.tell("updated", events.progress(status={"goal": Broken()}))
        time.sleep(0.01)
    assert [text.partition(" (")[0] for text in warnings] == [
        "observer display failed in updated and is switched off: ZeroDivisionError: no figure"
    ]
    assert not terminal.cursor_hidden


def test_what_is_printed_meanwhile_stands_above_the_panel(clock: Any, events: Any) -> None:
    terminal = Terminal(80, 40, color_system="256")
    display = make(terminal, clock)
    play(display, clock, events)
    say_notes(terminal.console, load_plugins(allowed=()), ["a [warning]"])
    display.run_ended(events.ended())
    # Rich keeps the codes of a style as the first console of the process wrote them: with 256 colours, or with 16.
    assert re.search(r"\x1b\[(38;5;166|33)ma \[warning\]\x1b\[0m", terminal.text.rpartition("\x1b[?1049l")[2])
    lines = terminal.lines()
    assert lines[0] == "a [warning]"
    assert lines[1].startswith("╭")
    assert sum(line.startswith("╭") for line in lines) == 1


@pytest.mark.parametrize(("before", "after"), [(100, 60), (90, 31), (60, 100), (50, 22)])
def test_nothing_old_stays_on_the_screen(clock: Any, events: Any, before: int, after: int) -> None:
    """An echoed ^C, what a C library wrote, and rows as a resized terminal leaves them: all are drawn over."""
    terminal = Terminal(before, 24)
    display = make(terminal, clock)
    play(display, clock, events)
    terminal.file.write("^C\nALSA lib: no such device\n" + "╭─ old half ─╮\n" * 9)
    terminal.console.size = (after, 24)
    terminal.console.print("above")  # draws the panel again
    drawn = terminal.lines(alternate=True)
    display.run_failed(RunFailed(600, ValueError("x")))
    for lines in (drawn, terminal.lines()):
        text = "\n".join(lines)
        for old in ("^C", "ALSA", "old half"):
            assert old not in text
        assert sum("60%" in line for line in lines) == 1
        assert max(len(line) for line in lines) <= after
    assert "above" in drawn
    assert terminal.text.rfind("above") > terminal.text.rfind("\x1b[?1049l")


def test_the_first_screen_stands_before_the_run_and_goes(events: Any) -> None:
    terminal = Terminal(100, 30)
    with first_screen(terminal.console, events.started(name="CartPole-v1, pixels")) as clear:
        lines = terminal.lines(alternate=True)
        assert "CartPole-v1, pixels" in lines[0]
        assert "starting" in lines[-1]
        terminal.console.print("a warning")
        clear()
        assert terminal.lines() == ["a warning"]
        clear()
    assert terminal.lines() == ["a warning"]
    assert not terminal.cursor_hidden
    with first_screen(Console(file=io.StringIO()), events.started()) as clear:
        clear()


def test_glimpses_are_wanted_where_there_is_room(clock: Any, events: Any) -> None:
    terminal = Terminal(160, 40)
    display = make(terminal, clock)
    assert not display.wants_glimpses
    play(display, clock, events)
    assert display.wants_glimpses
    terminal.console.size = (120, 40)
    assert not display.wants_glimpses
    terminal.console.size = (160, 40)
    display.glimpsed(events.glimpse())
    display.run_ended(events.ended())
    text = "\n".join(terminal.lines())
    for words in (
        "what the agent sees  40 x 80 x 2  uint8",
        "what changed: red more, blue less",
        "left",
        "84.7",
        "▀▀▀▀",
    ):
        assert words in text
    assert not make(terminal, clock, eye=False).wants_glimpses


def test_plain_lines_come_by_the_clock_and_at_events(clock: Any, events: Any) -> None:
    terminal = Terminal(60)
    display = make(terminal, clock, plain=True, plain_every_seconds=10.0)
    play(display, clock, events)
    display.run_ended(events.ended())
    assert "\x1b" not in terminal.text
    text = " ".join(terminal.text.split())
    assert text.startswith("dqn on CartPole-v1, pixels: 1,000 steps, replay 160 MB, in runs/x 0:10 step 200 of")
    assert text.count(" step ") == 3 + 2 + 1  # every ten seconds; evaluation and checkpoint; the best
    for words in (
        "evaluation at step 500: mean 150.0 ± 50.0",
        "checkpoint at step 500: 34 MB",
        "best: 150.0 ± 50.0 over 2 episodes at step 500",
        "1,000 steps, 40 episodes; training 0:20 at 50 steps/s, evaluation 1:05",
    ):
        assert words in text


def test_a_file_gets_whole_lines_and_no_control_codes(clock: Any, events: Any, tmp_path: Path) -> None:
    with (tmp_path / "log").open("w+", encoding="utf-8") as file:
        # As FORCE_COLOR does it in a build's log: the console takes the file for a terminal.
        console = Console(file=file, force_terminal=True, width=40)
        display = Display(DisplayOptions(), ObserverContext(folder="runs/x", console=console, clock=clock))
        play(display, clock, events)
        display.run_ended(events.ended())
        file.seek(0)
        text = file.read()
    assert "\x1b" not in text
    assert "\r" not in text
    lines = text.splitlines()
    assert lines[0] == "dqn on CartPole-v1, pixels: 1,000 steps, replay 160 MB, in runs/x"
    assert any(len(line) > 40 and line.startswith("0:05  step 100 of 1,000") for line in lines)


def test_is_live_where_a_terminal_is() -> None:
    assert is_live(Terminal().console)
    assert not is_live(Console(file=io.StringIO()))
    assert not is_live(Console(file=io.StringIO(), force_terminal=True, force_interactive=False))
    assert not is_live(Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "dumb"}))


def test_a_console_that_knows_only_ascii_gets_a_spelled_sign(clock: Any, events: Any) -> None:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii", errors="strict", write_through=True)
    context = ObserverContext(folder=None, console=Console(file=file), clock=clock, plain=True)
    display = Display(DisplayOptions(), context)
    play(display, clock, events)
    assert b"mean 150.0 +- 50.0" in raw.getvalue()


def test_a_resumed_run_says_so_and_goes_on(clock: Any, events: Any) -> None:
    first = make(Terminal(), clock, plain=True)
    play(first, clock, events)
    terminal = Terminal()
    second = make(terminal, clock, plain=True)
    second.load_state_dict(first.state_dict())
    second.run_started(events.started(step=600, episode=30))
    second.run_ended(events.ended())
    assert "going on from step 600" in " ".join(terminal.text.split())
    assert second.state_dict()["recent"] == first.state_dict()["recent"]


def wait_for(terminal: Terminal, text: str, seconds: float = 60.0) -> None:
    """Wait until the drawing thread has written `text`."""
    deadline = time.monotonic() + seconds
    while text not in terminal.text:
        assert time.monotonic() < deadline, f"{text!r} was not drawn in {seconds} s:\n{terminal.text[-2000:]}"
        time.sleep(0.01)
