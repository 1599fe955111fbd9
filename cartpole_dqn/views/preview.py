"""What an agent sees: the same moment after each wrapper of an observation, as labelled pictures.

* `preview_stages`: plays a few random steps and returns the stages of the last moment.
* `stage_of`: an environment and its observation -> one stage.
* `Stage`: one stage; `panels` returns its pictures.

`views.preview_drawing` draws them as one picture.
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

from cartpole_dqn.envs.guard import close_env
from cartpole_dqn.views.panels import Kept, Panel
from cartpole_dqn.wrappers import RenderObservation
from cartpole_dqn.wrappers.image import ImageWrapper, wrappers_of

Env = gymnasium.Env[Any, Any]

_ATTEMPTS = 20


@dataclass(frozen=True)
class Stage:
    """A moment as one wrapper observes it."""

    name: str
    obs: Any
    space: spaces.Space[Any] | None
    """The observation space; None for the rendered frame."""
    shows_now: tuple[bool, ...] = ()
    """Whether each channel shows the present rather than a difference, if known."""
    stacked: bool = False
    """Whether the first axis counts pictures."""
    pictorial: bool = True
    """Whether the observation is drawn as pictures rather than numbers."""
    kept: Kept | None = None
    """The rows and columns that the next stage keeps, if it crops."""

    @property
    def title(self) -> str:
        """The name, without a wrapper's place in the configuration."""
        place = re.fullmatch(r"observation\[\d+\] \((.+)\)", self.name)
        return place[1] if place else self.name

    def facts(self) -> list[str]:
        """Return shape, dtype and range, and the meaning of colours and lines in the pictures."""
        if not isinstance(self.obs, np.ndarray) or self.obs.size == 0:
            return [str(self.space)]
        panels = self.panels()
        facts = [_shape(self.obs), str(self.obs.dtype), f"{self.obs.min():.4g} .. {self.obs.max():.4g}"]
        facts += ["red: more, blue: less"] * any(panel.kind == "difference" for panel in panels)
        return facts + ["broken line: what is kept"] * any(panel.is_cut(self.kept) for panel in panels)

    def observed(self) -> str:
        """Return shape and dtype."""
        return f"{_shape(self.obs)}  {self.obs.dtype}"

    def panels(self) -> list[Panel]:
        """Return the observation's pictures, or its numbers as one panel."""
        obs = self.obs
        if not isinstance(obs, np.ndarray) or obs.dtype.kind not in "biuf" or obs.size == 0:
            return []
        if obs.ndim not in (2, 3, 4) or not self.pictorial:
            return [Panel("", obs.reshape(-1), "numbers")]
        if not self.stacked:
            return self._of_frame(obs, "")
        names = [*(f"{steps} before" for steps in range(len(obs) - 1, 0, -1)), "now"]
        return [panel for frame, name in zip(obs, names, strict=True) for panel in self._of_frame(frame, name)]

    def _of_frame(self, frame: NDArray[Any], name: str) -> list[Panel]:
        channels = frame[..., None] if frame.ndim == 2 else frame
        count = channels.shape[-1]
        known = self.shows_now if len(self.shows_now) == count else (True,) * count
        if count == 3 and all(known) and frame.dtype == np.uint8:
            return [Panel(name, channels, "colour")]
        captions = [", ".join(filter(None, [name, f"channel {i}" if count > 1 else ""])) for i in range(count)]
        return [self._of_channel(channels[..., i], captions[i], now) for i, now in enumerate(known)]

    def _of_channel(self, values: NDArray[Any], caption: str, now: bool) -> Panel:
        space = self.space
        if not now:
            # An unsigned byte holds a difference d as 128 + d / 2.
            zero = 128 if values.dtype == np.uint8 else 0
            most = np.abs(values.astype(np.float64) - zero).max()
            words = filter(None, [caption, f"difference {zero} ± {most:.4g}"])
            return Panel(", ".join(words), values, "difference", zero=zero)
        if values.dtype == np.uint8:
            return Panel(caption, values, "grey", low=0.0, high=255.0)
        if isinstance(space, spaces.Box) and space.is_bounded("both"):
            return Panel(caption, values, "grey", low=max(0.0, float(space.low.min())), high=float(space.high.max()))
        return Panel(caption, values, "grey", low=float(values.min()), high=float(values.max()))


def preview_stages(
    base: Callable[[], Env], chain: Sequence[tuple[str, Callable[[Env], Env]]], *, seed: int, steps: int = 12
) -> list[Stage]:
    """Return one moment as each stage of a chain of wrappers observes it.

    Args:
        base: makes the environment without the chain.
        chain: (name, function env -> wrapped env), the innermost first.
        seed: of the episode and of the random actions.
        steps: actions before the moment. If the episode ends earlier, the moment is the one before its end.

    Returns:
        The frame that `base` renders if its `render_mode` is "rgb_array", otherwise its observation; then one stage for
        each entry of the chain.
    """
    taken, ended, stages = _look(base, chain, seed, steps)
    for _ in range(_ATTEMPTS):
        if not ended or taken == 0:
            break
        taken, ended, stages = _look(base, chain, seed, taken - 1)
    return stages


def stage_of(env: Env, obs: Any, name: str = "") -> Stage:
    """Return an observation of `env` as a stage. The wrappers define its axes and channels."""
    inside = list(wrappers_of(env))
    shape = np.shape(obs) if isinstance(obs, np.ndarray) else ()
    made = any(isinstance(w, ImageWrapper | RenderObservation) for w in inside)
    pictorial = made or (len(shape) in (2, 3, 4) and min(shape[:2]) >= 8)
    shows_now = next((w.shows_now for w in inside if isinstance(w, ImageWrapper)), ())
    stacked = len(shape) == 4 or (len(shape) == 3 and any(isinstance(w, FrameStackObservation) for w in inside))
    return Stage(name, obs, env.observation_space, shows_now, stacked, pictorial)


# Looking --------------------------------------------------------------------------------------------------------------


class _Recorder(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Keeps a copy of the last observation."""

    def __init__(self, env: Env, name: str) -> None:
        super().__init__(env)
        self._name = name
        self._obs: Any = None

    def observation(self, observation: Any) -> Any:
        # A copy, because wrappers may reuse the array.
        single = isinstance(observation, np.generic | int)
        self._obs = np.array(observation) if single else copy.deepcopy(observation)
        return observation

    def stage(self) -> Stage:
        return stage_of(self.env, self._obs, self._name)

    @property
    def kept(self) -> Kept | None:
        """The part that the wrapper below kept of its last input, if it crops."""
        return self.env.window if isinstance(self.env, ImageWrapper | RenderObservation) else None


def _look(
    base: Callable[[], Env], chain: Sequence[tuple[str, Callable[[Env], Env]]], seed: int, steps: int
) -> tuple[int, bool, list[Stage]]:
    """Take up to `steps` random actions. Return their number, whether the episode ended, and the stages."""
    inner = base()
    env: Env = inner
    try:
        recorders: list[_Recorder] = []
        frame = inner.render_mode == "rgb_array"
        # A wrapper that renders may need the environment right below it, without a recorder between them.
        first: list[tuple[str, Callable[[Env], Env]]] = [] if frame else [("environment", lambda env: env)]
        for name, wrap in [*first, *chain]:
            wrapped = wrap(env)
            if wrapped is env and env is not inner:  # nothing to do
                continue
            env = _Recorder(wrapped, name)
            recorders.append(env)
        env.action_space.seed(seed)
        _, info = env.reset(seed=seed)
        taken, ended = 0, False
        while taken < steps and not ended:
            mask = info.get("action_mask") if isinstance(env.action_space, spaces.Discrete) else None
            masked = {} if mask is None else {"mask": np.asarray(mask, dtype=np.int8)}
            _, _, terminated, truncated, info = env.step(env.action_space.sample(**masked))
            ended = terminated or truncated
            taken += 1
        stages = [recorder.stage() for recorder in recorders]
        if frame:
            stages.insert(0, Stage("env.render()", np.array(inner.render()), None))
        kept = [recorder.kept for recorder in recorders[0 if frame else 1 :]]
        if frame and kept and not isinstance(recorders[0].env, RenderObservation):
            kept[0] = None  # It crops something other than the frame.
        stages[:-1] = [replace(stage, kept=part) for stage, part in zip(stages[:-1], kept, strict=True)]
        return taken, ended, stages
    finally:
        close_env(env)


def _shape(obs: NDArray[Any]) -> str:
    return " x ".join(str(n) for n in obs.shape) or "scalar"
