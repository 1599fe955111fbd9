"""A run's model at play, live in a window or in a terminal.

* `watch_run`: plays greedy episodes in real time, in a `Window` or on a `Terminal`. `Pace`: the speed.
* `require_display`: raises an error if no window can be opened.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from rich.console import Console, ConsoleOptions
from rich.text import Text

from cartpole_dqn.contracts.pictures import Panel
from cartpole_dqn.errors import UserError
from cartpole_dqn.observers.display.eye import Line, eye_lines
from cartpole_dqn.observers.display.screen import Screen, is_live
from cartpole_dqn.training.models import SavedRun, Which
from cartpole_dqn.views.colours import Theme
from cartpole_dqn.views.playback import Playback
from cartpole_dqn.views.scene import HOLD, Scene, draw_scene, picture_of
from cartpole_dqn.wrappers.render import requested_driver

KEYS = "space: pause, n: next step, arrows: speed, q: quit"

_RECORD = "`cartpole-dqn record {}` makes a GIF of the same picture."

_TICK = 0.02
"""Seconds between two reads of the keyboard."""
_TERMINAL_COLUMNS = 100
_SLOWEST, _FASTEST = 1 / 16, 64.0


def watch_run(
    run: SavedRun,
    *,
    console: Console | None = None,
    episodes: int | None = None,
    seed: int = 0,
    which: Which = "best",
    side_by_side: bool = True,
    speed: float = 1.0,
    max_steps: int | None = None,
    theme: Theme = "light",
    attribution: bool = False,
    clock: Callable[[], float] = time.perf_counter,
    wait: Callable[[float], None] = time.sleep,
) -> tuple[float, ...]:
    """Play greedy episodes with a run's model in a window, or on the terminal `console`.

    They go on until the window is closed, or until Ctrl-C on a terminal, unless `episodes` is given. A `speed` of 1 is
    real time. `clock` returns monotonic seconds, and `wait` sleeps. The other arguments are those of `record_run`.

    Returns:
        The returns of the episodes played to their end.

    Raises:
        UserError: a number is out of range, there is no display, `console` is not a terminal, the run has no model, or
            its environment renders no pictures.
        RunError: the environment failed.
    """
    name = run.folder.path.name
    if console is None:
        require_display(name)
    elif not is_live(console):
        raise UserError(f"--terminal needs a terminal, and stderr is not one. {_RECORD.format(shlex.quote(name))}")
    if episodes is not None and episodes < 1:
        raise UserError(f"episodes: expected 1 or more, got {episodes}.")
    if not _SLOWEST <= speed <= _FASTEST:
        raise UserError(f"speed: expected a number from {_SLOWEST:g} to {_FASTEST:g}, got {speed:g}.")
    returns: list[float] = []
    screen = Window(name, theme, side_by_side) if console is None else Terminal(name, theme, side_by_side, console)
    with (
        contextlib.closing(screen),
        Playback(run, which=which, seed=seed, max_steps=max_steps, attribution=attribution) as playback,
    ):
        numbers = itertools.count(1) if episodes is None else range(1, episodes + 1)
        scenes = (scene for number in numbers for scene in playback.episode(number))
        try:
            for scene in _show(scenes, screen, Pace(playback.fps, speed, clock), wait):
                if scene.ending:
                    returns.append(scene.total)
        except KeyboardInterrupt:
            if console is None:
                raise
    return tuple(returns)


def _show(
    scenes: Iterable[Scene], screen: Window | Terminal, pace: Pace, wait: Callable[[float], None]
) -> Iterator[Scene]:
    """Show each scene and yield it when the next one is due, until the window is closed."""
    last, shown_at = None, -1.0
    for scene in scenes:
        is_overdue = pace.clock() - shown_at >= screen.refresh
        if last is None or is_overdue or scene.ending or pace.paused:
            last = scene
            screen.show(last, pace.label)
            shown_at = pace.clock()
        pace.wait_for(1 + HOLD * pace.fps if scene.ending else 1)
        while True:
            pressed = screen.pressed()
            if "quit" in pressed:
                return
            for word in pressed:
                pace.press(word)
            if pressed:
                screen.show(last, pace.label)
            remaining = pace.left()
            if remaining <= 0:
                break
            wait(min(remaining, _TICK))
        pace.steps = max(0, pace.steps - 1)
        yield scene


def require_display(run: str, problem: str = "") -> None:
    """Raise a `UserError` if no window can be opened: on Linux without a display, unless the user set SDL_VIDEODRIVER.

    `run` is the run's name in the command that the message offers instead. `problem` is a known reason.
    """
    has_display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or requested_driver()
    if not problem and sys.platform.startswith("linux") and not has_display:
        problem = "neither DISPLAY nor WAYLAND_DISPLAY is set"
    if problem:
        raise UserError(
            f"no window can be opened here: {problem}. `cartpole-dqn watch --terminal {shlex.quote(run)}` draws in "
            f"this terminal. {_RECORD.format(shlex.quote(run))}"
        )


@dataclass
class Pace:
    """The time of the next scene."""

    fps: float
    """Scenes per second at a speed of 1."""
    speed: float
    clock: Callable[[], float]
    paused: bool = False
    steps: int = 0
    """Scenes to show while paused."""
    due: float = 0.0

    def wait_for(self, scenes: float = 1.0) -> None:
        """Wait for the time of `scenes` scenes after the one that was just shown."""
        now = self.clock()
        # A delay of more than a few scenes is not caught up: the machine was paused or is slow.
        began = self.due if now - self.due < 4 / (self.fps * self.speed) + 0.1 else now
        self.due = began + scenes / (self.fps * self.speed)

    def left(self) -> float:
        """Return the seconds until the next scene is due, at least 0."""
        if self.paused:
            return 0.0 if self.steps else _TICK
        return max(0.0, self.due - self.clock())

    def press(self, key: str) -> None:
        """React to "pause", "step", "faster" or "slower". The speed is doubled or halved, between 1/16 and 64."""
        if key == "pause":
            self.paused, self.steps, self.due = not self.paused, 0, self.clock()
        elif key == "step":
            self.paused, self.steps = True, 1
        elif key in ("faster", "slower"):
            self.speed = min(max(self.speed * (2.0 if key == "faster" else 0.5), _SLOWEST), _FASTEST)
            self.due = self.clock()

    @property
    def label(self) -> str:
        """The speed: "2x", "1/4x, paused"."""
        text = f"{self.speed:g}x" if self.speed >= 1 else f"1/{1 / self.speed:g}x"
        return f"{text}, paused" if self.paused else text


class Window:
    """A pygame window, opened with the first picture in its size, reduced to fit the screen.

    Raises:
        UserError: SDL has no screen for a window.
    """

    refresh = 1 / 60
    """Least seconds between two pictures; at higher speeds some scenes are skipped."""

    def __init__(self, run: str, theme: Theme, side_by_side: bool) -> None:
        import pygame

        self._pygame = pygame
        self._run, self._theme = run, theme
        self._draw = draw_scene if side_by_side else picture_of
        self._open = False
        try:
            pygame.display.init()
        except pygame.error as error:
            require_display(run, problem=str(error))
        driver = pygame.display.get_driver()
        # SDL falls back to these drivers, which show nothing.
        if driver in ("dummy", "offscreen") and not requested_driver():
            require_display(run, problem=f"SDL reaches no screen, only its driver {driver}")

    def show(self, scene: Scene, speed: str) -> None:
        """Show a scene, scaled to the window without changing its proportions."""
        pygame = self._pygame
        picture = self._draw(scene, self._theme)
        height, width = picture.shape[:2]
        if not self._open:
            self._open_for(width, height)
        surface = pygame.display.get_surface()
        if surface is None:
            return
        image = pygame.image.frombuffer(np.ascontiguousarray(picture), (width, height), "RGB")
        share = min(surface.get_width() / width, surface.get_height() / height)
        if share != 1:
            image = pygame.transform.smoothscale(image, (max(1, int(width * share)), max(1, int(height * share))))
        surface.fill((255, 255, 255))
        surface.blit(image, ((surface.get_width() - image.get_width()) // 2, 0))
        pygame.display.flip()
        pygame.display.set_caption(f"{self._run}: episode {scene.episode}, step {scene.step}, {speed}")

    def _open_for(self, width: int, height: int) -> None:
        # Not before the first picture: closing an environment closes pygame's display too.
        pygame = self._pygame
        try:
            pygame.display.init()
            share = 1.0
            for wide, high in pygame.display.get_desktop_sizes()[:1]:
                share = min([1.0, *(0.9 * most / size for most, size in ((wide, width), (high, height)) if most > 0)])
            pygame.display.set_mode((round(width * share), round(height * share)), pygame.RESIZABLE)
        except pygame.error as error:
            require_display(self._run, problem=str(error))
        self._open = True

    def pressed(self) -> list[str]:
        """Return the events since the last call: "quit", "pause", "faster", "slower", "step", "resized"."""
        pygame = self._pygame
        keys = {
            pygame.K_SPACE: "pause",
            pygame.K_UP: "faster",
            pygame.K_RIGHT: "faster",
            pygame.K_DOWN: "slower",
            pygame.K_LEFT: "slower",
            pygame.K_n: "step",
            pygame.K_q: "quit",
            pygame.K_ESCAPE: "quit",
        }
        words = []
        for event in pygame.event.get() if self._open else ():
            if event.type in (pygame.QUIT, pygame.WINDOWCLOSE):
                words.append("quit")
            elif event.type == pygame.KEYDOWN and event.key in keys:
                words.append(keys[event.key])
            elif event.type in (pygame.WINDOWRESIZED, pygame.WINDOWEXPOSED):
                words.append("resized")
        return words

    def close(self) -> None:
        self._pygame.display.quit()


class Terminal:
    """A terminal, drawn on in half blocks; it works over ssh."""

    refresh = 0.0

    def __init__(self, run: str, theme: Theme, side_by_side: bool, console: Console) -> None:
        self._run, self._theme, self._side_by_side, self._console = run, theme, side_by_side, console
        self._screen = Screen(console, self._lines, per_second=15)
        self._current: tuple[Scene, str] | None = None

    def show(self, scene: Scene, speed: str) -> None:
        """Show a scene below a line of text, from the next drawing on."""
        first, self._current = self._current is None, (scene, speed)
        if first:
            self._screen.start()

    def _lines(self, room: ConsoleOptions) -> list[Line]:
        assert self._current is not None
        scene, speed = self._current
        beside = self._side_by_side
        panels = [Panel("" if beside else "the environment", picture_of(scene, self._theme), "colour")]
        if beside and scene.panels:
            both = scene.panels[0].kind == "numbers" or scene.attribution is not None
            panels = [*panels, *scene.panels] if both else list(scene.panels)
        drawn = replace(scene, panels=panels, q_values=scene.q_values if beside else None)
        width, height = min(room.max_width - 1, _TERMINAL_COLUMNS), max(1, room.size.height - 2)
        title = [*self._title(scene, speed, room.max_width - 1).render(self._console)]
        return [title, *eye_lines(drawn, max(24, width), height, colour=not self._console.no_color)]

    def _title(self, scene: Scene, speed: str, width: int) -> Text:
        """Return the line above the picture, with as much as fits."""
        ending, colour = scene.verdict
        parts = [
            (f"{self._run}: ", "bold"),
            (f"episode {scene.episode}, step {scene.step}, return {scene.total:g}", "bold"),
            (f", {ending}" if ending else "", {"red": "bold red", "green": "bold green"}.get(colour, "bold")),
            (f", {speed}", ""),
            (", Ctrl-C: quit", "dim"),
        ]
        titles = [Text.assemble(*selection) for selection in (parts, parts[1:], parts[1:4], parts[1:3])]
        title = next((text for text in titles if text.cell_len <= width), titles[-1])
        title.truncate(width)
        return title

    def pressed(self) -> list[str]:
        """Return no keys. Raise what drawing raised."""
        if self._screen.error is not None:
            raise self._screen.error
        return []

    def close(self) -> None:
        self._screen.stop()
