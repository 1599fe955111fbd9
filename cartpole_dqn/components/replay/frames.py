"""`Frames`: the observations in the slots of a `TransitionRing`, whole or as single frames of a stack."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cartpole_dqn.contracts.parts import Obs


class Frames:
    """The observations in a ring's slots.

    Without a stack, a slot holds an observation. With one, a slot holds only the last frame of its observation
    [S, ...]. The other frames are in the S - 1 slots before it in its lane, where they are the last frames of earlier
    observations. An episode's first observation takes S slots.

    Args:
        slots: [slots, ...], the ring's array of observations or frames.
        stack: S; 1 for no stack.
        length: slots per lane.
    """

    def __init__(self, slots: Obs, stack: int, length: int) -> None:
        self._slots = slots
        self._stack = stack
        self._length = length
        self._back = np.arange(1 - stack, 1)

    def first(self, obs: Obs) -> Sequence[Obs]:
        """Return what the slots of an episode's first observation hold, in order."""
        return (obs,) if self._stack == 1 else tuple(obs)

    def last(self, obs: Obs) -> Obs:
        """Return what the slot of a later observation holds."""
        return obs if self._stack == 1 else obs[-1]

    def follows(self, obs: Obs, next_obs: Obs) -> bool:
        """Whether `next_obs` is `obs` without its first frame and with a new last one."""
        # Bytes: NaN must equal itself.
        return next_obs[:-1].tobytes() == obs[1:].tobytes()

    def holds(self, slot: int, obs: Obs) -> bool:
        """Whether the observation at `slot` has the same bits as `obs`."""
        stored = self._slots[slot] if self._stack == 1 else self.gather(np.array([slot]))[0]
        return bool(stored.tobytes() == obs.tobytes())

    def gather(self, slots: NDArray[np.int64]) -> Obs:
        """Return copies of the observations [K, ...] at `slots` [K]."""
        if self._stack > 1:
            places = slots % self._length
            slots = (slots - places)[:, None] + (places[:, None] + self._back) % self._length
        observations: Obs = self._slots.take(slots, axis=0)
        return observations
