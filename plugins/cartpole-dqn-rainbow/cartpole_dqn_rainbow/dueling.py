"""The value of a state and the advantages of its actions, learned apart.

* `DuelingOptions`, `Dueling`: the network "dueling".
"""

from __future__ import annotations

from cartpole_dqn import Context, option, options_class
from cartpole_dqn_rainbow.network import SIGMA_EFFECT, SIGMA_TYPICAL, RainbowNetwork
from cartpole_dqn_rainbow.trunk import TrunkOptions


@options_class
class DuelingOptions(TrunkOptions):
    """Options of `Dueling`."""

    noisy: bool = option(default=False, effect="noisy layers in both streams")
    sigma: float = option(default=0.5, ge=0, effect=SIGMA_EFFECT, typical=SIGMA_TYPICAL)


class Dueling(RainbowNetwork):
    """Q = V + A - mean A, from two streams behind a common trunk (Wang et al. 2016, arXiv 1511.06581).

    What is learned of a state's value by any action counts for all of them. The paper also scales the gradient into the
    trunk by 1 / sqrt(2); here the optimiser sees it whole.
    """

    Options = DuelingOptions

    def __init__(self, options: DuelingOptions, context: Context) -> None:
        sigma = options.sigma if options.noisy else None
        super().__init__(options, context, who="dueling", outputs=None, dueling=True, sigma=sigma)
