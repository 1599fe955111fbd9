"""Exploration by the network itself: noise on its last weights, as large as learning leaves it."""

from __future__ import annotations

from cartpole_dqn import option, options_class
from cartpole_dqn_rainbow.network import NoiseOptions, RainbowNetwork


@options_class
class NoisyOptions(NoiseOptions):
    """Options of `Noisy`."""

    dueling: bool = option(default=False, effect="two streams: the state's value, and the advantages of actions")


class Noisy(RainbowNetwork):
    """Noisy layers in the head (Fortunato et al. 2018, arXiv 1706.10295), to be used with the exploration "greedy".

    New noise is drawn before each act and each update: one draw for all lanes, and one for the whole batch. The target
    network is in evaluation mode and values by the mean weights, where the paper draws noise for it too.
    """

    Options = NoisyOptions
    name = "noisy"
