"""The exploration checks: right ones pass them all, and each way to be wrong is named by its check."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from broken import after, broken, name_all
from cartpole_dqn.contracts.parts import Context, Exploration, State


class PlainExploration(Exploration):
    """Random with probability epsilon, which goes from 1 to `end` with the number of calls: that is its state."""

    end = 0.1

    def __init__(self, options: Any, context: Context) -> None:
        self.calls = 0

    def select(self, q: Callable[[], Tensor], step: int, generator: torch.Generator, mask: Tensor) -> Tensor:
        epsilon = self.chance(step)
        self.calls += 1
        lanes = mask.shape[0]
        random = torch.rand(lanes, generator=generator) < epsilon
        picked = torch.multinomial(mask.float(), 1, generator=generator)[:, 0]
        return torch.where(random, picked, self.best(q()))

    def best(self, values: Tensor) -> Tensor:
        return values.argmax(1)

    def chance(self, step: int) -> float:
        return self.end + (1 - self.end) * math.exp(-step / 500 - self.calls / 1e6)

    def epsilon(self, step: int) -> float | None:
        return self.chance(step)

    def state_dict(self) -> State:
        return {"calls": self.calls}

    def load_state_dict(self, state: State) -> None:
        self.calls = state["calls"]


# Boltzmann has no epsilon. Networks whose noise explores need no other exploration.
Softmax = broken(
    PlainExploration,
    select=lambda self, q, step, generator, mask: torch.multinomial(q().softmax(1), 1, generator=generator)[:, 0],
    epsilon=lambda self, step: None,
)
Greedy = broken(PlainExploration, chance=lambda self, step: 0.0)

# Broken ones: each in one way -----------------------------------------------------------------------------------------

FloatActions = after(PlainExploration, "select", lambda actions: actions.float())
CountsFromOne = after(PlainExploration, "select", lambda actions: actions + 1)
IgnoresTheMask = broken(
    PlainExploration, select=lambda self, *given: PlainExploration.select(self, *given[:3], torch.ones_like(given[3]))
)
EpsilonInPercent = after(PlainExploration, "epsilon", lambda epsilon: 100 * epsilon)
EpsilonOfTheStart = broken(PlainExploration, epsilon=lambda self, step: 1.0)


class FollowsOneLane(PlainExploration):
    def select(self, q: Callable[[], Tensor], step: int, generator: torch.Generator, mask: Tensor) -> Tensor:
        chosen = super().select(q, step, generator, mask)
        first = chosen[0].expand(len(chosen))
        return torch.where(mask.gather(1, first[:, None])[:, 0], first, chosen)


class AsksTwice(PlainExploration):
    def select(self, q: Callable[[], Tensor], step: int, generator: torch.Generator, mask: Tensor) -> Tensor:
        q()
        return super().select(q, step, generator, mask)


class SpoilsTheValues(PlainExploration):
    def best(self, values: Tensor) -> Tensor:
        chosen = values.argmax(1)
        values.zero_()
        return chosen


class SpoilsTheMask(PlainExploration):
    def select(self, q: Callable[[], Tensor], step: int, generator: torch.Generator, mask: Tensor) -> Tensor:
        chosen = super().select(q, step, generator, mask)
        mask[:, 0] &= chosen > 0
        return chosen


class ExploresInStep(PlainExploration):
    """Where lanes explore, they explore alike."""

    def select(self, q: Callable[[], Tensor], step: int, generator: torch.Generator, mask: Tensor) -> Tensor:
        best = self.best(q())
        if float(torch.rand((), generator=generator)) > self.chance(step):
            return best
        action = torch.randint(mask.shape[1], (), generator=generator)
        return torch.where(mask[:, action], action, best)


class OwnGenerator(PlainExploration):
    def __init__(self, options: Any, context: Context) -> None:
        super().__init__(options, context)
        self.generator = context.seeds.torch("explore")

    def select(self, q: Callable[[], Tensor], step: int, generator: torch.Generator, mask: Tensor) -> Tensor:
        return super().select(q, step, self.generator, mask)


class ForgetsItsCalls(PlainExploration):
    """Epsilon depends on the number of calls, which is not saved."""

    def chance(self, step: int) -> float:
        return float(max(self.end, 0.98**self.calls))

    def state_dict(self) -> State:
        return {"calls": 0}


name_all(globals())
RIGHT = [PlainExploration, Softmax, Greedy]
TABLE = [
    # (class, the check that names the fault, words of its message)
    (FloatActions, "check_actions", "torch.float32"),
    (CountsFromOne, "check_actions", "among 2 actions gave [2]"),
    (IgnoresTheMask, "check_masks", "the mask forbids"),
    (FollowsOneLane, "check_values_are_followed", "were taken"),
    (AsksTwice, "check_values_are_asked_once", "called 2 times"),
    (SpoilsTheValues, "check_values_are_asked_once", "changed the values"),
    (SpoilsTheMask, "check_values_are_asked_once", "changed the mask"),
    (ExploresInStep, "check_lanes_explore_apart", "8 lanes with equal values chose the same"),
    (EpsilonInPercent, "check_epsilon", "expected a number in [0, 1]"),
    (EpsilonOfTheStart, "check_epsilon", "were not the best of four"),
    (OwnGenerator, "check_generator", "Draw from `generator` alone"),
    (ForgetsItsCalls, "check_state_round_trip", "continued differently"),
]
