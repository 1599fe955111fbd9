"""The window, under SDL's dummy driver: keys are pressed by posting events, time is a list of waits."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pygame
import pytest
from rich.console import Console

from cartpole_dqn.api import Run
from cartpole_dqn.errors import UserError
from cartpole_dqn.views.scene import Scene
from cartpole_dqn.views.watch import Pace, Window, require_display, watch_run
from waiting import until

Trained = Callable[..., Run]


class Time:
    """A clock that goes on by waiting, and presses keys at given seconds."""

    def __init__(self, presses: dict[float, Any] | None = None) -> None:
        self.now = 0.0
        self.presses = dict(sorted((presses or {}).items()))
        self.captions: list[tuple[float, str]] = []

    def clock(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        assert 0 < seconds <= 0.02
        self.now += seconds
        if pygame.display.get_init():
            self.captions.append((self.now, pygame.display.get_caption()[0]))
        while self.presses and self.now >= next(iter(self.presses)):
            event = self.presses.pop(next(iter(self.presses)))
            pygame.event.post(event if isinstance(event, pygame.event.Event) else press(event))
        assert self.now < 120, "nobody closed the window"

    def caption(self, at: float) -> str:
        return next(text for now, text in self.captions if now >= at)


def in_the_window() -> Any:
    surface = pygame.display.get_surface()
    assert surface is not None
    return pygame.surfarray.array3d(surface).transpose(1, 0, 2)


def press(key: int) -> pygame.event.Event:
    return pygame.event.Event(pygame.KEYDOWN, key=key)


@pytest.fixture(autouse=True)
def _dummy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    yield
    pygame.quit()


def watch(run: Run, time: Time, **options: Any) -> tuple[float, ...]:
    return watch_run(run, clock=time.clock, wait=time.wait, **options)


def test_it_plays_in_real_time_and_ends_with_its_episodes(trained: Trained) -> None:
    time = Time()
    returns = watch(trained(), time, episodes=2, seed=3)
    assert returns == tuple(trained().evaluate(episodes=2, seed=3).returns)
    # 50 steps a second, and each last picture stands for 0.7 s more.
    assert abs(time.now - (sum(returns) + 2) / 50 - 2 * 0.7) < 0.1
    slow, fast = Time(), Time()
    watch(trained(), slow, episodes=1, max_steps=8, speed=0.5)
    watch(trained(), fast, episodes=1, max_steps=8, speed=2.0)
    assert slow.now == pytest.approx(4 * fast.now, abs=0.05)
    assert not pygame.display.get_init()


def test_it_plays_in_a_terminal(trained: Trained) -> None:
    run = trained(obs="pixels")
    console = Console(file=io.StringIO(), force_terminal=True, force_interactive=True, width=90, height=36)
    now = [0.0]

    def drawings() -> int:
        count: int = console.file.getvalue().count("\x1b[H")  # type: ignore[attr-defined]
        return count

    def wait(seconds: float) -> None:
        now[0] += seconds
        before = drawings()
        until(lambda: drawings() > before + 1)  # The first of them may have begun before.

    options: dict[str, Any] = {"console": console, "clock": lambda: now[0], "wait": wait, "max_steps": 5, "speed": 64}
    (value,) = watch_run(run, episodes=1, **options)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for words in (
        "episode 1, step 0, return 0",
        ", 64x",
        f"return {value:g}",
        "what the agent sees",
        "value of each action",
    ):
        assert words in text
    assert "▀" in text
    assert text.index("\x1b[?1049h") < text.index("episode 1") < text.index("\x1b[?1049l")
    assert text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l"), "the cursor is back"

    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    assert watch_run(run, **{**options, "clock": lambda: 0.0, "wait": interrupted}) == ()
    with pytest.raises(UserError, match="--terminal needs a terminal"):
        watch_run(run, console=Console(file=io.StringIO()))


@pytest.mark.parametrize(
    "leave", [pygame.K_q, pygame.K_ESCAPE, pygame.event.Event(pygame.QUIT), pygame.event.Event(pygame.WINDOWCLOSE)]
)
def test_the_window_can_be_left_at_any_time(trained: Trained, leave: Any) -> None:
    time = Time({2.0: leave})
    returns = watch(trained(), time)
    assert 2.0 <= time.now < 2.1
    assert returns == tuple(trained().evaluate(episodes=len(returns)).returns)
    assert not pygame.display.get_init()


KEYS: dict[str, tuple[dict[float, int], dict[float, str]]] = {
    "space pauses and goes on": (
        {0.11: pygame.K_SPACE, 5.01: pygame.K_SPACE},
        {0.2: "5, 1x, paused", 4.9: "5, 1x, paused", 5.1: "10, 1x"},
    ),
    "n takes one step at a time": (
        {0.001: pygame.K_n, 1.0: pygame.K_n, 2.0: pygame.K_n},
        {0.5: "1, 1x, paused", 1.5: "2, 1x, paused", 2.5: "3, 1x, paused"},
    ),
    "arrows change the speed": (
        {0.1: pygame.K_UP, 0.2: pygame.K_RIGHT, 0.3: pygame.K_DOWN, 0.4: pygame.K_LEFT, 0.5: pygame.K_LEFT},
        {0.15: "2x", 0.25: "4x", 0.35: "2x", 0.45: "1x", 0.55: "1/2x"},
    ),
}


@pytest.mark.parametrize("case", KEYS)
def test_keys(trained: Trained, case: str) -> None:
    pressed, captions = KEYS[case]
    time = Time({**pressed, max(captions) + 0.1: pygame.K_q})
    watch(trained(), time, max_steps=200)
    for at, words in captions.items():
        assert time.caption(at).endswith(f" {words}")


def test_the_window_shows_the_picture_and_keeps_its_proportions(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    window = Window("mine", "light", side_by_side=False)
    window.show(Scene(frame=picture, step=3), "2x")
    assert (in_the_window() == picture).all()
    assert pygame.display.get_caption()[0] == "mine: episode 1, step 3, 2x"
    pygame.display.set_mode((270, 120))
    window.show(Scene(frame=np.zeros_like(picture)), "1x")
    shown = in_the_window()
    assert (shown[:, 45:225] == 0).all()
    assert (shown[:, :45] == 255).all()
    assert (shown[:, 225:] == 255).all()
    window.close()
    monkeypatch.setattr(pygame.display, "get_desktop_sizes", lambda: [(100, 1000)])
    window = Window("mine", "light", side_by_side=False)
    window.show(Scene(frame=np.zeros((100, 200, 3), np.uint8)), "1x")
    assert pygame.display.get_window_size() == (90, 45)
    window.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"speed": 0}, "speed: expected a number from 0.0625 to 64, got 0"),
        ({"speed": float("nan")}, "speed: expected a number from 0.0625 to 64, got nan"),
        ({"episodes": 0}, "episodes: expected 1 or more, got 0"),
        ({"max_steps": 0}, "max_steps: expected 1 or more, got 0"),
    ],
)
def test_numbers_out_of_range_are_refused(trained: Trained, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        watch(trained(), Time(), **options)
    assert not pygame.display.get_init()


def test_who_is_late_does_not_hurry_to_catch_up() -> None:
    time = Time()
    pace = Pace(50, 1.0, time.clock)
    pace.wait_for()
    assert pace.left() == pytest.approx(0.02)
    time.now = 0.03  # a little late: the next one is due when it would have been
    pace.wait_for()
    assert pace.left() == pytest.approx(0.01)
    time.now = 9.0
    pace.wait_for()
    assert pace.left() == pytest.approx(0.02)
    for _ in range(20):
        pace.press("faster")
    assert pace.label == "64x"
    for _ in range(20):
        pace.press("slower")
    assert pace.label == "1/16x"


def test_without_a_display_it_says_so_and_offers_a_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
    for name in names:
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(UserError, match=r"neither DISPLAY nor WAYLAND_DISPLAY is set.*cartpole-dqn record mine"):
        require_display("mine")
    for name in names:
        with monkeypatch.context() as given:
            given.setenv(name, "x")
            require_display("mine")
    for platform in ("darwin", "win32"):
        monkeypatch.setattr(sys, "platform", platform)
        require_display("mine")


def test_in_python_too_it_has_a_theme_and_an_attribution(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    assert len(trained().watch(episodes=1, speed=64, max_steps=2, theme="dark")) == 1
    with pytest.raises(UserError, match="observed as numbers"):
        trained().watch(episodes=1, attribution=True)


def test_a_recording_before_it_does_not_stand_for_a_display(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recording without a display selects SDL's dummy driver, which shows nothing."""
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    trained().record(tmp_path / "play.gif", max_steps=2)
    with pytest.raises(UserError, match="neither DISPLAY nor WAYLAND_DISPLAY is set"):
        trained().watch(episodes=1)
    monkeypatch.setenv("DISPLAY", ":4711")
    with pytest.raises(UserError, match="SDL reaches no screen, only its driver dummy"):
        trained().watch(episodes=1)


def test_a_display_that_does_not_answer_or_that_nobody_sees_is_said_too(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained()
    pygame.quit()
    monkeypatch.setenv("SDL_VIDEODRIVER", "nonesuch")
    with pytest.raises(UserError, match=r"no window can be opened here: .*nonesuch.*cartpole-dqn record"):
        watch(run, Time())
    monkeypatch.delenv("SDL_VIDEODRIVER")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", ":4711")
    monkeypatch.setattr(pygame.display, "get_driver", lambda: "offscreen")  # what SDL takes where nothing answers
    with pytest.raises(UserError, match="SDL reaches no screen, only its driver offscreen"):
        watch(run, Time())
