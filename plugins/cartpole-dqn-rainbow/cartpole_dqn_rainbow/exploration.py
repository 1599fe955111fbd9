"""How actions are chosen while training, besides epsilon-greedily.

* `Greedy` ("greedy"): always the best action.
* `BoltzmannOptions`, `Boltzmann` ("boltzmann"): better actions more often.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from cartpole_dqn import Context, Exploration, option, options_class


class Greedy(Exploration):
    """Takes each lane's best action; ties go to the first. For networks whose noise explores."""

    def __init__(self, options: object, context: Context) -> None:
        pass

    def select(self, q: Callable[[], Tensor], step: int, generator: torch.Generator, mask: Tensor) -> Tensor:
        """See `Exploration`. Raises `ValueError` where a lane allows no action."""
        _require_choice(mask)
        return q().argmax(1)


@options_class
class BoltzmannOptions:
    """Options of `Boltzmann`. An epsilon schedule has other names, so none of its values is kept by mistake."""

    temperature: float = option(
        default=1.0,
        gt=0,
        effect="temperature at step 0: differences of values much below it hardly matter",
        typical="the size of the differences between actions' values",
    )
    final_temperature: float = option(
        default=0.1, gt=0, effect="temperature from step `steps` on", typical="a tenth of the first"
    )
    steps: int = option(
        default=10_000, ge=1, effect="environment steps until the end is reached", typical="half of the run"
    )


class Boltzmann(Exploration):
    """In each lane on its own, action a with a probability in proportion to exp(q(a) / temperature).

    The temperature moves from its first to its final value along a line and stays there (Sutton and Barto 2018, 2.8
    has the distribution). Drawn by Gumbel's rule: the largest of q(a) / temperature + g(a), with g(a) standard Gumbel.
    A number an action and lane is drawn in every call, forbidden ones included, so that the stream of random numbers
    depends on the number of calls alone.
    """

    Options = BoltzmannOptions

    def __init__(self, options: BoltzmannOptions, context: Context) -> None:
        self._first, self._final, self._steps = options.temperature, options.final_temperature, options.steps

    def temperature(self, step: int) -> float:
        """The temperature at `step`."""
        done = min(step / self._steps, 1.0)
        return self._first + (self._final - self._first) * done

    def select(self, q: Callable[[], Tensor], step: int, generator: torch.Generator, mask: Tensor) -> Tensor:
        """See `Exploration`. Raises `ValueError` where a lane allows no action."""
        _require_choice(mask)
        uniform = torch.rand(mask.shape, generator=generator, dtype=torch.float64)
        # 1 - uniform is in (0, 1]: the logarithm is finite.
        gumbel = -torch.log(-torch.log1p(-uniform))
        scores = q().double() / self.temperature(step) + gumbel
        return scores.masked_fill(~mask, -math.inf).argmax(1)


def _require_choice(mask: Tensor) -> None:
    allowed = mask.any(1)
    if not allowed.all():
        lane = int(allowed.long().argmin())
        raise ValueError(f"the mask of lane {lane} allows none of its {mask.shape[1]} actions; it must allow one.")
