"""A run's model at play, live in a window or in a terminal.

* `watch_run`: plays greedy episodes in real time until the window is closed.
* `watch_in_terminal`: the same in half blocks on a terminal, also over ssh.
* `require_display`: raises an error if no window can be opened.
* `Window`: shows pictures and reads keys. `Pace`: the speed.
"""

from __future__ import annotations

import itertools
import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console, Group
from rich.live import Live
from rich.segment import Segment, Segments
from rich.text import Text

from cartpole_dqn.config.schema import RunConfig
from cartpole_dqn.contracts.events import Glimpse
from cartpole_dqn.contracts.pictures import Panel
from cartpole_dqn.errors import UserError
from cartpole_dqn.observers.display.display import is_live
from cartpole_dqn.observers.display.eye import eye_lines
from cartpole_dqn.plugin.host import PluginHost
from cartpole_dqn.runs.folder import RunFolder
from cartpole_dqn.training.models import Which
from cartpole_dqn.views.chart import Theme
from cartpole_dqn.views.playback import Playback
from cartpole_dqn.views.scene import HOLD, Scene, draw_scene, picture_of

KEYS = "space: pause, n: next step, arrows: speed, q: quit"

_RECORD = "`cartpole-dqn record {}` makes a GIF of the same picture."

_TICK = 0.02
"""Seconds between two reads of the keyboard."""
_REFRESH = 1 / 60
"""Least seconds between two pictures; at higher speeds some scenes are skipped."""
_TERMINAL_REFRESH = 1 / 15
_TERMINAL_COLUMNS = 100
_SLOWEST, _FASTEST = 1 / 16, 64.0


def watch_run(
    folder: RunFolder,
    config: RunConfig,
    host: PluginHost,
    *,
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
    """Play greedy episodes with a run's model in a window, by default in real time.

    Args:
        folder: of the run.
        config: of the run.
        host: the loaded plugins.
        episodes: number of episodes; None plays until the window is closed.
        seed: of the report seeds, as for `evaluate`.
        which: the best model, or the last.
        side_by_side: show the agent's observation, values and action beside the environment.
        speed: 1 is real time.
        max_steps: limit of each episode; None for the environment's own limit.
        theme: for a light or a dark page.
        attribution: show where the value of each chosen action comes from; see `cartpole_dqn.views.attribution`.
        clock: returns monotonic seconds.
        wait: sleeps for the given seconds.

    Returns:
        The returns of the episodes played to their end.

    Raises:
        UserError: there is no display, the run has no model, or its environment renders no pictures.
        RunError: the environment failed.
    """
    require_display(folder.path.name)
    _reach_display(folder.path.name)
    returns: list[float] = []
    draw = draw_scene if side_by_side else picture_of
    how: dict[str, Any] = {"which": which, "seed": seed, "max_steps": max_steps, "attribution": attribution}
    with Playback(folder, config, host, **how) as playback:
        show = _Show(playback, Pace(playback.fps, speed, clock), wait, lambda scene: draw(scene, theme))
        try:
            for number in itertools.count(1) if episodes is None else range(1, episodes + 1):
                for scene in playback.episode(number):
                    if not show.play(scene):
                        return tuple(returns)
                returns.append(scene.total)
        finally:
            show.close()
    return tuple(returns)


def watch_in_terminal(
    folder: RunFolder,
    config: RunConfig,
    host: PluginHost,
    *,
    console: Console,
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
    """Play greedy episodes with a run's model on a terminal until Ctrl-C. Arguments and returns as for `watch_run`.

    Raises:
        UserError: `console` is not a terminal, the run has no model, or its environment renders no pictures.
        RunError: the environment failed.
    """
    if not is_live(console):
        raise UserError(
            f"--terminal draws on a terminal, and stderr is none. {_RECORD.format(shlex.quote(folder.path.name))}"
        )
    returns: list[float] = []
    shown_at = -1.0
    how: dict[str, Any] = {"which": which, "seed": seed, "max_steps": max_steps, "attribution": attribution}
    with (
        Playback(folder, config, host, **how) as playback,
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        pace = Pace(playback.fps, speed, clock)
        try:
            for number in itertools.count(1) if episodes is None else range(1, episodes + 1):
                for scene in playback.episode(number):
                    if clock() - shown_at >= _TERMINAL_REFRESH or scene.ending:
                        title = f"{playback.name}: {standing(scene)}, {pace.label}, Ctrl-C: quit"
                        drawn = _on_terminal(scene, picture_of(scene, theme), title, console, side_by_side)
                        live.update(drawn, refresh=True)
                        shown_at = clock()
                    pace.wait_for(1 + HOLD * pace.fps if scene.ending else 1)
                    wait(pace.left())
                returns.append(scene.total)
        except KeyboardInterrupt:
            pass
    return tuple(returns)


def standing(scene: Scene) -> str:
    """Return episode, step and return of a scene, and how it ended."""
    return f"episode {scene.episode}, step {scene.step}, return {scene.total:g}" + f", {scene.ending}" * bool(
        scene.ending
    )


def _on_terminal(scene: Scene, picture: NDArray[np.uint8], title: str, console: Console, side_by_side: bool) -> Group:
    panels = [Panel("" if side_by_side else "the environment", picture, "colour")]
    if side_by_side and scene.panels:
        both = scene.panels[0].kind == "numbers" or scene.attribution is not None
        panels = [*panels, *scene.panels] if both else list(scene.panels)
    seen = Glimpse(
        step=scene.step,
        panels=panels,
        observed=scene.observed,
        names=scene.names,
        actions=scene.actions,
        q_values=scene.q_values if side_by_side else None,
        action=scene.action,
    )
    width, height = min(console.width - 1, _TERMINAL_COLUMNS), max(1, console.height - 2)
    lines = eye_lines(seen, max(24, width), height, colour=not console.no_color)
    drawn = Segments([part for line in lines for part in (*line, Segment.line())])
    return Group(Text(title, style="bold", no_wrap=True, overflow="ellipsis"), drawn)


def require_display(
    run: str, *, environ: Mapping[str, str] = os.environ, platform: str = sys.platform, why: str = ""
) -> None:
    """Raise a `UserError` if no window can be opened: on Linux without a display, unless SDL_VIDEODRIVER is set.

    `run` is the run's name in the command that the message offers instead. `why` is a known reason.
    """
    headless = platform.startswith("linux") and not (environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))
    if not why and headless and not environ.get("SDL_VIDEODRIVER"):
        why = "neither DISPLAY nor WAYLAND_DISPLAY is set"
    if why:
        raise UserError(
            f"no window can be opened here: {why}. `cartpole-dqn watch --terminal {shlex.quote(run)}` draws in this "
            f"terminal. {_RECORD.format(shlex.quote(run))}"
        )


def _reach_display(run: str) -> None:
    """Raise a `UserError` if SDL has no screen for a window."""
    import pygame

    try:
        pygame.display.init()
    except pygame.error as error:
        require_display(run, why=str(error))
    driver = pygame.display.get_driver()
    # SDL falls back to these drivers, which show nothing.
    if driver in ("dummy", "offscreen") and not os.environ.get("SDL_VIDEODRIVER"):
        require_display(run, why=f"SDL reaches no screen, only its driver {driver}")


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
        """Called when a scene is shown: the next one is due after the time of `scenes` scenes."""
        now = self.clock()
        # A delay of more than a few scenes is not caught up: the machine was paused or is slow.
        began = self.due if now - self.due < 4 / (self.fps * self.speed) + 0.1 else now
        self.due = began + scenes / (self.fps * self.speed)

    def left(self) -> float:
        """Return the seconds until the next scene is due, at least 0."""
        if self.paused:
            return 0.0 if self.steps else _TICK
        return max(0.0, self.due - self.clock())

    def change(self, faster: bool) -> None:
        """Double or halve the speed, between 1/16 and 64."""
        self.speed = min(max(self.speed * (2.0 if faster else 0.5), _SLOWEST), _FASTEST)
        self.due = self.clock()

    @property
    def label(self) -> str:
        """The speed: "2x", "1/4x, paused"."""
        text = f"{self.speed:g}x" if self.speed >= 1 else f"1/{1 / self.speed:g}x"
        return f"{text}, paused" if self.paused else text


class Window:
    """A pygame window. `size` is the width and height of its content in pixels, reduced to fit the screen.

    Raises:
        OSError: no window can be opened.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        import pygame

        self._pygame = pygame
        try:
            pygame.display.init()
            screens = pygame.display.get_desktop_sizes()
            share = min([1.0, *(0.9 * screen[i] / size[i] for screen in screens[:1] for i in (0, 1) if screen[i] > 0)])
            pygame.display.set_mode((round(size[0] * share), round(size[1] * share)), pygame.RESIZABLE)
        except pygame.error as error:
            raise OSError(str(error)) from None

    def show(self, picture: NDArray[np.uint8], title: str) -> None:
        """Show a picture [H, W, 3], scaled to the window without changing its proportions."""
        pygame = self._pygame
        surface = pygame.display.get_surface()
        if surface is None:
            return
        height, width = picture.shape[:2]
        image = pygame.image.frombuffer(np.ascontiguousarray(picture), (width, height), "RGB")
        share = min(surface.get_width() / width, surface.get_height() / height)
        if share != 1:
            image = pygame.transform.smoothscale(image, (max(1, int(width * share)), max(1, int(height * share))))
        surface.fill((255, 255, 255))
        surface.blit(image, ((surface.get_width() - image.get_width()) // 2, 0))
        pygame.display.flip()
        pygame.display.set_caption(title)

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
        found = []
        for event in pygame.event.get():
            if event.type in (pygame.QUIT, pygame.WINDOWCLOSE):
                found.append("quit")
            elif event.type == pygame.KEYDOWN and event.key in keys:
                found.append(keys[event.key])
            elif event.type in (pygame.WINDOWRESIZED, pygame.WINDOWEXPOSED):
                found.append("resized")
        return found

    def close(self) -> None:
        self._pygame.display.quit()


class _Show:
    """Shows scenes in a window when they are due, and handles its events."""

    def __init__(
        self,
        playback: Playback,
        pace: Pace,
        wait: Callable[[float], None],
        draw: Callable[[Scene], NDArray[np.uint8]],
    ) -> None:
        self._playback, self._pace, self._wait, self._draw = playback, pace, wait, draw
        self._window: Window | None = None
        self._shown_at = -1.0
        self._last: tuple[NDArray[np.uint8], Scene] | None = None

    def play(self, scene: Scene) -> bool:
        """Show `scene` until the next one is due. Return False if the window was closed."""
        pace = self._pace
        now = pace.clock()
        if now - self._shown_at >= _REFRESH or scene.ending or pace.paused or self._last is None:
            picture = self._draw(scene)
            self._last = (picture, scene)
            self._show()
            self._shown_at = now
        pace.wait_for(1 + HOLD * pace.fps if scene.ending else 1)
        while True:
            if not self._handle_events():
                return False
            left = pace.left()
            if left <= 0:
                pace.steps = max(0, pace.steps - 1)
                return True
            self._wait(min(left, _TICK))

    def close(self) -> None:
        if self._window is not None:
            self._window.close()

    def _handle_events(self) -> bool:
        """Return False if the window was closed."""
        pace = self._pace
        pressed = [] if self._window is None else self._window.pressed()
        for word in pressed:
            if word == "quit":
                return False
            if word == "pause":
                pace.paused, pace.steps, pace.due = not pace.paused, 0, pace.clock()
            elif word in ("faster", "slower"):
                pace.change(word == "faster")
            elif word == "step":
                pace.paused, pace.steps = True, 1
        if pressed:
            self._show()
        return True

    def _show(self) -> None:
        assert self._last is not None
        picture, scene = self._last
        if self._window is None:
            # Not earlier: closing an environment closes pygame's display too.
            try:
                self._window = Window((picture.shape[1], picture.shape[0]))
            except OSError as error:
                require_display(self._playback.name, why=str(error))
                raise
        title = f"{self._playback.name}: episode {scene.episode}, step {scene.step}, {self._pace.label}"
        self._window.show(picture, title)
