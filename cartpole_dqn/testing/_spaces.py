"""The spaces, contexts and devices in which parts are checked.

* `VECTOR`, `IMAGE`, `SIGNED`: small observation spaces of float32, uint8 and int16.
* `context`: a `Context` with a small gamma, so that a wrong power of it shows.
* `Stamp`: observations that carry a number, by which a check recognises them.
* `devices`: the CPU, and CUDA if present.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from cartpole_dqn.contracts.parts import Build, Context, Obs
from cartpole_dqn.contracts.seeding import SeedTree

VECTOR = spaces.Box(-np.inf, np.inf, (4,), np.float32)
IMAGE = spaces.Box(0, 255, (6, 5, 3), np.uint8)
SIGNED = spaces.Box(-255, 255, (4, 6, 2), np.int16)

UNREADABLE = -1
"""`Stamp.read` returns this for observations that `Stamp.put` did not make."""


def context(
    space: spaces.Box = VECTOR,
    *,
    actions: int = 4,
    num_envs: int = 3,
    n_step: int = 1,
    seed: int = 0,
    device: str = "cpu",
    builder: Build | None = None,
) -> Context:
    """Return a context for a part."""
    return Context(
        observation_space=space,
        action_space=spaces.Discrete(actions),
        num_envs=num_envs,
        device=torch.device(device),
        seeds=SeedTree(seed).child("conformance"),
        gamma=0.9,
        n_step=n_step,
        builder=builder,
    )


def devices() -> list[str]:
    """Return the devices to check on."""
    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


class Stamp:
    """Observations in `space` that carry a number below a million in each of their elements.

    Integers repeat the number's three digits, shifted from place to place; floats repeat it with alternating sign.
    """

    def __init__(self, space: spaces.Box) -> None:
        self._space = space
        place = np.arange(int(np.prod(space.shape)))
        self._digits = bool(np.issubdtype(space.dtype, np.integer))
        self._low = int(space.low.min()) if self._digits else 0
        self._base = min(256, int(space.high.max()) - self._low + 1) if self._digits else 0
        self._powers = self._base ** (place % 3)
        self._shifts: NDArray[Any] = 7 * (place // 3) if self._digits else place / 4
        self._signs = np.where(place % 2, -1, 1)

    def put(self, numbers: NDArray[np.int64]) -> Obs:
        """[B] numbers -> [B, ...] observations."""
        number = numbers[:, None]
        flat: NDArray[Any]
        if self._digits:
            flat = self._low + (number // self._powers % self._base + self._shifts) % self._base
        else:
            flat = self._signs * number + self._shifts
        return flat.astype(self._space.dtype).reshape(len(numbers), *self._space.shape)

    def read(self, obs: Obs) -> NDArray[np.int64]:
        """[B, ...] observations -> the [B] numbers that they carry; `UNREADABLE` if any element does not fit."""
        flat = obs.reshape(len(obs), -1)
        if self._digits:
            found = (flat[:, :3].astype(np.int64) - self._low) @ self._powers[:3]
        else:
            found = np.round(np.nan_to_num(flat[:, 0])).astype(np.int64)
        whole = (self.put(found) == obs).reshape(len(obs), -1).all(axis=1)
        return np.where(whole, found, UNREADABLE)


def random_obs(space: spaces.Box, count: int, generator: np.random.Generator) -> Obs:
    """[count, ...] observations, uniform in the space; standard normal where it is unbounded."""
    shape = (count, *space.shape)
    if np.issubdtype(space.dtype, np.integer):
        low, high = space.low.astype(np.int64), space.high.astype(np.int64)
        return generator.integers(low, high, shape, endpoint=True).astype(space.dtype)
    bounded = np.isfinite(space.low) & np.isfinite(space.high)
    least, most = np.where(bounded, space.low, 0.0), np.where(bounded, space.high, 1.0)
    normal, even = generator.standard_normal(shape), least + (most - least) * generator.random(shape)
    return np.where(bounded, even, normal).astype(space.dtype)
