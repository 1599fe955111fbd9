"""The base of the networks in this package: a trunk and a head, with or without noise.

* `RainbowNetwork`: a subclass says how many numbers an action gets, and what they mean.
* `Head`: features become these numbers, in one stream or the two of dueling networks.
* `NoiseOptions`, `StreamOptions`: the options of heads.
* `of_actions`: the output of one action in each row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from cartpole_dqn import Context, Network, option, options_class
from cartpole_dqn_rainbow.noisy_linear import NoisyLinear
from cartpole_dqn_rainbow.trunk import Trunk, TrunkOptions, hidden_widths


@options_class
class NoiseOptions(TrunkOptions):
    """Options of networks whose head may be noisy."""

    sigma: float = option(
        default=0.5,
        ge=0,
        effect="where there is noise: how much of it a new layer has, over the root of its inputs",
        typical="0.5 to 2",
    )


@options_class
class StreamOptions(NoiseOptions):
    """Options of networks that may have two streams, noise, or both."""

    dueling: bool = option(default=False, effect="two streams: the state's value, and the advantages of actions")
    noisy: bool = option(default=False, effect="noisy layers in the head; use the exploration greedy")


class RainbowNetwork(Network):
    """`Trunk`, then `Head`. A network without the option `dueling` has two streams, one without `noisy` has noise.

    Args:
        options: the trunk's sizes, how much noise there is, and what the head is.
        context: spaces.
        outputs: numbers for each action; None is one, without an axis of its own.

    Raises:
        UserError: the sizes do not fit together, or not the observations.
    """

    name: ClassVar[str]
    """For messages."""

    def __init__(self, options: NoiseOptions, context: Context, outputs: int | None = None) -> None:
        super().__init__(context)
        self._one = outputs is None
        self.trunk = Trunk(options, context.observation_space, self.name)
        self.head = Head(
            self.trunk.features,
            next(reversed(hidden_widths(options)), None),
            actions=self.num_actions,
            outputs=outputs or 1,
            dueling=getattr(options, "dueling", True),
            sigma=options.sigma if getattr(options, "noisy", True) else None,
        )
        self._noisy = [module for module in self.head.modules() if isinstance(module, NoisyLinear)]

    def forward(self, obs: Tensor) -> Tensor:
        """[B, ...] as in the observation space -> [B, A, outputs], or [B, A]."""
        output: Tensor = self.head(self.trunk(obs))
        return output[:, :, 0] if self._one else output

    def resample_noise(self, generator: torch.Generator) -> None:
        """See `Network`. In evaluation mode (target network, policies) there is no noise, and none is drawn."""
        for layer in self._noisy:
            layer.resample(generator)


class Head(nn.Module):
    """Features [B, features] -> [B, A, outputs].

    Dueling (Wang et al. 2016, arXiv 1511.06581, equation 9): Q(s, a) = V(s) + A(s, a) - mean over a' of A(s, a'), each
    of V and A from a stream of its own. With several outputs an action (atoms, quantiles) each is combined so (Hessel
    et al. 2018).

    Args:
        features: numbers that come in.
        hidden: units of each stream's hidden layer with ReLU; None for none.
        actions: A.
        outputs: numbers for each action.
        dueling: whether there are two streams.
        sigma: the noise that its layers start with; None for plain layers.
    """

    def __init__(
        self, features: int, hidden: int | None, *, actions: int, outputs: int, dueling: bool, sigma: float | None
    ) -> None:
        super().__init__()

        def linear(before: int, after: int) -> nn.Module:
            return nn.Linear(before, after) if sigma is None else NoisyLinear(before, after, sigma=sigma)

        self._shape = (actions, outputs)
        self.advantage = _stream(linear, features, hidden, actions * outputs)
        self.value = _stream(linear, features, hidden, outputs) if dueling else None

    def forward(self, features: Tensor) -> Tensor:
        """[B, features] -> [B, A, outputs]."""
        advantage: Tensor = self.advantage(features).unflatten(1, self._shape)
        if self.value is None:
            return advantage
        value: Tensor = self.value(features)
        return value[:, None] + advantage - advantage.mean(1, keepdim=True)


def of_actions(output: Tensor, actions: Tensor) -> Tensor:
    """[B, A, n] and [B] int64 -> [B, n]."""
    index = actions[:, None, None].expand(-1, 1, output.shape[2])
    return output.gather(1, index)[:, 0]


def _stream(linear: Callable[[int, int], nn.Module], features: int, hidden: int | None, outputs: int) -> nn.Module:
    if hidden is None:
        return linear(features, outputs)
    return nn.Sequential(linear(features, hidden), nn.ReLU(), linear(hidden, outputs))
