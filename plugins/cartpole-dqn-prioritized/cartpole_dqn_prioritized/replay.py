"""`PrioritizedReplay`: the replay `prioritized`; `PrioritizedOptions`: its options.

Proportional prioritised experience replay (Schaul et al. 2016, arXiv 1511.05952, algorithm 1).
"""

from __future__ import annotations

import math
from collections import deque
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cartpole_dqn import Context, RingReplay, RunError, State, Transition, option, options_class
from cartpole_dqn_prioritized.sum_tree import SumTree


@options_class
class PrioritizedOptions:
    """Options of `PrioritizedReplay`."""

    capacity: int = option(
        default=10_000,
        ge=1,
        effect="slots for observations, over all lanes; an episode's last observation takes one too",
        typical="10000 for state, 50000 for pixels",
    )
    alpha: float = option(
        default=0.6, ge=0, le=1, effect="how much the TD error counts: 0 samples uniformly", typical="0.5 to 0.7"
    )
    beta_start: float = option(
        default=0.4, ge=0, le=1, effect="how much weights make up for uneven sampling, at first", typical="0.4 to 0.6"
    )
    beta_steps: int = option(
        default=50_000, ge=1, effect="batches over which beta goes from beta_start to 1", typical="the run's updates"
    )
    eps: float = option(
        default=1e-6, ge=1e-12, le=1, effect="what every TD error has added, so that 0 is sampled too", typical="1e-6"
    )


class PrioritizedReplay(RingReplay):
    """Samples transition i with the probability P(i) = p_i / sum_k p_k, where p = (|delta| + eps)^alpha.

    A new transition gets the largest p so far (1 at first), so that it is sampled soon. If its collector computed its
    |delta|, that is used instead (Horgan et al. 2018). A batch of K takes one transition from each of K equal parts of
    the total priority.

    Weights are divided by the largest of the batch, as in `RingReplay`, and not of the buffer. The latter belongs to
    the least priority, which may not be drawn for long, and would shrink every update until then. Beta rises evenly
    with each batch, from `beta_start` to 1.

    Raises:
        UserError: the capacity is too small for the lanes and n_step, or takes more memory than is left.
    """

    Options: ClassVar[type] = PrioritizedOptions

    def __init__(self, options: PrioritizedOptions, context: Context) -> None:
        tree = SumTree.bytes_needed(options.capacity)
        super().__init__(options.capacity, context, name="replay prioritized", extra_bytes=tree)
        self._options = options
        self._priorities = SumTree(self.ring.capacity)
        self._initial_errors: list[deque[float | None]] = [deque() for _ in range(context.num_envs)]
        self._largest = 1.0
        self._batches = 0

    @property
    def beta(self) -> float:  # type: ignore[override]
        """The exponent of the next batch's weights."""
        start = self._options.beta_start
        return start + (1.0 - start) * min(1.0, self._batches / self._options.beta_steps)

    def add(self, transition: Transition) -> None:
        """See `RingReplay`. Raises `RunError` where the transition's priority is not finite."""
        error = transition.priority
        if error is not None:
            _require_finite(np.array([error]))
        added, removed = self.ring.append(transition)
        # A lane's transitions become valid in the order in which they were added: n steps later, or at its end.
        self._initial_errors[transition.env].append(error)
        self.changed(transition.env, added, removed)

    def draw(self, batch_size: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """See `RingReplay`; a transition may come twice."""
        parts = np.arange(batch_size) + self.generator.random(batch_size)
        slots = self._priorities.find(parts * (self._priorities.total / batch_size))
        self._batches += 1
        return self.ring.indices_in(slots), self._priorities.values[slots]

    def update_priorities(self, indices: Tensor, td_errors: Tensor) -> None:
        """See `ReplayBuffer`.

        Raises:
            ValueError: not as many TD errors as indices.
            RunError: a TD error is not finite. Nothing was changed then.
        """
        # As float32, as networks have them: no power or sum of such numbers leaves the range of float64.
        errors = td_errors.detach().to("cpu", torch.float32).numpy().astype(np.float64)
        if errors.shape != tuple(indices.shape):
            raise ValueError(
                f"replay prioritized expected a TD error for each index, got {list(errors.shape)} TD errors for "
                f"{list(indices.shape)} indices."
            )
        _require_finite(errors)
        known = self.ring.valid(indices)
        if not known.any():
            return
        self._prioritise(self.ring.slots_of(indices)[known], errors[known])

    def _prioritise(self, slots: NDArray[np.int64], errors: NDArray[np.float64]) -> None:
        priorities = (np.abs(errors) + self._options.eps) ** self._options.alpha
        self._priorities.set(slots, priorities)
        self._largest = max(self._largest, float(priorities.max()))

    def changed(self, env: int, added: list[int], removed: list[int]) -> None:
        """Give slots that hold a new transition its own or the largest priority, those that hold none now nothing."""
        errors = [self._initial_errors[env].popleft() for _ in added]
        plain = [slot for slot, error in zip(added, errors, strict=True) if error is None]
        if plain:
            self._priorities.set(plain, self._largest)
        if len(plain) < len(added):
            known = [(slot, error) for slot, error in zip(added, errors, strict=True) if error is not None]
            slots, sizes = zip(*known, strict=True)
            self._prioritise(np.array(slots, dtype=np.int64), np.array(sizes, dtype=np.float64))
        if removed:
            self._priorities.set(removed, 0.0)

    @property
    def nbytes(self) -> int:
        return self.ring.nbytes + self._priorities.nbytes

    def small_state_dict(self) -> State:
        """See `RingReplay`; with the largest priority, and the batches drawn, which beta follows."""
        return {**super().small_state_dict(), "largest": self._largest, "batches": self._batches}

    def load_small_state_dict(self, state: State) -> None:
        """See `RingReplay`. Raises `ValueError` where a number is out of range."""
        largest, batches = float(state["largest"]), int(state["batches"])
        if not (0 < largest < math.inf and batches >= 0):
            raise ValueError("replay prioritized: the saved priorities are out of range; the state is damaged.")
        super().load_small_state_dict(state)
        self._largest, self._batches = largest, batches

    def state_dict(self) -> State:
        """See `RingReplay`; `priorities` [capacity] float64 has 0 where a slot holds no transition.

        `told`, where there is any, are each lane's TD errors that came with steps which are not complete yet.
        """
        some = any(error is not None for lane in self._initial_errors for error in lane)
        waiting = {"told": [list(lane) for lane in self._initial_errors]} if some else {}
        return {**super().state_dict(), "priorities": self._priorities.values, **waiting}

    def load_state_dict(self, state: State) -> None:
        """Take over what `state_dict` returned; raises `ValueError` where it does not fit."""
        priorities = np.asarray(state["priorities"])
        if priorities.shape != (self.capacity,) or priorities.dtype != np.float64:
            raise ValueError(
                f"replay prioritized expected saved priorities float64 [{self.capacity}], got {priorities.dtype} "
                f"{list(priorities.shape)}. Build it as it was when the state was saved."
            )
        if not _all_finite(priorities) or priorities.min() < 0:
            raise ValueError("replay prioritized: the saved priorities are out of range; the state is damaged.")
        initial_errors = _checked_errors(state)
        super().load_state_dict(state)
        slots = np.arange(self.capacity)
        if not np.array_equal(priorities > 0, self.ring.indices_in(slots) >= 0):
            raise ValueError("replay prioritized: the saved priorities are of other transitions; the state is damaged.")
        self._priorities.set(slots, priorities)
        self._initial_errors = [deque(lane) for lane in initial_errors]


def _checked_errors(state: State) -> list[list[float | None]]:
    """Return the TD errors that came with each lane's steps not complete yet; None for each that had none."""
    waiting = [len(rewards) for rewards in state["ring"]["pending"]]
    if "told" not in state:
        return [[None] * count for count in waiting]
    errors = [[None if error is None else float(error) for error in lane] for lane in state["told"]]
    known = np.array([error for lane in errors for error in lane if error is not None])
    if [len(lane) for lane in errors] != waiting or not _all_finite(known):
        raise ValueError("replay prioritized: the saved TD errors are not those of the steps; the state is damaged.")
    return errors


def _require_finite(errors: NDArray[np.float64]) -> None:
    if not _all_finite(errors):
        bad = errors[~np.isfinite(errors)]
        raise RunError(
            f"replay prioritized: {len(bad)} of {errors.size} TD errors are not finite, the first is {bad[0]}: "
            f"rewards or observations may not be finite, or the learning rate is too high."
        )


def _all_finite(array: NDArray[np.float64]) -> bool:
    return bool(np.isfinite(array).all())
