"""Gymnasium wrappers that turn what an environment draws into small pictures.

They are ordinary `gymnasium.Wrapper`s and use nothing else in this package.

* `RenderObservation`: what the environment draws, uint8 [H, W, 3], or some of its rows and columns.
* `Channel`: one channel of a picture, [H, W, C] -> [H, W, 1].
* `Crop`: a fixed part of a picture.
* `CenteredCrop`: a window around what a locator finds: the cart, a colour, the brightest or darkest blob.
* `Resize`: a picture with another height and width, antialiased (needs torch, imported when it is built).
* `FrameDifference`: a picture minus an earlier one, with or without the picture itself.
* `Select`: one part of a dict or tuple of observations, for example a camera's picture.
* `LifeLost`: learning treats the loss of a life in a game as the end of an episode.
* `Transform`: any transform of `torchvision.transforms.v2` (needs torchvision, imported when it is built).
* `Moments`: what a wrapper's `as_torch` gets, for wrappers whose observations torch can compute.

All but `Select` work on [H, W], [H, W, C] and stacks of these. All declare an exact observation space, keep the dtype
unless documented otherwise, and can be rebuilt from `env.spec`. Invalid arguments raise `TypeError` or `ValueError`.

>>> import gymnasium
>>> env = gymnasium.make("CartPole-v1", render_mode="rgb_array")
>>> env = RenderObservation(env, rows=[160, 320])
>>> env = CenteredCrop(env, width=320, locator="cart")
>>> env.observation_space
Box(0, 255, (160, 320, 3), uint8)
"""

from __future__ import annotations

from cartpole_dqn.wrappers.channel import Channel
from cartpole_dqn.wrappers.crop import CenteredCrop, Crop
from cartpole_dqn.wrappers.difference import FrameDifference
from cartpole_dqn.wrappers.life_lost import LifeLost
from cartpole_dqn.wrappers.moments import Moments
from cartpole_dqn.wrappers.render import RenderObservation
from cartpole_dqn.wrappers.resize import Resize
from cartpole_dqn.wrappers.select import Select
from cartpole_dqn.wrappers.transform import Transform

__all__ = [
    "CenteredCrop",
    "Channel",
    "Crop",
    "FrameDifference",
    "LifeLost",
    "Moments",
    "RenderObservation",
    "Resize",
    "Select",
    "Transform",
]
