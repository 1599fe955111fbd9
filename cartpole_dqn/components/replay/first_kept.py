"""`FirstKeptReplay` ("first-kept"): the first transitions are never overwritten."""

from __future__ import annotations

import dataclasses
from collections import deque
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cartpole_dqn.components.replay.ring import TransitionRing
from cartpole_dqn.components.replay.ring_replay import RingReplay, ring_arguments
from cartpole_dqn.contracts.options import option, options_class
from cartpole_dqn.contracts.parts import Batch, Context, State, Transition

FULL = -1
"""In place of the slots that are left, once a lane stores in the ring."""


@options_class
class FirstKeptOptions:
    """Options of `FirstKeptReplay`."""

    capacity: int = option(
        default=50_000,
        ge=1,
        effect="slots for observations, over all lanes, those of the first transitions included",
        typical="50000 for pixels",
    )
    first: float = option(
        default=0.2,
        gt=0,
        lt=1,
        effect="share of the slots whose transitions are never overwritten",
        typical="0.1 to 0.5",
    )


class FirstKeptReplay(RingReplay):
    """Samples uniformly from the first transitions of a run and from the latest; weights are 1.

    A good policy soon fills a ring with successes, and the network forgets what failure looks like. Here a share of the
    slots keeps the run's first transitions, most of them failures, for good. With a share of 0.2, a fifth of each batch
    comes from them once all slots are full; until then all transitions are equally likely, as in a plain ring.

    Raises:
        ConfigError: the capacity is too small for the lanes and n_step.
        UserError: the replay would take more memory than is left.
    """

    Options = FirstKeptOptions

    def __init__(self, options: FirstKeptOptions, context: Context) -> None:
        least = context.num_envs * (context.n_step + 2 * context.frame_stack)
        num_first = max(least, round(options.capacity * options.first))
        arguments = ring_arguments(num_first, context)
        name = "replay first-kept"
        # Where a lane's first slots end, the steps whose returns are not complete are stored a second time.
        self._twice = context.num_envs * (context.n_step + context.frame_stack)
        extra = TransitionRing.bytes_needed(**arguments)
        super().__init__(options.capacity - num_first + self._twice, context, name=name, extra_bytes=extra)
        self.first = TransitionRing(**arguments, gamma=context.gamma, device=context.device)
        self._frames = context.frame_stack
        self._free = [self.first.capacity // context.num_envs] * context.num_envs
        # Of each lane's episode, the steps whose n-step returns the first ring still waits for: it may be full before.
        self._waiting: list[deque[Transition]] = [deque(maxlen=context.n_step - 1) for _ in range(context.num_envs)]
        self._open = [False] * context.num_envs

    def add(self, transition: Transition) -> None:
        """Store a transition among the first ones as long as its lane has slots left there, else in the ring."""
        env = transition.env
        if self._free[env] == FULL:
            self.ring.append(transition)
            return
        needed = 1 if self._open[env] else 1 + self._frames
        if self._free[env] < needed:
            self._free[env] = FULL
            for step in (*self._waiting[env], transition):
                self.ring.append(step)
            self._waiting[env].clear()
            return
        self.first.append(transition)
        self._free[env] -= needed
        self._open[env] = not (transition.terminated or transition.truncated)
        self._waiting[env].append(transition)
        if not self._open[env]:
            self._waiting[env].clear()

    def break_lane(self, env: int) -> None:
        (self.ring if self._free[env] == FULL else self.first).break_lane(env)
        self._open[env] = False
        self._waiting[env].clear()

    def draw(self, batch_size: int) -> tuple[NDArray[np.int64], None]:
        """Choose with equal chances. Indices are odd for the first transitions and even for the others."""
        num_first = len(self.first)
        ranks = self.generator.integers(len(self), size=batch_size)
        is_first = ranks < num_first
        of_first, of_ring = self.first.index_at(ranks[is_first]), self.ring.index_at(ranks[~is_first] - num_first)
        return np.concatenate([2 * of_first + 1, 2 * of_ring]), None

    def gather(self, indices: NDArray[np.int64]) -> Batch:
        is_first = indices % 2 == 1
        batches = [
            ring.gather(selected // 2)
            for ring, selected in ((self.first, indices[is_first]), (self.ring, indices[~is_first]))
            if len(selected)
        ]
        batch = batches[0] if len(batches) == 1 else _join(*batches)
        return dataclasses.replace(batch, indices=torch.from_numpy(indices.copy()).to(batch.actions.device))

    def __len__(self) -> int:
        return len(self.first) + len(self.ring)

    @property
    def capacity(self) -> int:
        return self.first.capacity + self.ring.capacity - self._twice

    @property
    def nbytes(self) -> int:
        return self.first.nbytes + self.ring.nbytes

    def state_dict(self) -> State:
        waiting = [[list(step) for step in steps] for steps in self._waiting]
        own = {"first": self.first.state_dict(), "left": list(self._free), "open": list(self._open), "waiting": waiting}
        return {**super().state_dict(), **own}

    def load_state_dict(self, state: State) -> None:
        self.first.load_state_dict(state["first"])
        super().load_state_dict(state)
        self._free = [int(free) for free in state["left"]]
        self._open = [bool(flag) for flag in state["open"]]
        for steps, saved in zip(self._waiting, state["waiting"], strict=True):
            steps.clear()
            steps.extend(Transition(*step) for step in saved)


def _join(first: Batch, second: Batch) -> Batch:
    """Return the transitions of both. A batch without masks allows every action."""
    values: dict[str, Any] = {
        field.name: torch.cat([getattr(first, field.name), getattr(second, field.name)])
        for field in dataclasses.fields(Batch)
        if field.name != "next_mask"
    }
    mask = second.next_mask if first.next_mask is None else first.next_mask
    if mask is not None:
        masks = [
            mask.new_ones(len(batch), mask.shape[1]) if batch.next_mask is None else batch.next_mask
            for batch in (first, second)
        ]
        values["next_mask"] = torch.cat(masks)
    return Batch(**values)
