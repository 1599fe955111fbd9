"""The value of a state and the advantages of its actions, learned apart."""

from __future__ import annotations

from cartpole_dqn import option, options_class
from cartpole_dqn_rainbow.network import NoiseOptions, RainbowNetwork


@options_class
class DuelingOptions(NoiseOptions):
    """Options of `Dueling`."""

    noisy: bool = option(default=False, effect="noisy layers in both streams")


class Dueling(RainbowNetwork):
    """Q = V + A - mean A, from two streams behind a common trunk (Wang et al. 2016, arXiv 1511.06581).

    What is learned of a state's value by any action counts for all of them. The paper also scales the gradient into the
    trunk by 1 / sqrt(2); here the optimiser sees it whole.
    """

    Options = DuelingOptions
    name = "dueling"
