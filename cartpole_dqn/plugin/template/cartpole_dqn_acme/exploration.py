"""`CosineExploration`: the exploration `acme`; `CosineOptions`: its options."""

from __future__ import annotations

import math

from cartpole_dqn import Context, EpsilonGreedy, option, options_class


@options_class
class CosineOptions:
    """Options of `CosineExploration`."""

    start: float = option(default=1.0, ge=0, le=1, effect="epsilon at step 0", typical="1")
    end: float = option(default=0.02, ge=0, le=1, effect="epsilon from step `steps` on", typical="0.01 to 0.05")
    steps: int = option(default=4000, ge=1, effect="environment steps until the end", typical="a tenth of the run")


class CosineExploration(EpsilonGreedy):
    """A random action with probability epsilon, which falls along half a cosine: slowly, fast, slowly."""

    Options = CosineOptions

    def __init__(self, options: CosineOptions, context: Context) -> None:
        self._options = options

    def epsilon(self, step: int) -> float:
        """The chance of a random action at `step`."""
        start, end = self._options.start, self._options.end
        done = min(step / self._options.steps, 1.0)
        return end + (start - end) * (1 + math.cos(math.pi * done)) / 2
