"""A run's model at play, as a file.

* `record_run`: plays greedy episodes and writes them as a GIF or an MP4, picture by picture.
* `Recording`: what was written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cartpole_dqn.config.schema import RunConfig
from cartpole_dqn.plugin.host import PluginHost
from cartpole_dqn.runs.folder import RunFolder
from cartpole_dqn.training.models import Which
from cartpole_dqn.views.animation import FASTEST_GIF, check_animation, open_animation
from cartpole_dqn.views.in_notebook import shown_as
from cartpole_dqn.views.playback import Playback
from cartpole_dqn.views.scene import HOLD, draw_scene


@dataclass(frozen=True)
class Recording:
    """What was recorded: a path to it, which a notebook shows as the animation, and its figures."""

    path: Path
    returns: tuple[float, ...]
    """Of each episode, undiscounted."""
    lengths: tuple[int, ...]
    """Of each episode, in steps."""
    frames: int
    fps: float
    nbytes: int

    def __fspath__(self) -> str:
        return str(self.path)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return shown_as(self.path)


def record_run(
    folder: RunFolder,
    config: RunConfig,
    host: PluginHost,
    out: Path,
    *,
    episodes: int = 1,
    seed: int = 0,
    which: Which = "best",
    side_by_side: bool = True,
    fps: float | None = None,
    max_steps: int | None = None,
    told: Callable[[int, int], None] = lambda episode, step: None,
) -> Recording:
    """Play `episodes` greedily with a run's model, and write them to `out` while they are played.

    Args:
        folder: the run's folder.
        config: the run's configuration.
        host: the loaded plugins.
        out: a name ending in .gif, or in .mp4 with the extra `video`; replaced where it is there.
        episodes: how many, one after the other.
        seed: which report seeds; the same as for `evaluate`.
        which: the best model, or the last.
        side_by_side: whether what the agent sees, its values and its action stand beside the environment's picture;
            else that picture alone.
        fps: steps shown in a second; by default real time, in a GIF at most 50.
        max_steps: where each episode is cut off; None for the environment's own limit.
        told: called with (episode, step) for each picture.

    Raises:
        UserError: the name, the rate, the run's model or its environment will not do, or `out` cannot be written.
        RunError: the environment failed; `out` is as it was.
    """
    check_animation(out)
    returns, lengths = [], []
    with Playback(folder, config, host, which=which, seed=seed, max_steps=max_steps) as playback:
        if fps is None:
            fps = min(playback.fps, FASTEST_GIF) if out.suffix.lower() == ".gif" else playback.fps
        with open_animation(out, fps=fps) as animation:
            for number in range(1, episodes + 1):
                for scene in playback.episode(number):
                    picture = draw_scene(scene) if side_by_side else scene.frame
                    for _ in range(max(1, round(fps * HOLD)) if scene.ending else 1):
                        animation.add(picture)
                    told(number, scene.step)
                returns.append(scene.total)
                lengths.append(scene.step)
    return Recording(out, tuple(returns), tuple(lengths), animation.frames, fps, out.stat().st_size)
