"""Recordings of a run's model: `record_run` writes greedy episodes as a GIF or an MP4, and returns a `Recording`."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cartpole_dqn.contracts.pictures import Picture
from cartpole_dqn.errors import UserError, bad
from cartpole_dqn.training.models import Model, SavedRun, Which
from cartpole_dqn.views.animation import FASTEST_GIF, check_animation, open_animation
from cartpole_dqn.views.colours import Theme
from cartpole_dqn.views.in_notebook import shown_as
from cartpole_dqn.views.playback import Playback
from cartpole_dqn.views.scene import CUT_OFF, HOLD, Scene, draw_scene, picture_of

LONGEST = 1_000
"""Steps of a recorded episode of an environment without a time limit."""


@dataclass(frozen=True)
class Recording:
    """A recording, usable as a path. Notebooks show the animation."""

    path: Path
    returns: tuple[float, ...]
    """Undiscounted return of each episode."""
    lengths: tuple[int, ...]
    """Steps of each episode."""
    frames: int
    fps: float
    nbytes: int
    bound: int | None = None
    """The limit of each episode, if the environment has none and none was given."""
    cut: bool = False
    """Whether `max_steps` or `bound` cut the last episode off."""

    def __fspath__(self) -> str:
        return str(self.path)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return shown_as(self.path)


def record_run(
    run: SavedRun,
    out: Path,
    *,
    episodes: int = 1,
    seed: int = 0,
    which: Which | Sequence[Model] = "best",
    side_by_side: bool = True,
    fps: float | None = None,
    most: float = math.inf,
    max_steps: int | None = None,
    theme: Theme = "light",
    attribution: bool = False,
    draw: Callable[[Sequence[Scene]], Picture] | None = None,
    hold: float = HOLD,
    on_progress: Callable[[int, int], None] = lambda episode, step: None,
) -> Recording:
    """Play greedy episodes with a run's model and write them to `out`, picture by picture.

    The arguments are those of `Run.record`. An existing file is replaced. An episode of an environment without a limit
    has 1,000 steps at most. At more steps per second than `most`, some have no picture. Several models play the same
    episodes at the same time; `draw` makes one picture of their scenes. An episode's last picture stays for `hold`
    seconds. `on_progress` is called with (episode, step) for each picture.

    Raises:
        UserError: the name, the rate, the model or the environment is unsuitable, or `out` cannot be written.
        RunError: the environment failed; `out` is unchanged.
    """
    check_animation(out)
    if episodes < 1:
        raise UserError(f"episodes: expected 1 or more, got {bad(episodes)}.")
    draw_one = draw_scene if side_by_side else picture_of
    ends: list[Scene] = []
    with contextlib.ExitStack() as stack:
        playbacks = [
            stack.enter_context(
                Playback(run, which=model, seed=seed, max_steps=max_steps, longest=LONGEST, attribution=attribution)
            )
            for model in ([which] if isinstance(which, str) else which)
        ]
        rate, skip = _rate(out, playbacks[0].fps, fps, most)
        animation = stack.enter_context(open_animation(out, fps=rate))
        for number in range(1, episodes + 1):
            for scenes in _in_step([playback.episode(number) for playback in playbacks]):
                is_over, step = all(scene.ending for scene in scenes), max(scene.step for scene in scenes)
                if step % skip and not is_over:
                    continue
                picture = draw_one(scenes[0], theme) if draw is None else draw(scenes)
                for _ in range(max(1, round(rate * hold)) if is_over else 1):
                    animation.add(picture)
                on_progress(number, step)
            ends += scenes
    returns, lengths = zip(*((scene.total, scene.step) for scene in ends), strict=True)
    cut = ends[-1].ending == CUT_OFF
    return Recording(out, returns, lengths, animation.frames, rate, out.stat().st_size, playbacks[0].bound, cut)


def _rate(out: Path, real: float, fps: float | None, most: float) -> tuple[float, int]:
    """Return pictures per second, and the number of steps from one picture to the next."""
    steps = real if fps is None else fps
    if not 0 < steps < math.inf:
        raise UserError(f"fps: expected a number above 0, got {steps:g}.")
    skip = max(1, round(steps / most))
    is_gif = fps is None and out.suffix.lower() == ".gif"
    return min(steps / skip, FASTEST_GIF) if is_gif else steps / skip, skip


def _in_step(episodes: Sequence[Iterator[Scene]]) -> Iterator[list[Scene]]:
    """Yield the scenes of all episodes, step by step, until all have ended. One that has ended stays at its end."""
    scenes = [next(episode) for episode in episodes]
    yield scenes
    while not all(scene.ending for scene in scenes):
        scenes = [scene if scene.ending else next(episode) for scene, episode in zip(scenes, episodes, strict=True)]
        yield scenes
