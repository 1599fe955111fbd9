"""Augmentation of batches.

* `half_mirrored`: mirrors every second transition, for environments that are symmetric left and right.
* `mirror_of`: how observations look in a mirror. Refuses environments that are not symmetric.
* `randomly_shifted`: moves every image by a few pixels. `columns_of`: the axis of the images' columns.

The functions take and return a `Batch`. Call them between `ReplayBuffer.sample` and the network.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.wrappers import FrameStackObservation
from torch import Tensor

from cartpole_dqn.contracts.parts import Batch
from cartpole_dqn.errors import ConfigError, RunError, UnsuitableEnvError, UserError
from cartpole_dqn.wrappers.image import wrappers_of

Mirror = Callable[[Tensor], Tensor]
"""Observations [B, ...] -> the same in a mirror."""

_MIRROR = "mirror"
_SYMMETRIC = {
    "gymnasium.envs.classic_control.cartpole:CartPoleEnv": (-1, -1, -1, -1),
    "gymnasium.envs.classic_control.acrobot:AcrobotEnv": (1, -1, 1, -1, -1, -1),
}
"""Gymnasium's symmetric environments, which declare nothing, with the signs of their numbers in a mirror."""


def columns_of(space: spaces.Box) -> int:
    """Return the axis of the columns in a batch [B, ...] of the space's images, counted from the end.

    Raises `UserError` if observations are not images.
    """
    if len(space.shape) not in (2, 3, 4):
        raise UserError(
            f"agent.random_shift: expected images ([H, W], [H, W, C] or [S, H, W, C]), but observations are "
            f"{list(space.shape)}. Observe pixels, or leave random_shift out."
        )
    return -1 if len(space.shape) == 2 else -2


def mirror_of(space: spaces.Box, env: gymnasium.Env[Any, Any] | None = None) -> Mirror:
    """Return how a batch of observations from `space` looks in a mirror.

    Images ([H, W], [H, W, C] or [S, H, W, C]) run from right to left. Numbers [n] change their signs.

    An environment that moves the same in a mirror, with its actions in reverse, says so in its metadata: "mirror": True
    for images, or the signs of its n numbers in a mirror, such as [-1, 1], for both. For CartPole and Acrobot these are
    known. A wrapper that cuts more from one side of a picture than from the other says so in its attribute `lopsided`.

    Args:
        space: of observations.
        env: the environment with its wrappers. It may be reset. Without it nothing is checked, and only images can be
            mirrored.

    Raises:
        UserError: the environment does not say that it is symmetric, or a wrapper breaks the symmetry.
    """
    declared = None if env is None else _declared(env)
    if len(space.shape) > 1 and not (env and _stacks_numbers(env)):
        columns = columns_of(space)
        return lambda obs: obs.flip(columns)
    if env is None:
        return _unknown
    signs = _signs(env, declared, space.shape[0])
    return lambda obs: obs * obs.new_tensor(signs)


def _declared(env: gymnasium.Env[Any, Any]) -> Any:
    kind = type(env.unwrapped)
    declared = env.metadata.get(_MIRROR, _SYMMETRIC.get(f"{kind.__module__}:{kind.__qualname__}"))
    if not declared:
        raise UnsuitableEnvError(
            f"agent.mirror learns as if {kind.__name__} looked and moved the same in a mirror, with its "
            f"{env.action_space} actions in reverse, which it does not declare. If it is so, give the environment's "
            f'metadata "{_MIRROR}": True. Otherwise leave mirror out.'
        )
    for wrapper in wrappers_of(env):
        if reason := getattr(wrapper, "lopsided", ""):
            raise ConfigError(f"agent.mirror: {reason}, so what is observed in a mirror is no mirror image.")
    return declared


def _stacks_numbers(env: gymnasium.Env[Any, Any]) -> bool:
    """Return whether observations [S, n] are stacked numbers, no image."""
    stacks = (wrapper for wrapper in wrappers_of(env) if isinstance(wrapper, FrameStackObservation))
    return any(len(wrapper.env.observation_space.shape or ()) == 1 for wrapper in stacks)


def _signs(env: gymnasium.Env[Any, Any], declared: Any, size: int) -> Sequence[int]:
    """Return the signs of an environment's numbers in a mirror. Resets the environment."""
    kind = type(env.unwrapped).__name__
    # Whatever wrappers are there: do the numbers that come out at the top differ from the environment's own?
    observed, own = (np.asarray(layer.reset(seed=0)[0]) for layer in (env, env.unwrapped))
    if observed.shape != own.shape or not np.allclose(observed, own):
        names = ", ".join(type(wrapper).__name__ for wrapper in wrappers_of(env))
        raise ConfigError(
            f"agent.mirror: a wrapper changes the numbers of {kind} ({names}), and only its own have known signs in a "
            f"mirror. Set agent.mirror=false, or leave the wrapper out."
        )
    if not isinstance(declared, list | tuple) or len(declared) != size or any(sign not in (-1, 1) for sign in declared):
        raise UnsuitableEnvError(
            f"agent.mirror: expected in the metadata of {kind} the signs of its {size} numbers in a mirror, as in "
            f'"{_MIRROR}": [-1, 1, ...], got {declared!r}. Give them, or leave mirror out.'
        )
    return declared


def _unknown(obs: Tensor) -> Tensor:
    raise RunError("agent.mirror: the signs of numbers in a mirror need the environment, see Context.make_env.")


def half_mirrored(batch: Batch, num_actions: int, mirror: Mirror) -> Batch:
    """Return `batch` with every second transition mirrored.

    CartPole is symmetric: mirrored observations with reversed actions are a valid transition (van der Pol et al. 2020,
    MDP Homomorphic Networks). Learning from both sides needs half the experience, and the policy prefers neither side.

    In mirrored transitions, action `a` becomes `num_actions - 1 - a`. Rewards and discounts stay.

    Args:
        batch: stays unchanged.
        num_actions: A.
        mirror: from `mirror_of`.
    """
    actions = batch.actions.clone()
    actions[1::2] = num_actions - 1 - batch.actions[1::2]
    mask = None if batch.next_mask is None else _every_second(batch.next_mask, lambda allowed: allowed.flip(1))
    obs, next_obs = (_every_second(observations, mirror) for observations in (batch.obs, batch.next_obs))
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


def _every_second(rows: Tensor, mirror: Mirror) -> Tensor:
    mirrored = torch.empty_like(rows)
    mirrored[::2], mirrored[1::2] = rows[::2], mirror(rows[1::2])
    return mirrored


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
    indices = (within + begins).flatten().to(images.device)
    return images.reshape(count * frames * height * width, -1).index_select(0, indices).view(images.shape)
