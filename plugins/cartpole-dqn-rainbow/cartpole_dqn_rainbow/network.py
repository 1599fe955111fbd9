"""The base of the networks here: a trunk, a head, and noise where it is wanted.

* `RainbowNetwork`: a subclass says how many numbers an action gets, and what they mean.
* `of_actions`: the output of one action in each row.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cartpole_dqn import Context, Network
from cartpole_dqn_rainbow.head import Head
from cartpole_dqn_rainbow.noisy_linear import NoisyLinear
from cartpole_dqn_rainbow.trunk import Trunk, TrunkOptions, hidden_widths

SIGMA_EFFECT = "where there is noise: how much of it a new layer has, over the root of its inputs"
SIGMA_TYPICAL = "0.5 to 2"


class RainbowNetwork(Network):
    """`Trunk`, then `Head`.

    Args:
        options: the trunk's sizes.
        context: spaces.
        who: the network's name, for messages.
        outputs: numbers for each action; None is one, without an axis of its own.
        dueling: whether the head has two streams.
        sigma: the noise that the head's layers start with; None for none.

    Raises:
        UserError: the sizes do not fit together, or not the observations.
    """

    def __init__(
        self,
        options: TrunkOptions,
        context: Context,
        *,
        who: str,
        outputs: int | None,
        dueling: bool,
        sigma: float | None,
    ) -> None:
        super().__init__(context)
        self._one = outputs is None
        self.trunk = Trunk(options, context.observation_space, who)
        self.head = Head(
            self.trunk.features,
            next(reversed(hidden_widths(options)), None),
            actions=self.num_actions,
            outputs=outputs or 1,
            dueling=dueling,
            sigma=sigma,
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


def of_actions(output: Tensor, actions: Tensor) -> Tensor:
    """[B, A, n] and [B] int64 -> [B, n]."""
    index = actions[:, None, None].expand(-1, 1, output.shape[2])
    return output.gather(1, index)[:, 0]
