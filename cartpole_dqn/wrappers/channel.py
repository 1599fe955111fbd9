"""`Channel`: one channel of a picture."""

from __future__ import annotations

from typing import Any

import gymnasium

from cartpole_dqn.wrappers.checks import whole_number
from cartpole_dqn.wrappers.image import Image, ImageWrapper, Layout
from cartpole_dqn.wrappers.moments import Moments


class Channel(ImageWrapper):
    """Keeps one channel: [H, W, C] -> [H, W, 1], [S, H, W, C] -> [S, H, W, 1]. The dtype stays.

    One channel of an RGB picture takes a third of the storage, and is cheaper than converting to grey. In CartPole, the
    green channel (1) distinguishes the cart (0), the pole (152) and the background (255).

    Args:
        env: its observations have channels.
        channel: the channel to keep, from 0.

    Raises:
        TypeError: `channel` is not a whole number.
        ValueError: the pictures have no channels, or too few.

    >>> from cartpole_dqn.wrappers.render import RenderObservation
    >>> env = RenderObservation(gymnasium.make("CartPole-v1", render_mode="rgb_array"))
    >>> Channel(env, 1).observation_space
    Box(0, 255, (400, 600, 1), uint8)
    """

    kept: int
    """The channel that it keeps."""

    def __init__(self, env: gymnasium.Env[Any, Any], channel: int) -> None:
        super().__init__(env, channel=channel)
        self.kept = whole_number(self.who, "channel", channel, least=0)
        if not self.layout.channelled:
            raise ValueError(
                f"Channel: expected pictures with channels, but their shape is {self.layout.shape}. Remove Channel."
            )
        if self.kept >= self.layout.channels:
            raise ValueError(
                f"Channel: channel must be from 0 to {self.layout.channels - 1}, since the pictures have "
                f"{self.layout.channels} channels, got {self.kept}."
            )
        self._slice = slice(self.kept, self.kept + 1)
        out = Layout((*self.layout.shape[:-1], 1), self.layout.stacked, channelled=True)
        space = self.source
        self._give(out, space.low[..., self._slice], space.high[..., self._slice], space.dtype)
        self.shows_now = (self.shows_now[self.kept],)

    def observation(self, observation: Image) -> Image:
        """Return the channel of `observation`, as a copy."""
        return observation[..., self._slice].copy()

    def as_torch(self, moments: Moments) -> Any:
        return moments.observation()[..., self._slice]
