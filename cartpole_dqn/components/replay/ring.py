"""Where replays store transitions: each observation once, n-step returns ready to learn from.

* `TransitionRing`: storage only; which transitions to learn from is the replay's choice.
* `Changes`: which slots a call made valid, and which it took away.

Every lane (environment) has a circular run of slots of its own. A slot holds an observation and what was done there;
the next slot holds the observation that followed. An episode's last observation takes one more slot, in which nothing
was done. A lane's slots are numbered without end: number k lies at place k modulo the lane's length, so that a number
names a transition for good, even when its slot was overwritten since.

Where observations are stacks of frames, a slot holds one frame, so that each is stored once too: see `frames`.

A transition is *valid*, and may be sampled, once its n-step return is known: n steps on, or at its episode's end. A
lane's transitions become valid, and are overwritten, in their order, so that a queue per lane knows how many there are
and finds the one of a given rank at once.
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
"""[K] int64: names of transitions, as in `Batch.indices`."""


class Changes(NamedTuple):
    """What a call did to the set of valid transitions. No slot is in both lists."""

    added: list[int]
    """Slots that hold a newly valid transition, some perhaps in the place of one that was valid."""
    removed: list[int]
    """Slots that held a valid transition and hold none now."""


class TransitionRing:
    """Stores the transitions of `num_envs` lanes, each observation once, and gathers n-step batches of them.

    Three ways to name a transition: its *rank* among the valid ones (0 to `len(ring)` - 1, changing with every append),
    its *slot* (0 to `capacity` - 1, used again when overwritten) and its *index* (int64, for ever its own).

    A replay that weighs transitions keeps one weight a slot: set those in `Changes.added`, clear those in
    `Changes.removed`, choose slots, `indices_in(slots)` for `gather`; when errors come back, keep those that are
    `valid` and look up their `slots_of`.

    Action masks are kept from the first transition on that carries one; that takes A more bytes for every slot at once.

    Args:
        observation_space: one lane's; its dtype is what is stored.
        capacity: slots in all, shared evenly by the lanes; each lane needs `n_step` + 2 * `frame_stack` or more.
        gamma: discount per step, in [0, 1].
        num_envs: lanes, 1 or more.
        n_step: steps summed into a return, 1 or more.
        device: where batches go. Storage stays in main memory.
        frame_stack: S, where observations are S frames along their first axis, each step drops the first of them and
            brings a new last one (`gymnasium.wrappers.FrameStackObservation`): each frame is then stored once. An
            episode's first observation takes S slots.

    Raises:
        ValueError: an argument out of range, or a dtype that torch does not have.
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

        # Zeros cost nothing until they are written: the system hands out pages as they are touched.
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
        self._numbers = [0] * lanes  # the number that each lane's next slot gets
        self._open = [False] * lanes  # whether a lane's newest observation still waits for its action
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
        """Return the bytes that a ring of these arguments would take, without allocating them; masks come on top."""
        forms = layout(observation_space, capacity, num_envs, n_step, frame_stack)
        return sum(math.prod(shape) * dtype.itemsize for shape, dtype in forms.values())

    def __len__(self) -> int:
        """The number of valid transitions."""
        return len(self._order)

    @property
    def capacity(self) -> int:
        """Slots in all: what was asked for, less what does not divide evenly among the lanes."""
        return self._length * self.num_envs

    @property
    def nbytes(self) -> int:
        """Bytes of memory taken."""
        return sum(array.nbytes for array in self._arrays.values())

    # Writing ----------------------------------------------------------------------------------------------------------

    def append(self, transition: Transition) -> Changes:
        """Store the next step of a lane; return which slots became valid and which were overwritten.

        Raises:
            ValueError: a shape, dtype or lane that does not fit, a reward that is not finite, an `obs` that is not the
                lane's last `next_obs` although its episode went on, or frames that do not move on by one. Nothing was
                stored then.
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
                f"obs. Build the ring with frame_stack=1 where observations are no rolling stacks."
            )
        if next_mask is not None:
            check_mask(next_mask, self._forbidden)
        changes = Changes([], [])
        if self._open[env]:
            if not self._frames.holds(self._slot(env, self._numbers[env] - 1), obs):
                raise ValueError(
                    f"TransitionRing: obs of lane {env} is not its last next_obs, although its episode went on. Pass "
                    f"terminated or truncated at an episode's end, or call break_lane({env}) where it was cut."
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
        """Cut the lane's episode: its last transition counts as truncated, and what comes next is another episode.

        A lane whose episode ended already, or that holds nothing, stays as it is.
        """
        self._check_lane(env)
        changes = Changes([], [])
        if self._open[env]:
            self._open[env] = False
            self._end_episode(env, False, changes)
        return changes

    def _claim(self, env: int, piece: Obs, changes: Changes, mask: NDArray[np.bool_] | None = None) -> None:
        """Write an observation, or its frame, into the lane's next slot; whatever needed what was there is gone."""
        number = self._numbers[env]
        slot = self._slot(env, number)
        # The frame that is overwritten here is the first of the observation whose slot is frame_stack - 1 further on.
        oldest = slot if self.frame_stack == 1 else self._slot(env, number + self.frame_stack - 1)
        if self._stamps.item(oldest) >= 0:
            self._stamps[oldest] = -1
            # A lane's transitions became valid in the order of their slots: the one overwritten is its oldest.
            self._order.drop(env)
            changes.removed.append(oldest)
        self._obs[slot] = piece
        if mask is not None and self._forbidden is None:
            self._keep_masks(len(mask))
        if self._forbidden is not None:
            self._forbidden[slot] = False if mask is None else ~mask
        self._numbers[env] = number + 1

    def _end_episode(self, env: int, terminated: bool, changes: Changes) -> None:
        """Complete all that waits in the lane: the newest slot holds the episode's last observation."""
        pending = self._pending[env]
        last = self._numbers[env] - 1
        while pending:
            discount = 0.0 if terminated else self._powers[len(pending)]
            self._complete(env, last - len(pending), pending, discount, changes)
            pending.pop(0)

    def _complete(self, env: int, number: int, rewards: list[float], discount: float, changes: Changes) -> None:
        """Make the transition at `number` valid; `rewards` are those from there on."""
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
        """Return the indices of the valid transitions at `ranks`: lane after lane, oldest first in each.

        Raises:
            IndexError: a rank outside 0 to `len(ring)` - 1.
        """
        return self._order.index_at(ranks)

    def valid(self, indices: Indices) -> NDArray[np.bool_]:
        """Say of each of the `indices` [K] whether its transition is complete and still stored."""
        numbers = _numpy(indices)
        return self._known(numbers, self.slots_of(numbers))

    def slots_of(self, indices: Indices) -> NDArray[np.int64]:
        """Return the slots [K] in which the transitions `indices` lie, or lay."""
        numbers = _numpy(indices)
        if self.num_envs == 1:
            return numbers % self._length
        return numbers % self.num_envs * self._length + numbers // self.num_envs % self._length

    def indices_in(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the indices [K] of the valid transitions in `slots`, -1 where a slot holds none."""
        found: NDArray[np.int64] = self._stamps.take(slots)
        return found

    def gather(self, indices: Indices) -> Batch:
        """Return the transitions `indices` [K] as a batch on `device`; weights are 1.

        Observations keep the space's dtype, except that float64 becomes float32.

        Raises:
            ValueError: an index that is not valid.
        """
        numbers = _numpy(indices)
        slots = self.slots_of(numbers)
        known = self._known(numbers, slots)
        if not known.all():
            raise ValueError(
                f"TransitionRing.gather: {np.count_nonzero(~known)} of {len(numbers)} indices name no complete "
                f"transition that is still stored. Choose among the valid ones: index_at(ranks), or ask valid(indices)."
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

    def _known(self, numbers: NDArray[np.int64], slots: NDArray[np.int64]) -> NDArray[np.bool_]:
        known: NDArray[np.bool_] = (self._stamps.take(slots) == numbers) & (numbers >= 0)
        return known

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
        """Return everything stored, as views of the ring's own arrays: [lane, slots filled so far, ...]."""
        most = max(self._numbers)
        return {
            "num_envs": self.num_envs,
            "capacity": self.capacity,
            "n_step": self.n_step,
            "gamma": self.gamma,
            "frame_stack": self.frame_stack,
            "numbers": list(self._numbers),
            "open": list(self._open),
            "pending": [list(rewards) for rewards in self._pending],
            "arrays": {name: self._by_lane(name, most) for name in self._arrays if name != "queue"},
        }

    def load_state_dict(self, state: State) -> None:
        """Take over what `state_dict` returned.

        Raises:
            ValueError: the state is of a ring of another kind or size, or does not hold together. Nothing changed then.
        """
        own = {name: getattr(self, name) for name in ("num_envs", "capacity", "n_step", "gamma", "frame_stack")}
        arrays = check_state(state, own, self._arrays)
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

    def _by_lane(self, name: str, most: int) -> NDArray[Any]:
        """View the array `name` as [lane, the first slots, ...]: as many slots as `most` numbers fill."""
        array = self._arrays[name]
        return array.reshape(self.num_envs, self._length, *array.shape[1:])[:, : min(most, self._length)]


def _numpy(indices: Indices) -> NDArray[np.int64]:
    found: NDArray[np.int64] = indices.cpu().numpy() if isinstance(indices, Tensor) else np.asarray(indices, np.int64)
    return found
