"""The spaces, contexts and devices in which parts are checked.

* `VECTOR`, `IMAGE`, `SIGNED`: small observation spaces of float32, uint8 and int16.
* `context`: a `Context` with a small gamma, so that a wrong power of it shows.
* `Stamp`: observations that a check recognises, by numbers.
* `devices`: the CPU, and CUDA if present.
"""

from __future__ import annotations

import copy

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
    """Observations in `space` that can be told apart: a random one for each number, drawn when it is first needed."""

    def __init__(self, space: spaces.Box) -> None:
        self._space = copy.deepcopy(space)
        self._space.seed(0)
        self._obs: dict[int, Obs] = {}
        self._numbers: dict[bytes, int] = {}

    def put(self, number: int) -> Obs:
        """Return a number's observation [...]."""
        if number not in self._obs:
            self._obs[number] = self._space.sample()
            self._numbers[self._obs[number].tobytes()] = number
        return self._obs[number].copy()

    def read(self, obs: Obs) -> NDArray[np.int64]:
        """[B, ...] observations -> their [B] numbers; `UNREADABLE` if any element differs."""
        rows = obs.astype(self._space.dtype)  # another dtype is a fault of its own
        return np.array([self._numbers.get(row.tobytes(), UNREADABLE) for row in rows], np.int64)
