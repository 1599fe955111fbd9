"""What an agent sees: every stage of an observation's wrappers, at the same moment, as labelled pictures.

* `preview_stages`: plays a few random steps and returns what each wrapper made of that moment.
* `stage_of`: an environment and what it observed -> one stage.
* `Stage`: one stage; `panels` are the pictures that it consists of.

`views.preview_drawing` makes one picture of them.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import FrameStackObservation
from numpy.typing import NDArray

from cartpole_dqn.views.panels import Kept, Panel
from cartpole_dqn.wrappers import RenderObservation
from cartpole_dqn.wrappers.image import ImageWrapper, wrappers_of

Env = gymnasium.Env[Any, Any]

_ATTEMPTS = 20


@dataclass(frozen=True)
class Stage:
    """What one wrapper made of the moment."""

    name: str
    obs: Any
    space: spaces.Space[Any] | None
    """What it says its observations are; None for the frame that the environment renders."""
    shows_now: tuple[bool, ...] = ()
    """For each channel, whether it shows the present rather than a difference, where that is known."""
    stacked: bool = False
    """Whether the first axis counts pictures."""
    pictorial: bool = True
    """Whether the observation is a picture, or several; else its numbers are drawn."""
    kept: Kept | None = None
    """The rows and columns that the next stage keeps of it, where that one cuts."""

    @property
    def title(self) -> str:
        """The name; of a wrapper in a configuration, its own rather than its place."""
        place = re.fullmatch(r"observation\[\d+\] \((.+)\)", self.name)
        return place[1] if place else self.name

    def facts(self) -> list[str]:
        """Return shape, dtype and range of the values, and what colours and lines in the pictures mean."""
        if not isinstance(self.obs, np.ndarray) or self.obs.size == 0:
            return [str(self.space)]
        panels = self.panels()
        facts = [_shape(self.obs), str(self.obs.dtype), f"{self.obs.min():.4g} .. {self.obs.max():.4g}"]
        facts += ["red: more, blue: less"] * any(panel.kind == "difference" for panel in panels)
        return facts + ["broken line: what is kept"] * any(panel.is_cut(self.kept) for panel in panels)

    def observed(self) -> str:
        """Return shape and dtype in a few words."""
        return f"{_shape(self.obs)}  {self.obs.dtype}"

    def panels(self) -> list[Panel]:
        """Return the pictures of which the observation consists; numbers where it is none."""
        obs = self.obs
        if not isinstance(obs, np.ndarray) or obs.dtype.kind not in "biuf" or obs.size == 0:
            return []
        if obs.ndim not in (2, 3, 4) or not self.pictorial:
            return [Panel("", obs.reshape(-1), "numbers")]
        frames = list(obs) if self.stacked else [obs]
        names = [_ago(len(frames) - 1 - i) for i in range(len(frames))] if self.stacked else [""]
        return [panel for frame, name in zip(frames, names, strict=True) for panel in self._of_frame(frame, name)]

    def _of_frame(self, frame: NDArray[Any], name: str) -> list[Panel]:
        channels = frame[..., None] if frame.ndim == 2 else frame
        count = channels.shape[-1]
        known = self.shows_now if len(self.shows_now) == count else (True,) * count
        if count == 3 and all(known) and frame.dtype == np.uint8:
            return [Panel(name, channels, "colour")]
        panels = []
        for i, now in enumerate(known):
            words = [name, f"channel {i}" if count > 1 else ""]
            caption = ", ".join(word for word in words if word)
            panels.append(self._of_channel(channels[..., i], caption, now))
        return panels

    def _of_channel(self, values: NDArray[Any], caption: str, now: bool) -> Panel:
        space = self.space
        if not now:
            # Eight bits without a sign hold 128 + d / 2.
            zero = 128 if values.dtype == np.uint8 else 0
            most = np.abs(values.astype(np.float64) - zero).max()
            words = f"difference {zero} ± {most:.4g}"
            return Panel(f"{caption}, {words}" if caption else words, values, "difference", zero=zero)
        if values.dtype == np.uint8:
            return Panel(caption, values, "grey", low=0.0, high=255.0)
        bounded = isinstance(space, spaces.Box) and space.is_bounded("both")
        if bounded and isinstance(space, spaces.Box):
            return Panel(caption, values, "grey", low=max(0.0, float(space.low.min())), high=float(space.high.max()))
        return Panel(caption, values, "grey", low=float(values.min()), high=float(values.max()))


def preview_stages(
    base: Callable[[], Env], chain: Sequence[tuple[str, Callable[[Env], Env]]], *, seed: int, steps: int = 12
) -> list[Stage]:
    """Return what each stage of a chain of wrappers makes of one moment.

    Args:
        base: makes the environment without the chain.
        chain: (name, function env -> wrapped env), the innermost first.
        seed: of the episode and of the random actions.
        steps: actions to take before looking, so that something has moved. Where the episode ends earlier, the moment
            is the one before its end.

    Returns:
        The frame that `base` renders, if its `render_mode` is "rgb_array", else its own observation; then a stage for
        each entry of the chain.
    """
    taken, found = _look(base, chain, seed, steps)
    for _ in range(_ATTEMPTS):
        if not found.ended or taken == 0:
            break
        taken, found = _look(base, chain, seed, taken - 1)
    return found.stages


def stage_of(env: Env, obs: Any, name: str = "") -> Stage:
    """Return what `env` observes as a stage: its wrappers tell what the axes and channels are."""
    inside = list(wrappers_of(env))
    shape = np.shape(obs)
    made = any(isinstance(w, ImageWrapper | RenderObservation) for w in inside)
    pictorial = made or (len(shape) in (2, 3, 4) and min(shape[:2]) >= 8)
    shows_now = next((w.shows_now for w in inside if isinstance(w, ImageWrapper)), ())
    stacked = len(shape) == 4 or (len(shape) == 3 and any(isinstance(w, FrameStackObservation) for w in inside))
    return Stage(name, obs, env.observation_space, shows_now, stacked, pictorial)


# Looking --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Found:
    stages: list[Stage]
    ended: bool


class _Recorder(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Keeps a copy of what passes and changes nothing."""

    def __init__(self, env: Env, name: str) -> None:
        super().__init__(env)
        self._name = name
        self._obs: Any = None

    def observation(self, observation: Any) -> Any:
        """Return `observation`."""
        # A copy: wrappers may write the next one into the same array.
        self._obs = copy.deepcopy(observation)
        if isinstance(observation, np.generic | int):
            self._obs = np.array(observation)
        return observation

    def stage(self) -> Stage:
        """Return the last observation as a stage."""
        return stage_of(self.env, self._obs, self._name)

    @property
    def kept(self) -> Kept | None:
        """What the wrapper below kept of the last picture that it was given, where it cuts."""
        return self.env.window if isinstance(self.env, ImageWrapper | RenderObservation) else None


def _look(
    base: Callable[[], Env], chain: Sequence[tuple[str, Callable[[Env], Env]]], seed: int, steps: int
) -> tuple[int, _Found]:
    """Take up to `steps` random actions; return how many were taken, and what was seen then."""
    inner = base()
    env: Env = inner
    try:
        recorders: list[_Recorder] = []
        frame = inner.render_mode == "rgb_array"
        if not frame:
            # Not where a frame is rendered: a wrapper that renders may look for the environment right below it.
            env = _Recorder(env, "environment")
            recorders.append(env)
        for name, wrap in chain:
            env = _Recorder(wrap(env), name)
            recorders.append(env)
        env.action_space.seed(seed)
        _, info = env.reset(seed=seed)
        taken, ended = 0, False
        while taken < steps and not ended:
            _, _, terminated, truncated, info = env.step(_action(env, info))
            ended = terminated or truncated
            taken += 1
        stages = [recorder.stage() for recorder in recorders]
        if frame:
            stages.insert(0, Stage("env.render()", np.array(inner.render()), None))
        kept = [recorder.kept for recorder in recorders[0 if frame else 1 :]]
        if frame and kept and not isinstance(recorders[0].env, RenderObservation):
            kept[0] = None  # It cuts something else than the frame.
        stages[:-1] = [replace(stage, kept=part) for stage, part in zip(stages[:-1], kept, strict=True)]
        return taken, _Found(stages, ended)
    finally:
        env.close()


def _action(env: Env, info: dict[str, Any]) -> Any:
    mask = info.get("action_mask")
    if mask is None or not isinstance(env.action_space, spaces.Discrete):
        return env.action_space.sample()
    return env.action_space.sample(mask=np.asarray(mask, dtype=np.int8))


def _ago(steps: int) -> str:
    return "now" if steps == 0 else f"{steps} before"


def _shape(obs: NDArray[Any]) -> str:
    return " x ".join(str(n) for n in obs.shape) or "scalar"
