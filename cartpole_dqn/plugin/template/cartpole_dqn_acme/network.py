"""`FourierNetwork`: the network `acme`; `FourierOptions`: its options."""

from __future__ import annotations

import math

import torch
from cartpole_dqn import Context, Network, option, options_class
from torch import Tensor, nn


@options_class
class FourierOptions:
    """Options of `FourierNetwork`."""

    frequencies: int = option(
        default=64, ge=1, effect="learned frequencies; each gives two features", typical="32 to 256"
    )
    spread: float = option(
        default=1.0, gt=0, effect="initial size of frequencies: larger ones resolve finer differences", typical="1"
    )
    hidden: int = option(default=128, ge=1, effect="units of the hidden layer", typical="64 to 256")


class FourierNetwork(Network):
    """Sines and cosines of learned frequencies, a hidden layer with ReLU, action values (after Li and Pathak 2021).

    Observations of any shape are flattened.
    """

    Options = FourierOptions

    def __init__(self, options: FourierOptions, context: Context) -> None:
        super().__init__(context)
        size = math.prod(context.observation_space.shape)
        self.frequencies = nn.Linear(size, options.frequencies)
        nn.init.normal_(self.frequencies.weight, std=options.spread / math.sqrt(size))
        self.layers = nn.Sequential(
            nn.Linear(2 * options.frequencies, options.hidden),
            nn.ReLU(),
            nn.Linear(options.hidden, self.num_actions),
        )

    def forward(self, obs: Tensor) -> Tensor:
        """[B, ...] as in the observation space -> action values [B, A]."""
        phases = self.frequencies(self.scale(obs).flatten(1))
        values: Tensor = self.layers(torch.cat([phases.sin(), phases.cos()], dim=1))
        return values
