"""How actions are chosen while training.

* `EpsilonGreedy`: the base: a random action with probability epsilon, else the best (Sutton and Barto 2018, 2.2). A
  subclass says how epsilon falls.
* `ExponentialEpsilon` ("exponential"): as in PyTorch's DQN tutorial.
* `LinearEpsilon` ("linear"): as in Mnih et al. 2015.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable

import torch
from torch import Tensor

from cartpole_dqn.interfaces import Context, Exploration
from cartpole_dqn.options import option, options_class


class EpsilonGreedy(Exploration):
    """In each lane on its own: a random allowed action with probability `epsilon(step)`, else the one of highest value.

    Two numbers a lane are drawn in every call, whatever comes of them, so that the stream of random numbers depends on
    the number of calls alone. `q` is called only where some lane is greedy.
    """

    @abc.abstractmethod
    def epsilon(self, step: int) -> float:
        """The chance of a random action at `step`."""

    def select(self, q: Callable[[], Tensor], step: int, generator: torch.Generator, mask: Tensor) -> Tensor:
        """See `Exploration`.

        Raises:
            ValueError: a lane that draws at random allows no action.
        """
        epsilon = self.epsilon(step)
        # Float64: a product with the number of actions, rounded down, then never reaches that number.
        coins, choices = torch.rand((2, mask.shape[0]), generator=generator, dtype=torch.float64).tolist()
        # Plain numbers from here: for a few lanes, tensor operations cost several times as much.
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
    end: float = option(default=0.05, ge=0, le=1, effect="epsilon in the end", typical="0.01 to 0.05")
    decay: float = option(
        default=1000,
        gt=0,
        effect="environment steps in which the distance to the end falls to 37%",
        typical="200 to 10000",
    )


class ExponentialEpsilon(EpsilonGreedy):
    """Epsilon = end + (start - end) * exp(-step / decay), as in PyTorch's DQN tutorial (Paszke)."""

    Options = ExponentialOptions

    def __init__(self, options: ExponentialOptions, context: Context) -> None:
        self._start, self._end, self._decay = options.start, options.end, options.decay

    def epsilon(self, step: int) -> float:
        """The chance of a random action at `step`."""
        return self._end + (self._start - self._end) * math.exp(-step / self._decay)


@options_class
class LinearOptions:
    """Options of `LinearEpsilon`."""

    start: float = option(default=1.0, ge=0, le=1, effect="epsilon at step 0", typical="1")
    end: float = option(default=0.02, ge=0, le=1, effect="epsilon from step `steps` on", typical="0.01 to 0.1")
    steps: int = option(
        default=4000, ge=1, effect="environment steps until the end is reached", typical="a tenth of the run"
    )


class LinearEpsilon(EpsilonGreedy):
    """Epsilon moves from start to end along a line and stays there (Mnih et al. 2015)."""

    Options = LinearOptions

    def __init__(self, options: LinearOptions, context: Context) -> None:
        self._start, self._end, self._steps = options.start, options.end, options.steps

    def epsilon(self, step: int) -> float:
        """The chance of a random action at `step`."""
        if step >= self._steps:
            return self._end
        return self._start + (self._end - self._start) * (step / self._steps)


def _pick(allowed: list[bool], choice: float, lane: int) -> int:
    """Return one of the allowed actions, each with the same share of `choice` in [0, 1)."""
    actions = [action for action, allow in enumerate(allowed) if allow]
    if not actions:
        raise ValueError(f"the mask of lane {lane} allows none of its {len(allowed)} actions; it must allow one.")
    return actions[int(choice * len(actions))]
