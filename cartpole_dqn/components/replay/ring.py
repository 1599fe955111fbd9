"""Storage for replays: each observation once, with n-step returns.

* `TransitionRing`: stores transitions. The replay chooses which of them to learn from.
* `Changes`: the slots that became valid, and those that stopped being valid.

Each lane (environment) has its own circular run of slots. A slot holds an observation and the action taken there; the
next slot holds the next observation. An episode's last observation takes a slot without an action. A lane numbers its
slots without wrapping: number k is at place k modulo the lane's length. So a number identifies a transition for ever,
even after its slot is overwritten. If observations are stacks of frames, a slot holds one frame: see `frames`.

A transition is *valid*, and may be sampled, once its n-step return is known: n steps later, or at the end of its
episode. A lane's transitions become valid, and are overwritten, in order, so one queue per lane counts them and finds
them by rank.
"""

from __future__ import annotations

import math
import operator
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from cartpole_dqn.components.replay.frames import Frames
from cartpole_dqn.components.replay.layout import FORBIDDEN, check_mask, check_obs, check_state, layout
from cartpole_dqn.components.replay.order import Order
from cartpole_dqn.contracts.parts import Batch, Obs, State, Transition

Indices = NDArray[np.int64] | Tensor
"""[K] int64: identify transitions, as in `Batch.indices`."""


class Changes(NamedTuple):
    """How a call changed which transitions are valid. No slot is in both lists."""

    added: list[int]
    """Slots that hold a newly valid transition, possibly in place of an older valid one."""
    removed: list[int]
    """Slots that held a valid transition and no longer do."""


class TransitionRing:
    """Stores the transitions of `num_envs` lanes, each observation once, and gathers n-step batches of them.

    A transition is *valid* from the moment when its n steps are complete, or its episode has ended, until it is
    overwritten. Three numbers identify it:

    * its *index*, which never changes and is never used again. `Batch.indices` has indices, and `gather` takes them.
    * its *slot*, the place where it is stored: 0 to `capacity` - 1. Later transitions use the slot again.
    * its *rank* among the valid transitions: 0 to `len(ring)` - 1. It changes with every `append`.

    To sample uniformly, draw ranks and call `gather(index_at(ranks))`.

    To sample by priority, keep one weight per slot. Set it for `Changes.added`, and clear it for `Changes.removed`.
    Draw slots and call `gather(indices_in(slots))`. To update the weights of a batch, keep the indices that are still
    `valid` and find their slots with `slots_of`.

    The ring stores action masks from the first transition that has one. They take A bytes per slot.

    Args:
        observation_space: the observations of one lane; they are stored in their own dtype.
        capacity: slots in total, shared evenly by the lanes. Each lane needs at least `n_step` + 2 * `frame_stack`.
        gamma: discount per step, in [0, 1].
        num_envs: lanes, 1 or more.
        n_step: steps summed into a return, 1 or more.
        device: where the batches go. Storage stays in main memory.
        frame_stack: S, if observations are S frames along their first axis and each step drops the first frame and
            appends a new one (`gymnasium.wrappers.FrameStackObservation`). The ring then stores each frame once. An
            episode's first observation takes S slots.

    Raises:
        ValueError: an argument is out of range, or torch has no such dtype.
    """

    def __init__(
        self,
        *,
        observation_space: spaces.Box,
        capacity: int,
        gamma: float,
        num_envs: int = 1,
        n_step: int = 1,
        device: torch.device | str = "cpu",
        frame_stack: int = 1,
    ) -> None:
        if not (math.isfinite(gamma) and 0 <= gamma <= 1):
            raise ValueError(f"TransitionRing expected a gamma in [0, 1], got {gamma!r}.")
        forms = layout(observation_space, capacity, num_envs, n_step, frame_stack)
        self.num_envs = num_envs
        self.n_step = n_step
        self.gamma = float(gamma)
        self.frame_stack = frame_stack
        self.device = torch.device(device)
        self._length = capacity // num_envs
        self._shape = tuple(observation_space.shape)
        self._dtype = np.dtype(observation_space.dtype)
        self._powers = [self.gamma**k for k in range(n_step + 1)]

        # Zeros take no memory until they are written: the system allocates pages on first use.
        self._arrays: dict[str, NDArray[Any]] = {name: np.zeros(*form) for name, form in forms.items()}
        self._obs, self._actions = self._arrays["obs"], self._arrays["actions"]
        self._frames = Frames(self._obs, frame_stack, self._length)
        self._rewards, self._discounts = self._arrays["rewards"], self._arrays["discounts"]
        self._next_slots, self._stamps = self._arrays["next_slots"], self._arrays["stamps"]
        self._order = Order(self._arrays["queue"], num_envs)
        self._clear()

    def _clear(self) -> None:
        lanes = self.num_envs
        self._stamps.fill(-1)  # the index of the valid transition in each slot, or -1
        self._numbers = [0] * lanes  # the number of each lane's next slot
        self._open = [False] * lanes  # whether a lane's newest observation has no action yet
        self._pending: list[list[float]] = [[] for _ in range(lanes)]  # rewards of transitions not yet valid
        self._order.clear()
        self._arrays.pop(FORBIDDEN, None)
        self._forbidden: NDArray[np.bool_] | None = None

    @classmethod
    def bytes_needed(
        cls,
        *,
        observation_space: spaces.Box,
        capacity: int,
        num_envs: int = 1,
        n_step: int = 1,
        frame_stack: int = 1,
    ) -> int:
        """Return the bytes that a ring with these arguments would take, without masks."""
        forms = layout(observation_space, capacity, num_envs, n_step, frame_stack)
        return sum(math.prod(shape) * dtype.itemsize for shape, dtype in forms.values())

    def __len__(self) -> int:
        """The number of valid transitions."""
        return len(self._order)

    @property
    def is_full(self) -> bool:
        """Whether every slot is used, so that new transitions replace old ones."""
        return min(self._numbers) >= self._length

    @property
    def capacity(self) -> int:
        """Slots in total: the requested capacity, rounded down to a multiple of the number of lanes."""
        return self._length * self.num_envs

    @property
    def nbytes(self) -> int:
        """Bytes of storage, masks included."""
        return sum(array.nbytes for array in self._arrays.values())

    # Writing ----------------------------------------------------------------------------------------------------------

    def append(self, transition: Transition) -> Changes:
        """Store the next step of a lane; return which slots became valid and which were overwritten.

        Raises:
            ValueError: a shape, dtype or lane does not fit; the reward is not finite; `obs` is not the lane's last
                `next_obs` although its episode continues; or the frames of `next_obs` do not follow those of `obs`.
                Nothing is stored then.
        """
        obs, action, reward, next_obs, terminated, truncated, env, next_mask, _ = transition
        self._check_lane(env)
        check_obs(obs, "obs", self._shape, self._dtype)
        check_obs(next_obs, "next_obs", self._shape, self._dtype)
        action, reward = operator.index(action), float(reward)
        if not math.isfinite(reward):
            raise ValueError(f"TransitionRing expected a finite reward, got {reward} in lane {env}.")
        if self.frame_stack > 1 and not self._frames.follows(obs, next_obs):
            raise ValueError(
                f"TransitionRing: next_obs of lane {env} does not begin with the last {self.frame_stack - 1} frames of "
                f"obs. Build the ring with frame_stack=1 if observations are not rolling stacks."
            )
        if next_mask is not None:
            check_mask(next_mask, self._forbidden)
        changes = Changes([], [])
        if self._open[env]:
            if not self._frames.holds(self._slot(env, self._numbers[env] - 1), obs):
                raise ValueError(
                    f"TransitionRing: obs of lane {env} is not its last next_obs, although its episode continues. Pass "
                    f"terminated or truncated at the end of an episode, or call break_lane({env}) to cut it."
                )
        else:
            for piece in self._frames.first(obs):
                self._claim(env, piece, changes)
        number = self._numbers[env] - 1
        self._actions[self._slot(env, number)] = action
        self._claim(env, self._frames.last(next_obs), changes, next_mask)
        pending = self._pending[env]
        pending.append(reward)
        self._open[env] = not (terminated or truncated)
        if not self._open[env]:
            self._end_episode(env, bool(terminated), changes)
        elif len(pending) == self.n_step:
            self._complete(env, number - self.n_step + 1, pending, self._powers[self.n_step], changes)
            pending.pop(0)
        return changes

    def break_lane(self, env: int) -> Changes:
        """Cut the lane's episode: its last transition counts as truncated, and the next one starts a new episode.

        Does nothing if the lane's episode has ended or the lane is empty.
        """
        self._check_lane(env)
        changes = Changes([], [])
        if self._open[env]:
            self._open[env] = False
            self._end_episode(env, False, changes)
        return changes

    def _claim(self, env: int, piece: Obs, changes: Changes, mask: NDArray[np.bool_] | None = None) -> None:
        """Write an observation or a frame into the lane's next slot; drop the transition that used the old one."""
        number = self._numbers[env]
        slot = self._slot(env, number)
        # The frame that is overwritten here is the first of the observation whose slot is frame_stack - 1 further on.
        oldest = slot if self.frame_stack == 1 else self._slot(env, number + self.frame_stack - 1)
        if self._stamps.item(oldest) >= 0:
            self._stamps[oldest] = -1
            # Transitions become valid in the order of their slots, so this one is the lane's oldest.
            self._order.drop(env)
            changes.removed.append(oldest)
        self._obs[slot] = piece
        if mask is not None and self._forbidden is None:
            self._keep_masks(len(mask))
        if self._forbidden is not None:
            self._forbidden[slot] = False if mask is None else ~mask
        self._numbers[env] = number + 1

    def _end_episode(self, env: int, terminated: bool, changes: Changes) -> None:
        """Complete the lane's pending transitions; its newest slot holds the episode's last observation."""
        pending = self._pending[env]
        last = self._numbers[env] - 1
        while pending:
            discount = 0.0 if terminated else self._powers[len(pending)]
            self._complete(env, last - len(pending), pending, discount, changes)
            pending.pop(0)

    def _complete(self, env: int, number: int, rewards: list[float], discount: float, changes: Changes) -> None:
        """Make the transition at `number` valid; `rewards` start there."""
        slot = self._slot(env, number)
        self._rewards[slot] = sum(map(operator.mul, self._powers, rewards))
        self._discounts[slot] = discount
        self._next_slots[slot] = self._slot(env, number + len(rewards))
        index = number * self.num_envs + env
        self._stamps[slot] = index
        self._order.push(env, index)
        if slot in changes.removed:
            changes.removed.remove(slot)
        changes.added.append(slot)

    # Reading ----------------------------------------------------------------------------------------------------------

    def index_at(self, ranks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the indices of the valid transitions at `ranks`: lane by lane, oldest first within each lane.

        Raises `IndexError` for a rank outside 0 to `len(ring)` - 1.
        """
        return self._order.index_at(ranks)

    def valid(self, indices: Indices) -> NDArray[np.bool_]:
        """Return [K] bool: whether each transition in `indices` is complete and still stored."""
        numbers = _numpy(indices)
        is_valid: NDArray[np.bool_] = (self._stamps.take(self.slots_of(numbers)) == numbers) & (numbers >= 0)
        return is_valid

    def slots_of(self, indices: Indices) -> NDArray[np.int64]:
        """Return the slots [K] of the transitions `indices`, also of overwritten ones."""
        numbers = _numpy(indices)
        if self.num_envs == 1:
            return numbers % self._length
        return numbers % self.num_envs * self._length + numbers // self.num_envs % self._length

    def indices_in(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the indices [K] of the valid transitions in `slots`; -1 for a slot without one."""
        indices: NDArray[np.int64] = self._stamps.take(slots)
        return indices

    def gather(self, indices: Indices) -> Batch:
        """Return the transitions `indices` [K] as a batch on `device`; weights are 1.

        Observations keep the space's dtype, except that float64 becomes float32. Raises `ValueError` if an index is
        not valid.
        """
        numbers = _numpy(indices)
        slots = self.slots_of(numbers)
        is_valid = self.valid(numbers)
        if not is_valid.all():
            raise ValueError(
                f"TransitionRing.gather: {np.count_nonzero(~is_valid)} of {len(numbers)} indices are of no complete "
                f"transition that is still stored. Use index_at(ranks), or check valid(indices) first."
            )
        next_slots = self._next_slots.take(slots)
        forbidden = self._forbidden
        return Batch(
            obs=self._observations(slots),
            actions=self._tensor(self._actions.take(slots)),
            rewards=self._tensor(self._rewards.take(slots)),
            next_obs=self._observations(next_slots),
            discounts=self._tensor(self._discounts.take(slots)),
            weights=torch.ones(len(slots), device=self.device),
            indices=self._tensor(numbers.copy()),
            next_mask=None if forbidden is None else self._tensor(~forbidden.take(next_slots, axis=0)),
        )

    def _observations(self, slots: NDArray[np.int64]) -> Tensor:
        rows = self._frames.gather(slots)
        return self._tensor(rows.astype(np.float32) if self._dtype == np.float64 else rows)

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        tensor = torch.from_numpy(array)
        return tensor if self.device.type == "cpu" else tensor.to(self.device)

    # Small helpers ----------------------------------------------------------------------------------------------------

    def _slot(self, env: int, number: int) -> int:
        return env * self._length + number % self._length

    def _check_lane(self, env: int) -> None:
        if not 0 <= env < self.num_envs:
            raise ValueError(f"TransitionRing has lanes 0 to {self.num_envs - 1}, got a transition of lane {env}.")

    def _keep_masks(self, actions: int) -> None:
        self._forbidden = np.zeros((self.capacity, actions), np.bool_)
        self._arrays[FORBIDDEN] = self._forbidden

    # State ------------------------------------------------------------------------------------------------------------

    def state_dict(self) -> State:
        """Return everything stored, as views [lane, slots filled so far, ...] of the ring's arrays."""
        most = max(self._numbers)
        return {
            **self._settings(),
            "numbers": list(self._numbers),
            "open": list(self._open),
            "pending": [list(rewards) for rewards in self._pending],
            "arrays": {name: self._by_lane(name, most) for name in self._arrays if name != "queue"},
        }

    def load_state_dict(self, state: State) -> None:
        """Restore what `state_dict` returned.

        Raises:
            ValueError: the state is damaged, or comes from a ring with other arguments. The ring does not change then.
        """
        arrays = check_state(state, self._settings(), self._arrays)
        most = max(state["numbers"])
        self._clear()
        if FORBIDDEN in arrays:
            self._keep_masks(arrays[FORBIDDEN].shape[2])
        self._numbers = [int(number) for number in state["numbers"]]
        self._open = [bool(flag) for flag in state["open"]]
        self._pending = [[float(reward) for reward in rewards] for rewards in state["pending"]]
        for name, array in arrays.items():
            self._by_lane(name, most)[...] = array
        for env, stamps in enumerate(arrays["stamps"]):
            self._order.fill(env, np.sort(stamps[stamps >= 0]))

    def _settings(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("num_envs", "capacity", "n_step", "gamma", "frame_stack")}

    def _by_lane(self, name: str, most: int) -> NDArray[Any]:
        """View the array `name` as [lane, first `most` slots, ...]."""
        array = self._arrays[name]
        return array.reshape(self.num_envs, self._length, *array.shape[1:])[:, : min(most, self._length)]


def _numpy(indices: Indices) -> NDArray[np.int64]:
    array: NDArray[np.int64] = indices.cpu().numpy() if isinstance(indices, Tensor) else np.asarray(indices, np.int64)
    return array
