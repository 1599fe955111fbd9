"""The base of replays that store in a `TransitionRing`.

* `RingReplay`: owns the ring, its bytes, lanes and state, and computes importance weights; a subclass only draws.
"""

from __future__ import annotations

import abc
import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray

from cartpole_dqn.components.replay.ring import TransitionRing
from cartpole_dqn.contracts.parts import Batch, Context, ReplayBuffer, State, Transition
from cartpole_dqn.contracts.seeding import generator_state, restore_generator
from cartpole_dqn.errors import ConfigError
from cartpole_dqn.system import available_bytes, require_memory


class RingReplay(ReplayBuffer):
    """Stores transitions in a ring; a subclass defines `draw`, which says which to learn from.

    Weights make up for uneven sampling (Schaul et al. 2016): (N P(i))^-beta, divided by the largest in the batch. N and
    the sum of all probabilities cancel out, which leaves (P(i) / min P)^-beta.

    A subclass that remembers something for each transition follows the ring in `changed`. One that has more state than
    the generator extends `small_state_dict`, or `state_dict` if it belongs to the stored transitions.

    Attributes:
        ring: the `TransitionRing`, built with the context's gamma, n_step, num_envs, frame_stack and device.
        generator: the NumPy generator to draw with, from the context's seeds.

    Args:
        capacity: slots for observations, over all lanes.
        context: as every part gets it.
        name: how messages call this replay, such as "replay acme".
        extra_bytes: memory that the subclass takes besides the ring's, for the check that all of it fits.

    Raises:
        ConfigError: the capacity is too small for the lanes and n_step.
        UserError: the replay would take more memory than is left.
    """

    beta: float = 1.0
    """How far weights make up for uneven sampling, from 0 (not at all) to 1; may be a property that follows a schedule.
    It is read before each `draw`."""

    def __init__(self, capacity: int, context: Context, *, name: str, extra_bytes: int = 0) -> None:
        self._name = name
        space = context.observation_space
        try:
            needed = extra_bytes + TransitionRing.bytes_needed(
                observation_space=space,
                capacity=capacity,
                num_envs=context.num_envs,
                n_step=context.n_step,
                frame_stack=context.frame_stack,
            )
        except ValueError as error:
            raise ConfigError(f"{name}: {error}") from None
        available = available_bytes()
        fitting = int(capacity * min(1.0, available / needed))
        require_memory(
            needed,
            who=f"{name} with {capacity} slots of {space.dtype} {list(space.shape)}",
            mend=f"Set its capacity well below {fitting}, or make observations smaller (uint8, fewer pixels).",
            available=available,
        )
        self.ring = TransitionRing(
            observation_space=space,
            capacity=capacity,
            gamma=context.gamma,
            num_envs=context.num_envs,
            n_step=context.n_step,
            device=context.device,
            frame_stack=context.frame_stack,
        )
        self.generator = context.seeds.numpy("sample")

    @abc.abstractmethod
    def draw(self, batch_size: int) -> tuple[NDArray[np.int64], NDArray[np.float64] | None]:
        """Choose `batch_size` of the ring's valid transitions; there is at least one.

        Returns:
            Their indices [B], from `ring.index_at(ranks)` or `ring.indices_in(slots)`; and how likely each was to be
            drawn [B], above 0 and up to a common factor, or None where all transitions are equally likely.
        """

    def gather(self, indices: NDArray[np.int64]) -> Batch:
        """Return the transitions that `draw` chose, with weights of 1."""
        return self.ring.gather(indices)

    def changed(self, env: int, added: list[int], removed: list[int]) -> None:
        """Called after each `add` and `break_lane`: slots of the lane that became valid, and those that were lost."""

    def add(self, transition: Transition) -> None:
        """See `ReplayBuffer` and `TransitionRing.append`."""
        self.changed(transition.env, *self.ring.append(transition))

    def break_lane(self, env: int) -> None:
        """See `ReplayBuffer`."""
        self.changed(env, *self.ring.break_lane(env))

    def sample(self, batch_size: int) -> Batch:
        """Choose `batch_size` transitions, with their weights. Raises `ValueError` while there are none."""
        if not len(self):
            raise ValueError(f"{self._name} holds no complete transition: store more before learning.")
        beta = self.beta
        indices, probabilities = self.draw(batch_size)
        batch = self.gather(indices)
        if probabilities is None:
            return batch
        weights = (probabilities / probabilities.min()) ** -beta
        return dataclasses.replace(batch, weights=torch.from_numpy(weights.astype(np.float32)).to(self.ring.device))

    def __len__(self) -> int:
        return len(self.ring)

    @property
    def capacity(self) -> int:
        """See `ReplayBuffer`."""
        return self.ring.capacity

    @property
    def nbytes(self) -> int:
        """See `ReplayBuffer`. A subclass adds its `extra_bytes`."""
        return self.ring.nbytes

    def small_state_dict(self) -> State:
        """See `ReplayBuffer`: `generator`."""
        return {"generator": generator_state(self.generator)}

    def load_small_state_dict(self, state: State) -> None:
        """See `ReplayBuffer`. Gets the whole state too, and reads its own entries."""
        restore_generator(self.generator, state["generator"])

    def state_dict(self) -> State:
        """`ring` is large; the rest is the small state."""
        return {"ring": self.ring.state_dict(), **self.small_state_dict()}

    def load_state_dict(self, state: State) -> None:
        """Take over what `state_dict` returned; raises `ValueError` where it does not fit."""
        self.ring.load_state_dict(state["ring"])
        self.load_small_state_dict(state)
