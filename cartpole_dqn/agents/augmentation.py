"""Augmentation of image batches.

* `half_mirrored`: mirrors every second transition, for environments that are symmetric left and right.
* `randomly_shifted`: moves every image by a few pixels.
* `columns_of`: the axis of the images' columns. `require_mirror`: refuses environments that are not symmetric.

The functions take and return a `Batch`. Call them between `ReplayBuffer.sample` and the network.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import gymnasium
import torch
from gymnasium import spaces
from torch import Tensor

from cartpole_dqn.contracts.parts import Batch
from cartpole_dqn.errors import ConfigError, UnsuitableEnvError, UserError
from cartpole_dqn.wrappers.image import wrappers_of

_MIRROR = "mirror"
"""Environments that look and move the same in a mirror, with their actions in reverse, have True in `metadata`."""
_SYMMETRIC = (
    "gymnasium.envs.classic_control.cartpole:CartPoleEnv",
    "gymnasium.envs.classic_control.acrobot:AcrobotEnv",
)
"""Those of Gymnasium, which declare nothing."""


def columns_of(space: spaces.Box, option: str = "agent.mirror") -> int:
    """Return the axis of the columns in a batch [B, ...] of the space's images, counted from the end.

    Raises `UserError` if observations are not images. `option` names the option that needs them.
    """
    if len(space.shape) not in (2, 3, 4):
        raise UserError(
            f"{option}: expected images ([H, W], [H, W, C] or [S, H, W, C]), but observations are "
            f"{list(space.shape)}. Observe pixels, or leave {option.rpartition('.')[2]} out."
        )
    return -1 if len(space.shape) == 2 else -2


def require_mirror(env: gymnasium.Env[Any, Any]) -> None:
    """Raise a `UserError` if `env` is not known to look and move the same in a mirror, with its actions in reverse.

    An environment declares it as `metadata["mirror"] = True`; for CartPole and Acrobot it is known. A wrapper that
    cuts more from one side than from the other says so in its attribute `lopsided`.
    """
    kind = type(env.unwrapped)
    name = f"{kind.__module__}:{kind.__qualname__}"
    if not env.metadata.get(_MIRROR, name in _SYMMETRIC):
        raise UnsuitableEnvError(
            f"agent.mirror learns as if {kind.__name__} looked and moved the same in a mirror, with its "
            f"{env.action_space} actions in reverse, which it does not declare. If it is so, give the environment's "
            f'metadata "{_MIRROR}": True. Otherwise leave mirror out.'
        )
    for wrapper in wrappers_of(env):
        if reason := getattr(wrapper, "lopsided", ""):
            raise ConfigError(f"agent.mirror: {reason}, so what is observed in a mirror is no mirror image.")


def half_mirrored(batch: Batch, num_actions: int, columns: int) -> Batch:
    """Return `batch` with every second transition mirrored.

    CartPole is symmetric: mirrored images with reversed actions are a valid transition (van der Pol et al. 2020, MDP
    Homomorphic Networks). Learning from both sides needs half the experience, and the policy prefers neither side.

    In mirrored transitions, columns run from right to left and action `a` becomes `num_actions - 1 - a`. Rewards and
    discounts stay.

    Args:
        batch: stays unchanged.
        num_actions: A.
        columns: the axis of `obs` to reverse, from `columns_of`.
    """
    actions = batch.actions.clone()
    actions[1::2] = num_actions - 1 - batch.actions[1::2]
    mask = None if batch.next_mask is None else _every_second_flipped(batch.next_mask, 1)
    obs, next_obs = (_every_second_flipped(images, columns) for images in (batch.obs, batch.next_obs))
    return dataclasses.replace(batch, obs=obs, next_obs=next_obs, actions=actions, next_mask=mask)


def randomly_shifted(batch: Batch, pixels: int, columns: int, generator: torch.Generator) -> Batch:
    """Return `batch` with each image moved by up to `pixels` rows and columns at random.

    As in Kostrikov et al. 2021, Image Augmentation Is All You Need, section 3.1. The image's edge pixels fill the gap.
    `obs` and `next_obs` move independently; the frames of a stack move together.

    Args:
        batch: stays unchanged.
        pixels: the largest shift, at least 1.
        columns: the axis of the columns, from `columns_of`.
        generator: the only source of randomness, on the CPU.
    """
    obs, next_obs = (_shifted(images, pixels, columns, generator) for images in (batch.obs, batch.next_obs))
    return dataclasses.replace(batch, obs=obs, next_obs=next_obs)


def _every_second_flipped(rows: Tensor, axis: int) -> Tensor:
    flipped = torch.empty_like(rows)
    flipped[::2], flipped[1::2] = rows[::2], rows[1::2].flip(axis)
    return flipped


def _shifted(images: Tensor, pixels: int, columns: int, generator: torch.Generator) -> Tensor:
    """Gather each pixel from its place before the shift; places beyond the edge become the edge."""
    rows = images.ndim + columns - 1
    height, width = images.shape[rows : rows + 2]
    count, frames = images.shape[0], images.shape[1:rows].numel()
    moves = torch.randint(-pixels, pixels + 1, (2, count, 1), generator=generator)
    from_rows = (torch.arange(height) + moves[0]).clamp_(0, height - 1)
    from_columns = (torch.arange(width) + moves[1]).clamp_(0, width - 1)
    within = from_rows[:, None, :, None] * width + from_columns[:, None, None, :]  # [B, 1, H, W]
    begins = torch.arange(count * frames).view(count, frames, 1, 1) * (height * width)
    chosen = (within + begins).flatten().to(images.device)
    return images.reshape(count * frames * height * width, -1).index_select(0, chosen).view(images.shape)
