"""A batch as it would be in a mirror, for environments that look and move the same there.

CartPole's pole falls to the left as it falls to the right: what is learned of one side holds for the other, with the
actions reversed (van der Pol et al. 2020, MDP Homomorphic Networks). Learning from both halves the experience that is
needed, and leaves a policy no side to drift to.
"""

from __future__ import annotations

import dataclasses

from gymnasium import spaces

from cartpole_dqn.contracts.parts import Batch
from cartpole_dqn.errors import UserError


def columns_of(space: spaces.Box) -> int:
    """Return the axis of a batch [B, ...] of the space's images along which their columns lie, counted from the end.

    Raises:
        UserError: the space has no images.
    """
    if len(space.shape) not in (2, 3, 4):
        raise UserError(
            f"agent.mirror: expected images ([H, W], [H, W, C] or [S, H, W, C]), but observations are "
            f"{list(space.shape)}. Observe pixels, or leave mirror out."
        )
    return -1 if len(space.shape) == 2 else -2


def half_mirrored(batch: Batch, num_actions: int, columns: int) -> Batch:
    """Return `batch` with every second transition in a mirror.

    Its images run from right to left and its action `a` is `num_actions - 1 - a`; rewards and discounts stay.

    Args:
        batch: left as it is.
        num_actions: A.
        columns: the axis of `obs` that is turned around, as `columns_of` says.
    """
    obs, next_obs, actions = batch.obs.clone(), batch.next_obs.clone(), batch.actions.clone()
    obs[1::2] = batch.obs[1::2].flip(columns)
    next_obs[1::2] = batch.next_obs[1::2].flip(columns)
    actions[1::2] = num_actions - 1 - batch.actions[1::2]
    mask = batch.next_mask
    if mask is not None:
        mask = mask.clone()
        mask[1::2] = mask[1::2].flip(1)
    return dataclasses.replace(batch, obs=obs, next_obs=next_obs, actions=actions, next_mask=mask)
