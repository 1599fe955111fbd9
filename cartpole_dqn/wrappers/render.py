"""What an environment draws becomes what the agent sees.

* `RenderObservation`: the wrapper.
* `prepare_display`: SDL's settings for drawing without a display, made before any is opened.
"""

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
from numpy.typing import NDArray

from cartpole_dqn.wrappers.checks import plain, span
from cartpole_dqn.wrappers.frames import Frame, as_colours, kind_of, mend, remedy
from cartpole_dqn.wrappers.image import ImageWrapper, wrappers_of
from cartpole_dqn.wrappers.probe import changes_rendering, sample_frame
from cartpole_dqn.wrappers.surface import Drawing, drawing_of, pixels, read


class RenderObservation(gymnasium.ObservationWrapper[Frame, Any, Any], RecordConstructorArgs):
    """The observation is the frame that `env.render()` gives: uint8 [H, W, 3], red, green, blue, a new array each time.

    The environment's own observation is dropped. Where pygame draws (CartPole, Acrobot, MountainCar, Pendulum,
    LunarLander), the drawing is read directly: the same bytes several times faster, see
    `cartpole_dqn.wrappers.surface`. Elsewhere, and where a wrapper in between has a say in rendering, `env.render()` is
    called, once per observation. Either way, draw in one thread at a time: pygame's polygons share memory.

    Frames of one channel, [H, W] or [H, W, 1], become grey: three equal channels. Of four, the last (opacity) is left
    off. What NumPy takes for an array of bytes will do as one.

    The frame's size is found without touching the environment: a copy of it, or a second one made from its spec, is
    reset with a fixed seed and rendered. Where neither can be made, the environment itself is rendered; if it cannot be
    rendered before it is reset, it is reset with a fixed seed and its random generator is put back.

    On Linux without a display, SDL's dummy driver is chosen, and SDL is told to leave the process's signals alone: by
    environment variables, unless they are set already.

    Args:
        env: made with `render_mode="rgb_array"`.
        rows: [first, last) of the frame's rows to keep: two ints in pixels, or two floats in 0..1 as shares of its
            height. None keeps all. Rows that are not kept are never converted.
        columns: the same for columns.

    Raises:
        ValueError: another render mode; rows or columns outside the frame; a picture wrapper comes before; rendering
            fails; frames of another kind or of varying size.
        TypeError: rows or columns are not two numbers of one kind.

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
        kept = frame[self._rows, self._columns].shape
        self.observation_space = spaces.Box(0, 255, kept, np.uint8)
        self.narrows = kept[1] < frame.shape[1]
        self.window = (self._rows, self._columns)
        self._base = env.unwrapped
        self._direct = not any(changes_rendering(wrapper) for wrapper in wrappers_of(env))

    def observation(self, observation: Any) -> Frame:
        """Return the frame of the environment's present state; `observation` is dropped."""
        return self._cut(self._draw())

    def pixels(self) -> tuple[NDArray[np.uint8], int, bool] | Frame:
        """Return the frame's bytes as pygame keeps them, where it draws; elsewhere the frame.

        The bytes are a view [H, W, 4] of the surface. Read it at once and drop it: it locks the surface. With it come
        the place of red among the four bytes, and whether the rows run upwards.
        """
        drawn = self._draw()
        if isinstance(drawn, Drawing) and self._fits(drawn):
            found = pixels(drawn, self._rows, self._columns)
            if found is not None:
                return (*found, drawn.source is not None)
        return self._cut(drawn)

    def _draw(self) -> Any:
        """Return a `Drawing` where pygame draws, else what the environment renders."""
        # Looked up each time, since rendering may be redefined at any time; the lookup is cached.
        known = self._direct and "render" not in vars(self._base)
        draw = drawing_of(type(self._base).render) if known else None
        return draw(self._base) if draw is not None else self.env.render()

    def _fits(self, drawn: Drawing) -> bool:
        width, height = drawn.surface.get_size()
        return bool((height, width, 3) == self._shape)

    def _cut(self, drawn: Any) -> Frame:
        if isinstance(drawn, Drawing):
            if self._fits(drawn):
                return read(drawn, self._rows, self._columns)
            drawn = drawn.surface
        else:
            frame = as_colours(drawn)
            if frame is not None and frame.shape == self._shape:
                return np.array(frame[self._rows, self._columns], order="C")
        raise ValueError(
            f"RenderObservation: expected frames uint8 {list(self._shape)} from {self.env}, as when it was wrapped, "
            f"got {kind_of(drawn)}. Wrap it after its size is set, and keep the size. Or "
            f"{mend('the frame cut or padded to one size')}"
        )


def prepare_display() -> None:
    """Choose SDL's dummy driver where Linux has no display, and keep SDL off signals, unless either is set already."""
    # Once SDL has a display it ignores SIGTERM unless told otherwise before it starts.
    os.environ.setdefault("SDL_NO_SIGNAL_HANDLERS", "1")
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")


def _require_frames(env: gymnasium.Env[Any, Any]) -> None:
    for wrapper in wrappers_of(env):
        if isinstance(wrapper, ImageWrapper | RenderObservation):
            raise ValueError(
                f"RenderObservation: it replaces the observation, so {type(wrapper).__name__} before it would do "
                f"nothing. Put RenderObservation first."
            )
    if env.render_mode == "rgb_array":
        return
    modes = list(env.metadata.get("render_modes") or [])
    mend = (
        "Make it with gymnasium.make(ID, render_mode='rgb_array')."
        if "rgb_array" in modes
        else f"It offers {', '.join(modes) if modes else 'no rendering at all'}, so it cannot be seen as pixels."
    )
    raise ValueError(
        f"RenderObservation: expected an environment with render_mode='rgb_array', but {env} has "
        f"{env.render_mode!r}. {mend}"
    )


def _first_frame(env: gymnasium.Env[Any, Any]) -> Frame:
    """Return a frame such as `env` will draw, as colours."""
    try:
        drawn = sample_frame(env)
    except (GymnasiumError, ImportError):  # They say what is missing.
        raise
    except Exception as error:
        raise ValueError(
            f"RenderObservation: {env} cannot be rendered: {type(error).__name__}: {error}. Call its render() after "
            f"reset() alone to see why."
        ) from error
    frame = as_colours(drawn)
    if frame is None:
        raise ValueError(
            f"RenderObservation: expected {env}.render() to give frames uint8 [H, W, 3], [H, W, 4] or [H, W], "
            f"got {kind_of(drawn)}. To mend that, {mend(remedy(drawn))}"
        )
    return frame
