"""The contract of `Exploration`: how actions are chosen in training."""

from __future__ import annotations

import math
from collections.abc import Callable
from unittest.mock import Mock

import torch
from torch import Tensor

from cartpole_dqn.contracts.parts import Exploration
from cartpole_dqn.contracts.seeding import SeedTree
from cartpole_dqn.testing._contract import Contract, Subject
from cartpole_dqn.testing._course import OPTIONS, STATE, Course, check_global_randomness
from cartpole_dqn.testing._spaces import context
from cartpole_dqn.testing._state import assert_kind, assert_same

STEPS = (0, 1, 100, 2_000, 50_000, 10_000_000)
"""From the first step to long after any schedule."""


class Chooser(Course):
    """An exploration that chooses actions by random values."""

    part: Exploration

    def __init__(self, part: Subject, *, lanes: int = 5, actions: int = 4, seed: int = 0) -> None:
        self.part = part.build(context(num_envs=lanes, actions=actions, seed=seed))
        self.generator = SeedTree(0).torch("explore")
        self.random = SeedTree(0).torch("values")
        self.all_allowed = torch.ones(lanes, actions, dtype=torch.bool)
        self.calls = 0

    def values(self) -> Tensor:
        """[N, A] random values."""
        return torch.randn(self.all_allowed.shape, generator=self.random)

    def select(self, step: int, values: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Return the chosen actions; forbidden ones have the value -inf."""
        mask = self.all_allowed if mask is None else mask
        values = (self.values() if values is None else values).masked_fill(~mask, -math.inf)
        return self.part.select(lambda: values, step, self.generator, mask)

    def go(self, steps: int) -> list[list[int]]:
        """See `Course`; 30 steps of a run pass between two calls."""
        self.calls += steps
        return [self.select(30 * call).tolist() for call in range(self.calls - steps, self.calls)]


EXPLORATION = Contract("exploration", Chooser, OPTIONS)


def check_exploration(cls: Callable[..., Exploration], /, **options: object) -> None:
    """Run every check of an exploration."""
    EXPLORATION.hold(cls, **options)


@EXPLORATION.check
def check_actions(part: Subject) -> None:
    """`select` returns int64 [N] on the CPU, from 0 to A - 1, for one lane and for many, at any step."""
    for lanes, actions in ((1, 2), (5, 4), (16, 3)):
        chooser = Chooser(part, lanes=lanes, actions=actions)
        for step in STEPS * 5:
            picked = chooser.select(step)
            assert_kind(picked, f"torch.int64 [{lanes}] on cpu", f"select for {lanes} lanes")
            assert bool(((picked >= 0) & (picked < actions)).all()), (
                f"select among {actions} actions gave {picked.tolist()}."
            )


@EXPLORATION.check
def check_masks(part: Subject) -> None:
    """An action that the mask forbids is never chosen, at any step, even if only one action is allowed."""
    chooser = Chooser(part, lanes=12, actions=5)
    random = SeedTree(0).torch("masks")
    for step in STEPS * 30:
        mask = torch.rand(12, 5, generator=random) < 0.4
        mask[torch.arange(12), torch.randint(5, (12,), generator=random)] = True
        actions = chooser.select(step, mask=mask.clone())
        assert bool(mask.gather(1, actions[:, None]).all()), f"at step {step} it chose an action that the mask forbids."


@EXPLORATION.check
def check_values_are_followed(part: Subject) -> None:
    """Late in training, each lane takes its best action most often."""
    chooser = Chooser(part, lanes=4, actions=4)
    best = torch.tensor([2, 0, 3, 1])
    values = torch.zeros(4, 4).scatter(1, best[:, None], 20.0)
    counts = torch.zeros(4, 4)
    for extra in range(200):
        counts[torch.arange(4), chooser.select(STEPS[-1] + extra, values)] += 1
    assert bool((counts.argmax(1) == best).all()), (
        f"after {STEPS[-1]} steps the best actions of four lanes, {best.tolist()}, were taken "
        f"{counts[torch.arange(4), best].int().tolist()} times in 200."
    )


@EXPLORATION.check
def check_values_are_asked_once(part: Subject) -> None:
    """`select` calls `q`, which runs the network, at most once, and changes neither its values nor the mask."""
    chooser = Chooser(part)
    for step in STEPS * 10:
        values, mask = chooser.values(), chooser.all_allowed.clone()
        before, q = values.clone(), Mock(return_value=values)
        chooser.part.select(q, step, chooser.generator, mask)
        assert q.call_count <= 1, f"q was called {q.call_count} times in one select: keep what it returned."
        assert torch.equal(values, before), "select changed the values that q returned."
        assert bool(mask.all()), "select changed the mask."


@EXPLORATION.check
def check_lanes_explore_apart(part: Subject) -> None:
    """Each lane makes its own random choice."""
    chooser = Chooser(part, lanes=8, actions=4)
    values = torch.zeros(8, 4)
    values[:, 1] = 1e-3
    selections = [chooser.select(step, values) for step in STEPS * 20]
    random = [actions.tolist() for actions in selections if bool((actions != 1).any())]
    assert len(random) < 5 or any(len(set(actions)) > 1 for actions in random), (
        f"in all {len(random)} random choices, 8 lanes with equal values chose the same."
    )


@EXPLORATION.check
def check_epsilon(part: Subject) -> None:
    """`epsilon` is None, or the fraction of random actions at that step, in [0, 1]."""
    chooser = Chooser(part, lanes=50, actions=4)
    for step in STEPS:
        epsilon = chooser.part.epsilon(step)
        if epsilon is None:
            continue
        fits = isinstance(epsilon, int | float) and 0 <= epsilon <= 1
        assert fits, f"epsilon({step}) is {epsilon!r}: expected a number in [0, 1], or None."
        values = torch.zeros(50, 4)
        values[:, 1] = 1e3
        others = sum(float((chooser.select(step, values) != 1).float().mean()) for _ in range(60)) / 60
        # A random action may be any of four, or any but the best.
        assert 0.75 * epsilon - 0.06 <= others <= epsilon + 0.06, (
            f"epsilon({step}) is {epsilon:.3g}, but of 3000 actions {others:.3g} were not the best of four."
        )


@EXPLORATION.check
def check_generator(part: Subject) -> None:
    """The `generator` argument is the only source of randomness: equal generators give equal actions."""
    one, other = (part.course(seed=seed).go(60) for seed in (0, 1))
    assert_same(one, other, "equal generators gave different actions", "actions", hint=" Draw from `generator` alone.")


EXPLORATION.share((check_global_randomness, *STATE))
