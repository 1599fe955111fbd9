"""How an agent chooses actions while it trains.

`ExponentialEpsilon` ("exponential"), `LinearEpsilon` ("linear"), `PersistentEpsilon` ("persistent"), and their base
`EpsilonGreedy`.
"""

from __future__ import annotations

import abc
import bisect
import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from cartpole_dqn.contracts.options import option, options_class
from cartpole_dqn.contracts.parts import Context, Exploration, State


class EpsilonGreedy(Exploration):
    """Takes a random allowed action with probability `epsilon(step)`, otherwise the best one. Lanes are independent.

    A subclass defines `epsilon`. `select` always draws two random numbers per lane, so that later numbers depend only
    on the number of calls. It calls `q` only if some lane is greedy. It raises `ValueError` if a lane explores and its
    mask allows no action.
    """

    @abc.abstractmethod
    def epsilon(self, step: int) -> float:
        """Return the probability of a random action at `step`."""

    def select(self, q: Callable[[], Tensor], step: int, generator: torch.Generator, mask: Tensor) -> Tensor:
        epsilon = self.epsilon(step)
        # Float64: a draw times the number of actions, rounded down, stays below that number.
        coins, choices = torch.rand((2, mask.shape[0]), generator=generator, dtype=torch.float64).tolist()
        # Python numbers from here on: for a few lanes, tensor operations cost several times as much.
        explores = [coin < epsilon for coin in coins]
        actions = [0] * len(explores) if all(explores) else q().argmax(1).tolist()
        if any(explores):
            for lane, allowed in enumerate(mask.tolist()):
                if explores[lane]:
                    actions[lane] = _pick(allowed, choices[lane], lane)
        return torch.tensor(actions)


@options_class
class ExponentialOptions:
    """Options of `ExponentialEpsilon`."""

    start: float = option(default=0.9, ge=0, le=1, effect="epsilon at step 0", typical="0.9 to 1")
    end: float = option(default=0.05, ge=0, le=1, effect="final epsilon", typical="0.01 to 0.05")
    decay: float = option(
        default=1000,
        gt=0,
        effect="environment steps in which the distance to the final epsilon falls to 37%",
        typical="200 to 10000",
    )


class ExponentialEpsilon(EpsilonGreedy):
    """Epsilon = end + (start - end) * exp(-step / decay), as in PyTorch's DQN tutorial (Paszke)."""

    Options = ExponentialOptions

    def __init__(self, options: ExponentialOptions, context: Context) -> None:
        self._start, self._end, self._decay = options.start, options.end, options.decay

    def epsilon(self, step: int) -> float:
        return self._end + (self._start - self._end) * math.exp(-step / self._decay)


@options_class
class LinearOptions:
    """Options of `LinearEpsilon`."""

    start: float = option(default=1.0, ge=0, le=1, effect="epsilon at step 0", typical="1")
    end: float = option(default=0.02, ge=0, le=1, effect="epsilon from step `steps` on", typical="0.01 to 0.1")
    steps: int = option(
        default=4000, ge=1, effect="environment steps until epsilon reaches `end`", typical="a tenth of the run"
    )


class LinearEpsilon(EpsilonGreedy):
    """Epsilon falls linearly from start to end, then stays there (Mnih et al. 2015)."""

    Options = LinearOptions

    def __init__(self, options: LinearOptions, context: Context) -> None:
        self._start, self._end, self._steps = options.start, options.end, options.steps

    def epsilon(self, step: int) -> float:
        if step >= self._steps:
            return self._end
        return self._start + (self._end - self._start) * (step / self._steps)


@options_class
class PersistentOptions(LinearOptions):
    """Options of `PersistentEpsilon`."""

    mu: float = option(
        default=2.0,
        ge=0,
        effect="exponent of the durations: n steps are n^mu times less likely than 1; 0 makes all equally likely",
        typical="0 to 2",
    )
    longest: int = option(
        default=10, ge=1, effect="maximum steps for which a random action repeats; 1 is `linear`", typical="4 to 20"
    )


class PersistentEpsilon(LinearEpsilon):
    """Repeats each random action for n steps, with P(n) proportional to n^-mu for n = 1 ... longest.

    After the temporally extended epsilon-greedy of Dabney et al. 2021 (ICLR). It helps where single random actions
    cancel out: a pendulum swings up only if pushes last. In the paper, epsilon is the probability that a repetition
    starts. Here it is the fraction of steps that explore, as in the other explorations, so a repetition starts with
    probability epsilon / (epsilon + E[n] (1 - epsilon)).

    If the mask forbids the repeated action, the repetition stops. It does not stop at the end of an episode.
    """

    Options = PersistentOptions

    def __init__(self, options: PersistentOptions, context: Context) -> None:
        super().__init__(options, context)
        self._num_actions, self._longest = int(context.action_space.n), options.longest
        weights = [duration**-options.mu for duration in range(1, options.longest + 1)]
        self._cumulative = list(itertools.accumulate(weights))
        self._mean = math.fsum(d * w for d, w in enumerate(weights, 1)) / math.fsum(weights)
        # By lane: the repeated action, and the steps that are left of it.
        self._repeated: list[int] = []
        self._remaining: list[int] = []

    def select(self, q: Callable[[], Tensor], step: int, generator: torch.Generator, mask: Tensor) -> Tensor:
        epsilon, lanes = self.epsilon(step), mask.shape[0]
        begins = epsilon / (epsilon + self._mean * (1 - epsilon))
        coins, choices, lengths = torch.rand((3, lanes), generator=generator, dtype=torch.float64).tolist()
        if len(self._remaining) != lanes:
            self._repeated, self._remaining = [0] * lanes, [0] * lanes
        for lane, allowed in enumerate(mask.tolist()):
            if self._remaining[lane] and allowed[self._repeated[lane]]:
                continue
            self._remaining[lane] = 0
            if coins[lane] < begins:
                self._repeated[lane] = _pick(allowed, choices[lane], lane)
                self._remaining[lane] = 1 + bisect.bisect(self._cumulative[:-1], lengths[lane] * self._cumulative[-1])
        actions = list(self._repeated) if all(self._remaining) else q().argmax(1).tolist()
        for lane, remaining in enumerate(self._remaining):
            if remaining:
                actions[lane] = self._repeated[lane]
                self._remaining[lane] = remaining - 1
        return torch.tensor(actions)

    def state_dict(self) -> State:
        """The repeated actions and the steps left of them, by lane."""
        return {"kept": list(self._repeated), "left": list(self._remaining)}

    def load_state_dict(self, state: State) -> None:
        """Continue the saved repetitions; raise `ValueError` if an action or a number of steps is out of range."""
        repeated, remaining = list(state["kept"]), list(state["left"])
        for numbers, end in ((repeated, self._num_actions), (remaining, self._longest + 1)):
            if len(numbers) != len(repeated) or not all(type(n) is int and 0 <= n < end for n in numbers):
                raise ValueError(
                    f"the exploration's state keeps the actions {repeated} for {remaining} steps; expected for each "
                    f"lane an action below {self._num_actions} and at most {self._longest} steps."
                )
        self._repeated, self._remaining = repeated, remaining


def _pick(allowed: list[bool], choice: float, lane: int) -> int:
    """Map `choice` in [0, 1) to one of the allowed actions; equal intervals."""
    actions = [action for action, allow in enumerate(allowed) if allow]
    if not actions:
        raise ValueError(f"the mask of lane {lane} allows none of its {len(allowed)} actions; it must allow one.")
    return actions[int(choice * len(actions))]
