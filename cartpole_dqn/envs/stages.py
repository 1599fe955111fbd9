"""An observation as the pictures that it consists of: `stage_of` returns a `Stage`, whose `panels` are its pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import FrameStackObservation
from numpy.typing import NDArray

from cartpole_dqn.contracts.pictures import Kept, Panel
from cartpole_dqn.envs.names import number_names
from cartpole_dqn.wrappers import RenderObservation
from cartpole_dqn.wrappers.image import ImageWrapper, wrappers_of

Env = gymnasium.Env[Any, Any]


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
    names: tuple[str, ...] = ()
    """The names of the observed numbers, if they are known."""
    kept: Kept | None = None
    """The rows and columns that the next stage keeps, if it crops."""

    def facts(self) -> list[str]:
        """Return shape, dtype and range, and the meaning of colours and lines in the pictures."""
        if not isinstance(self.obs, np.ndarray) or self.obs.size == 0:
            return [str(self.space)]
        panels = self.panels()
        facts = [_shape(self.obs), str(self.obs.dtype), f"{self.obs.min():.4g} .. {self.obs.max():.4g}"]
        facts += ["red: more, blue: less"] * any(panel.kind == "difference" for panel in panels)
        return facts + ["dashed line: what is kept"] * any(panel.is_cut(self.kept) for panel in panels)

    def observed(self) -> str:
        """Return shape and dtype."""
        return f"{_shape(self.obs)}  {self.obs.dtype}"

    def panels(self) -> list[Panel]:
        """Return the observation's pictures, or its numbers as one panel."""
        obs = self.obs
        if not isinstance(obs, np.ndarray) or obs.dtype.kind not in "biuf" or obs.size == 0:
            return []
        if obs.ndim not in (2, 3, 4) or not self.pictorial:
            return [Panel("", obs.reshape(-1), "numbers", names=self.names)]
        if not self.stacked:
            return self._of_frame(obs, "")
        names = [*(f"{steps} before" for steps in range(len(obs) - 1, 0, -1)), "now"]
        return [panel for frame, name in zip(obs, names, strict=True) for panel in self._of_frame(frame, name)]

    def background(self) -> NDArray[Any]:
        """Return the observation where nothing is seen: each picture's commonest value, and no difference.

        H and W are 1, so that it broadcasts. Only for pictures.
        """
        axis = int(self.stacked)
        background: NDArray[Any] = np.median(self.obs, axis=(axis, axis + 1), keepdims=True).astype(self.obs.dtype)
        if self.obs.ndim - axis == 3 and len(self.shows_now) == self.obs.shape[-1]:
            background[..., ~np.array(self.shows_now)] = _zero(self.obs.dtype)
        return background

    def _of_frame(self, frame: NDArray[Any], name: str) -> list[Panel]:
        channels = frame[..., None] if frame.ndim == 2 else frame
        count = channels.shape[-1]
        shows_now = self.shows_now if len(self.shows_now) == count else (True,) * count
        if count == 3 and all(shows_now) and frame.dtype == np.uint8:
            return [Panel(name, channels, "colour")]
        captions = [", ".join(filter(None, [name, f"channel {i}" if count > 1 else ""])) for i in range(count)]
        return [self._of_channel(channels[..., i], captions[i], now) for i, now in enumerate(shows_now)]

    def _of_channel(self, values: NDArray[Any], caption: str, now: bool) -> Panel:
        space = self.space
        if not now:
            zero = _zero(values.dtype)
            most = np.abs(values.astype(np.float64) - zero).max()
            words = filter(None, [caption, f"difference {zero} ± {most:.4g}"])
            return Panel(", ".join(words), values, "difference", zero=zero)
        if values.dtype == np.uint8:
            return Panel(caption, values, "grey", low=0.0, high=255.0)
        if isinstance(space, spaces.Box) and space.is_bounded("both"):
            return Panel(caption, values, "grey", low=max(0.0, float(space.low.min())), high=float(space.high.max()))
        return Panel(caption, values, "grey", low=float(values.min()), high=float(values.max()))


def stage_of(env: Env, obs: Any, name: str = "") -> Stage:
    """Return an observation of `env` as a stage. The wrappers define its axes and channels."""
    wrappers = list(wrappers_of(env))
    shape = np.shape(obs) if isinstance(obs, np.ndarray) else ()
    has_images = any(isinstance(w, ImageWrapper | RenderObservation) for w in wrappers)
    pictorial = has_images or (len(shape) in (2, 3, 4) and min(shape[:2]) >= 8)
    shows_now = next((w.shows_now for w in wrappers if isinstance(w, ImageWrapper)), ())
    stacked = len(shape) == 4 or (len(shape) == 3 and any(isinstance(w, FrameStackObservation) for w in wrappers))
    return Stage(name, obs, env.observation_space, shows_now, stacked, pictorial, number_names(env))


def _zero(dtype: np.dtype[Any]) -> int:
    """Return the value of no difference. An unsigned byte holds a difference d as 128 + d / 2."""
    return 128 if dtype == np.uint8 else 0


def _shape(obs: NDArray[Any]) -> str:
    return " x ".join(str(n) for n in obs.shape) or "scalar"
