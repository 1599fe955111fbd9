"""How observations lie in the slots of a `TransitionRing`: whole, or each frame of a stack once.

* `Frames`: writes observations into slots and makes them whole again.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cartpole_dqn.contracts.parts import Obs


class Frames:
    """The observations in a ring's slots.

    Without a stack a slot holds an observation. With one, an observation [S, ...] is S frames of which its slot holds
    the last; the others lie in the S - 1 slots before it in its lane, as the last frames of the observations there. An
    episode's first observation has none before it and takes S slots.

    Args:
        slots: [slots, ...], the ring's array of observations, or of frames.
        stack: S, 1 for no stack.
        length: slots of a lane.
    """

    def __init__(self, slots: Obs, stack: int, length: int) -> None:
        self._slots = slots
        self._stack = stack
        self._length = length
        self._back = np.arange(1 - stack, 1)

    def first(self, obs: Obs) -> Sequence[Obs]:
        """Return what an episode's first observation puts into slots, one after the other."""
        return (obs,) if self._stack == 1 else tuple(obs)

    def last(self, obs: Obs) -> Obs:
        """Return what an observation puts into its slot where the one before it is in place."""
        return obs if self._stack == 1 else obs[-1]

    def follows(self, obs: Obs, next_obs: Obs) -> bool:
        """Whether the frames of `next_obs` but the last are those of `obs` but the first."""
        # Bytes, so that NaN equals itself.
        return next_obs[:-1].tobytes() == obs[1:].tobytes()

    def holds(self, slot: int, obs: Obs) -> bool:
        """Whether the observation at `slot` is `obs`, bit by bit."""
        stored = self._slots[slot] if self._stack == 1 else self.gather(np.array([slot]))[0]
        return bool(stored.tobytes() == obs.tobytes())

    def gather(self, slots: NDArray[np.int64]) -> Obs:
        """Return copies of the observations [K, ...] at `slots` [K]."""
        if self._stack > 1:
            places = slots % self._length
            slots = (slots - places)[:, None] + (places[:, None] + self._back) % self._length
        found: Obs = self._slots.take(slots, axis=0)
        return found
