"""`RingReplay`: the base of replays that store in a `TransitionRing`."""

from __future__ import annotations

import abc
import dataclasses
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cartpole_dqn.components.replay.ring import TransitionRing
from cartpole_dqn.contracts.parts import Batch, Context, ReplayBuffer, State, Transition
from cartpole_dqn.contracts.returned import wrong_return
from cartpole_dqn.contracts.seeding import generator_state, restore_generator
from cartpole_dqn.errors import ConfigError, RunError
from cartpole_dqn.system import available_bytes, require_memory


class RingReplay(ReplayBuffer):
    """Stores transitions in a ring. A subclass defines `draw`, which chooses transitions to learn from.

    A batch's weights correct for non-uniform sampling (Schaul et al. 2016): (N P(i))^-beta, divided by the largest
    weight of the batch. N cancels, which leaves (P(i) / min P)^-beta.

    A subclass that keeps a value per transition updates it in `changed`. A subclass with more state than the generator
    extends `small_state_dict`, or `state_dict` if the state belongs to the stored transitions.

    Attributes:
        ring: the `TransitionRing`, built with the context's gamma, n_step, num_envs, frame_stack and device.
        generator: the NumPy generator to draw with, from the context's seeds.

    Args:
        capacity: slots for observations, over all lanes.
        context: the context that every part gets.
        name: the replay's name in messages, such as "replay acme".
        extra_bytes: memory that the subclass takes in addition to the ring's, for the memory check.

    Raises:
        ConfigError: the capacity is too small for the lanes and n_step.
        UserError: the replay needs more memory than is available.
    """

    beta: float = 1.0
    """How much the weights correct for non-uniform sampling, from 0 (not at all) to 1 (fully). It is read before each
    `draw`, so it may be a property with a schedule."""

    def __init__(self, capacity: int, context: Context, *, name: str, extra_bytes: int = 0) -> None:
        self._name = name
        arguments = ring_arguments(capacity, context)
        space = context.observation_space
        try:
            needed = extra_bytes + TransitionRing.bytes_needed(**arguments)
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
        self.ring = TransitionRing(**arguments, gamma=context.gamma, device=context.device)
        self.generator = context.seeds.numpy("sample")

    @abc.abstractmethod
    def draw(self, batch_size: int) -> tuple[NDArray[np.int64], NDArray[np.float64] | None]:
        """Choose `batch_size` of the ring's valid transitions; there is at least one.

        Returns:
            Their indices [B], from `ring.index_at(ranks)` or `ring.indices_in(slots)`; and their probabilities [B],
            which are above 0 and need not sum to 1, or None if all transitions are equally likely.
        """

    def gather(self, indices: NDArray[np.int64]) -> Batch:
        """Return the transitions that `draw` chose as a batch, with weights of 1."""
        return self.ring.gather(indices)

    def changed(self, env: int, added: list[int], removed: list[int]) -> None:
        """Called after each `add` and `break_lane` with slots of the lane: those now valid, those no longer valid."""

    def add(self, transition: Transition) -> None:
        self.changed(transition.env, *self.ring.append(transition))

    def break_lane(self, env: int) -> None:
        self.changed(env, *self.ring.break_lane(env))

    def sample(self, batch_size: int) -> Batch:
        """Draw `batch_size` transitions, with their weights. Raises `ValueError` if the replay is empty."""
        if not len(self):
            raise ValueError(f"{self._name} holds no complete transition: store more before learning.")
        beta = self.beta
        drawn = self.draw(batch_size)
        if not isinstance(drawn, tuple) or len(drawn) != 2:
            raise RunError(wrong_return(self, "draw", drawn, "a pair: indices [B], and probabilities [B] or None"))
        indices, probabilities = drawn
        batch = self.gather(indices)
        if probabilities is None:
            return batch
        weights = (probabilities / probabilities.min()) ** -beta
        return dataclasses.replace(batch, weights=torch.from_numpy(weights.astype(np.float32)).to(self.ring.device))

    def has_enough(self, count: int) -> bool:
        return len(self) >= count or self.ring.is_full

    def __len__(self) -> int:
        return len(self.ring)

    @property
    def capacity(self) -> int:
        return self.ring.capacity

    @property
    def nbytes(self) -> int:
        """Bytes of storage; a subclass adds its `extra_bytes`."""
        return self.ring.nbytes

    def small_state_dict(self) -> State:
        return {"generator": generator_state(self.generator)}

    def load_small_state_dict(self, state: State) -> None:
        """Restore `small_state_dict`; other entries of `state` are ignored."""
        restore_generator(self.generator, state["generator"])

    def state_dict(self) -> State:
        """Return `ring`, which is large, and the small state."""
        return {"ring": self.ring.state_dict(), **self.small_state_dict()}

    def load_state_dict(self, state: State) -> None:
        """Restore what `state_dict` returned; raise `ValueError` if it does not fit."""
        self.ring.load_state_dict(state["ring"])
        self.load_small_state_dict(state)


def ring_arguments(capacity: int, context: Context) -> dict[str, Any]:
    """Return what a ring of `capacity` slots takes from the context, without gamma and device."""
    names = ("observation_space", "num_envs", "n_step", "frame_stack")
    return {"capacity": capacity, **{name: getattr(context, name) for name in names}}
