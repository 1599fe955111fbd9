"""Recordings of a run's model: `record_run` writes greedy episodes as a GIF or an MP4, and returns a `Recording`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cartpole_dqn.errors import UserError, bad
from cartpole_dqn.training.models import SavedRun, Which
from cartpole_dqn.views.animation import FASTEST_GIF, check_animation, open_animation
from cartpole_dqn.views.colours import Theme
from cartpole_dqn.views.in_notebook import shown_as
from cartpole_dqn.views.playback import Playback
from cartpole_dqn.views.scene import CUT_OFF, HOLD, draw_scene, picture_of

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
    which: Which = "best",
    side_by_side: bool = True,
    fps: float | None = None,
    most: float = math.inf,
    max_steps: int | None = None,
    theme: Theme = "light",
    attribution: bool = False,
    on_progress: Callable[[int, int], None] = lambda episode, step: None,
) -> Recording:
    """Play greedy episodes with a run's model and write them to `out`, picture by picture.

    The arguments are those of `Run.record`. An existing file is replaced. An episode of an environment without a limit
    has 1,000 steps at most. At more steps per second than `most`, some have no picture. `on_progress` is called with
    (episode, step) for each picture.

    Raises:
        UserError: the name, the rate, the model or the environment is unsuitable, or `out` cannot be written.
        RunError: the environment failed; `out` is unchanged.
    """
    check_animation(out)
    if episodes < 1:
        raise UserError(f"episodes: expected 1 or more, got {bad(episodes)}.")
    returns, lengths = [], []
    with Playback(run, which=which, seed=seed, max_steps=max_steps, attribution=attribution) as playback:
        bound = None if max_steps is not None or playback.limit is not None else LONGEST
        playback.max_steps = max_steps if bound is None else bound
        if fps is None:
            fps = min(playback.fps, FASTEST_GIF) if out.suffix.lower() == ".gif" else playback.fps
        skip = max(1, round(fps / most))
        rate = fps / skip
        with open_animation(out, fps=rate) as animation:
            for number in range(1, episodes + 1):
                for scene in playback.episode(number):
                    if scene.step % skip and not scene.ending:
                        continue
                    picture = draw_scene(scene, theme) if side_by_side else picture_of(scene, theme)
                    for _ in range(max(1, round(rate * HOLD)) if scene.ending else 1):
                        animation.add(picture)
                    on_progress(number, scene.step)
                returns.append(scene.total)
                lengths.append(scene.step)
    return Recording(
        out, tuple(returns), tuple(lengths), animation.frames, rate, out.stat().st_size, bound, scene.ending == CUT_OFF
    )
