"""Rendered frames as observations: `RenderObservation`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.error import Error as GymnasiumError
from gymnasium.utils import RecordConstructorArgs
from gymnasium.wrappers import HumanRendering
from numpy.typing import NDArray

from cartpole_dqn.wrappers.checks import plain, span
from cartpole_dqn.wrappers.frames import Frame, as_colours, kind_of, mend, remedy
from cartpole_dqn.wrappers.image import ImageWrapper, off_centre, wrappers_of
from cartpole_dqn.wrappers.moments import Moments
from cartpole_dqn.wrappers.probe import NotResetError, changes_rendering, sample_frame
from cartpole_dqn.wrappers.surface import Drawing, drawing_of, pixels, read

_SELECTED = "CARTPOLE_DQN_SDL_VIDEODRIVER"
"""The environment variable with the driver that `prepare_display` selected, which processes of this one inherit."""


class RenderObservation(gymnasium.ObservationWrapper[Frame, Any, Any], RecordConstructorArgs):
    """Observes the frame that `env.render()` returns: uint8 [H, W, 3], red, green, blue, a new array each time.

    It replaces the environment's own observation. If pygame draws (CartPole, Acrobot, MountainCar, Pendulum,
    LunarLander), it reads the drawing directly: the same bytes, several times faster (see
    `cartpole_dqn.wrappers.surface`). Otherwise, or if a wrapper in between changes the rendering, it calls
    `env.render()` once per observation. Draw in one thread at a time: pygame's polygons share memory.

    Frames with one channel, [H, W] or [H, W, 1], become grey: three equal channels. A fourth channel (opacity) is
    dropped. Other libraries' arrays of bytes are accepted too.

    To find the frame's size, it renders the environment once, if it was reset or has no spec. Otherwise it makes a
    second one from the spec, with the wrappers that change the rendering. It does not copy, reset or step `env`.

    On Linux without a display, it selects SDL's dummy driver. It also stops SDL from handling the process's signals.
    Both are environment variables; it does not change them if they are set.

    Args:
        env: made with `render_mode="rgb_array"`.
        rows: [first, last) of the frame's rows to keep: two ints in pixels, or two floats in 0..1 as fractions of its
            height. None keeps all. Other rows are never converted.
        columns: the same for columns.

    Raises:
        ValueError: the render mode is wrong, rows or columns are outside the frame, a picture wrapper comes before,
            rendering fails, the environment must be reset first, or frames are not bytes or vary in size.
        TypeError: rows or columns are not two numbers of the same kind.

    >>> env = gymnasium.make("CartPole-v1", render_mode="rgb_array")
    >>> RenderObservation(env).observation_space
    Box(0, 255, (400, 600, 3), uint8)
    >>> strip = RenderObservation(env, rows=[0.4, 0.8])
    >>> observation, info = strip.reset(seed=1)
    >>> bool((observation == strip.render()[160:320]).all())
    True
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        rows: Sequence[int] | Sequence[float] | None = None,
        columns: Sequence[int] | Sequence[float] | None = None,
    ) -> None:
        RecordConstructorArgs.__init__(self, rows=plain(rows), columns=plain(columns))
        gymnasium.ObservationWrapper.__init__(self, env)
        _require_frames(env)
        prepare_display()
        frame = _first_frame(env)
        self._shape = frame.shape
        self._rows = span("RenderObservation", "rows", rows, frame.shape[0])
        self._columns = span("RenderObservation", "columns", columns, frame.shape[1])
        shape = frame[self._rows, self._columns].shape
        self.observation_space = spaces.Box(0, 255, shape, np.uint8)
        self.narrows = shape[1] < frame.shape[1]
        self.window = (self._rows, self._columns)
        self.lopsided = off_centre("RenderObservation", self._columns, frame.shape[1])
        self._base = env.unwrapped
        self._direct = not any(changes_rendering(wrapper) for wrapper in wrappers_of(env))

    def observation(self, observation: Any) -> Frame:
        """Return the frame of the environment's current state. `observation` is not used."""
        return self._cut(self._draw())

    def as_torch(self, moments: Moments) -> Any:
        """See `cartpole_dqn.wrappers.moments`. The input "frame" is the whole frame, uint8 [H, W, 3]."""
        return moments.given("frame", lambda: as_colours(self.env.render()))[self._rows, self._columns]

    def pixels(self) -> tuple[NDArray[np.uint8], int, bool] | Frame:
        """Return pygame's bytes of the frame, or the frame if pygame does not draw it.

        The bytes are a view [H, W, 4] of the surface, with the place of red among the four bytes, and whether the rows
        run upwards. Read the view at once and drop it: it locks the surface.
        """
        rendered = self._draw()
        if isinstance(rendered, Drawing) and self._fits(rendered):
            view = pixels(rendered, self._rows, self._columns)
            if view is not None:
                return (*view, rendered.source is not None)
        return self._cut(rendered)

    def _draw(self) -> Any:
        """Return a `Drawing` if pygame draws, otherwise what `render` returns."""
        # Looked up each time, since `render` may be replaced at any time. The lookup is cached.
        is_original = self._direct and "render" not in vars(self._base)
        draw = drawing_of(type(self._base).render) if is_original else None
        return draw(self._base, self._rows) if draw is not None else self.env.render()

    def _fits(self, drawing: Drawing) -> bool:
        width, height = drawing.surface.get_size()
        return bool((height, width, 3) == self._shape)

    def _cut(self, rendered: Any) -> Frame:
        if isinstance(rendered, Drawing):
            if self._fits(rendered):
                return read(rendered, self._rows, self._columns)
            rendered = rendered.surface
        else:
            frame = as_colours(rendered)
            if frame is not None and frame.shape == self._shape:
                return np.array(frame[self._rows, self._columns], order="C")
        raise ValueError(
            f"RenderObservation: expected frames uint8 {list(self._shape)} from {self.env}, as when it was wrapped, "
            f"got {kind_of(rendered)}. To set a size, call reset() after that and then wrap it. To keep it, "
            f"{mend('the frame cut or padded to one size')}"
        )


def prepare_display() -> None:
    """Select SDL's dummy driver on Linux without a display, and stop SDL from handling signals, unless already set."""
    # With a display, SDL ignores SIGTERM unless this is set before it starts.
    os.environ.setdefault("SDL_NO_SIGNAL_HANDLERS", "1")
    has_display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or "SDL_VIDEODRIVER" in os.environ
    if sys.platform.startswith("linux") and not has_display:
        os.environ["SDL_VIDEODRIVER"] = os.environ[_SELECTED] = "dummy"


def requested_driver() -> str:
    """Return the SDL driver in SDL_VIDEODRIVER, or "" if there is none or `prepare_display` selected it."""
    driver = os.environ.get("SDL_VIDEODRIVER", "")
    return "" if driver == os.environ.get(_SELECTED) else driver


def _require_frames(env: gymnasium.Env[Any, Any]) -> None:
    for wrapper in wrappers_of(env):
        if isinstance(wrapper, ImageWrapper | RenderObservation):
            raise ValueError(
                f"RenderObservation replaces the observation, so {type(wrapper).__name__} before it would do nothing. "
                f"Put RenderObservation first."
            )
    if env.render_mode == "rgb_array":
        return
    modes = list(env.metadata.get("render_modes") or [])
    spec = env.unwrapped.spec
    if any(isinstance(wrapper, HumanRendering) for wrapper in wrappers_of(env)):
        mend = "Remove HumanRendering, which shows the frames and returns none."
    elif "rgb_array" not in modes:
        mend = f"It offers {', '.join(modes) if modes else 'no rendering at all'}, so it has no pixels to observe."
    elif env.render_mode is None and spec is not None and spec.kwargs.get("render_mode") == "rgb_array":
        mend = (
            f"It was made with render_mode='rgb_array', but {type(env.unwrapped).__name__} does not store that: its "
            f"__init__ must set self.render_mode = render_mode."
        )
    else:
        mend = "Make it with gymnasium.make(ID, render_mode='rgb_array')."
    raise ValueError(
        f"RenderObservation: expected an environment with render_mode='rgb_array', but {env} has "
        f"{env.render_mode!r}. {mend}"
    )


def _first_frame(env: gymnasium.Env[Any, Any]) -> Frame:
    """Return a frame of `env`, as colours."""
    try:
        rendered = sample_frame(env)
    except (GymnasiumError, ImportError):  # They say what is missing.
        raise
    except NotResetError as error:
        raise ValueError(
            f"RenderObservation: {env} was not reset, so it has no frame yet, and a second one cannot be made from its "
            f"spec ({error}). Call its reset() before you wrap it."
        ) from error
    except Exception as error:
        raise ValueError(
            f"RenderObservation: {env} cannot be rendered: {type(error).__name__}: {error}. Call its reset() before "
            f"you wrap it. If you did, call its render() without the wrapper to see why."
        ) from error
    frame = as_colours(rendered)
    if rendered is None:
        raise ValueError(
            f"RenderObservation: {env}.render() returned None, expected a frame uint8 [H, W, 3]. Call its reset() "
            f"before you wrap it. If you did, {mend('a frame')}"
        )
    if frame is None:
        raise ValueError(
            f"RenderObservation: expected {env}.render() to return frames uint8 [H, W, 3], [H, W, 4] or [H, W], "
            f"got {kind_of(rendered)}. To fix that, {mend(remedy(rendered))}"
        )
    return frame
