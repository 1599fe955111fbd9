"""Batches of images, augmented just before they are learned from.

* `half_mirrored`: every second transition as in a mirror, for environments that look and move the same there.
* `randomly_shifted`: every image moved by a few pixels.
* `columns_of`: which axis of the images has the columns.

The functions take a `Batch` and return one, so any agent can call them between `ReplayBuffer.sample` and its network.
"""

from __future__ import annotations

import dataclasses

import torch
from gymnasium import spaces
from torch import Tensor

from cartpole_dqn.contracts.parts import Batch
from cartpole_dqn.errors import UserError


def columns_of(space: spaces.Box, option: str = "agent.mirror") -> int:
    """Return the axis of the columns in a batch [B, ...] of the space's images, counted from the end.

    Args:
        space: of one observation.
        option: what needs images, for the message.

    Raises:
        UserError: the space has no images.
    """
    if len(space.shape) not in (2, 3, 4):
        raise UserError(
            f"{option}: expected images ([H, W], [H, W, C] or [S, H, W, C]), but observations are "
            f"{list(space.shape)}. Observe pixels, or leave {option.rpartition('.')[2]} out."
        )
    return -1 if len(space.shape) == 2 else -2


def half_mirrored(batch: Batch, num_actions: int, columns: int) -> Batch:
    """Return `batch` with every second transition as in a mirror.

    CartPole's pole falls to the left as it falls to the right: what is learned of one side holds for the other, with
    the actions reversed (van der Pol et al. 2020, MDP Homomorphic Networks). Learning from both needs half the
    experience, and gives a policy no side to drift to.

    The mirrored images run from right to left, and action `a` becomes `num_actions - 1 - a`; rewards and discounts
    stay.

    Args:
        batch: is not changed.
        num_actions: A.
        columns: the axis of `obs` that is reversed, as `columns_of` returns it.
    """
    actions = batch.actions.clone()
    actions[1::2] = num_actions - 1 - batch.actions[1::2]
    mask = batch.next_mask
    if mask is not None:
        mask = mask.clone()
        mask[1::2] = mask[1::2].flip(1)
    obs, next_obs = (_every_second_flipped(images, columns) for images in (batch.obs, batch.next_obs))
    return dataclasses.replace(batch, obs=obs, next_obs=next_obs, actions=actions, next_mask=mask)


def randomly_shifted(batch: Batch, pixels: int, columns: int, generator: torch.Generator) -> Batch:
    """Return `batch` with each image moved by up to `pixels` rows and columns, chosen at random (Kostrikov et al. 2021,
    Image Augmentation Is All You Need, section 3.1).

    The image's edge fills what moves in. `obs` and `next_obs` move independently; all frames of a stack move together.

    Args:
        batch: is not changed.
        pixels: the largest shift, at least 1.
        columns: the axis of the columns, as `columns_of` returns it.
        generator: the only source of randomness, on the CPU.
    """
    obs, next_obs = (_shifted(images, pixels, columns, generator) for images in (batch.obs, batch.next_obs))
    return dataclasses.replace(batch, obs=obs, next_obs=next_obs)


def _every_second_flipped(images: Tensor, columns: int) -> Tensor:
    flipped = images.clone()
    flipped[1::2] = images[1::2].flip(columns)
    return flipped


def _shifted(images: Tensor, pixels: int, columns: int, generator: torch.Generator) -> Tensor:
    """Gather every pixel from its place before the shift; places beyond the edge are those of the edge."""
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
