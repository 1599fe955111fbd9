"""The distribution of returns, as returns at fixed probabilities.

* `QuantileOptions`, `Quantile`: the network "quantile" (QR-DQN, Dabney et al. 2018, arXiv 1710.10044).
* `quantile_huber`: its loss.
* `wasserstein`: how far two sets of quantiles are apart.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cartpole_dqn import Batch, Context, option, options_class
from cartpole_dqn_rainbow.network import RainbowNetwork, StreamOptions, of_actions


@options_class
class QuantileOptions(StreamOptions):
    """Options of `Quantile`."""

    quantiles: int = option(default=20, ge=1, effect="returns that stand for a distribution", typical="20 to 200")
    kappa: float = option(
        default=1.0, ge=0, effect="errors up to this count by their square, larger ones by their size", typical="0 or 1"
    )


class Quantile(RainbowNetwork):
    """For each action N returns, the i-th of them (from 1) at the probability (2 i - 1) / 2 N; output [B, A, N]."""

    Options = QuantileOptions
    name = "quantile"
    levels: Tensor

    def __init__(self, options: QuantileOptions, context: Context) -> None:
        super().__init__(options, context, options.quantiles)
        self._kappa = options.kappa
        levels = (torch.arange(options.quantiles) + 0.5) / options.quantiles
        self.register_buffer("levels", levels, persistent=False)

    def q_values(self, output: Tensor) -> Tensor:
        """Quantiles [B, A, N] -> mean returns [B, A]."""
        return output.mean(-1)

    def td_loss(self, output: Tensor, next_output: Tensor, next_actions: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Quantile Huber loss between the predicted quantiles and one step (or n) of lookahead (algorithm 1).

        See `Network.td_loss` for arguments and shapes. Each quantile of the target is reward + discount * that of the
        next distribution.

        Returns:
            (loss [B] with gradients, td_errors [B] without). As TD error, for priorities, stands the 1-Wasserstein
            distance between prediction and target, the metric that QR-DQN is built on: it is in units of reward, is
            never less than the difference of the means, and is 0 where the two distributions agree, while the loss
            then still holds the target's spread.
        """
        target = batch.rewards[:, None] + batch.discounts[:, None] * of_actions(next_output, next_actions)
        target = target.detach()
        predicted = of_actions(output, batch.actions)
        loss = quantile_huber(predicted, target, self.levels, self._kappa)
        return loss, wasserstein(predicted.detach(), target)


def quantile_huber(predicted: Tensor, target: Tensor, levels: Tensor, kappa: float) -> Tensor:
    """Sum over i of the mean over j of |level_i - [u < 0]| * L(u) / kappa, u = target_j - predicted_i, L Huber's.

    L(u) = u^2 / 2 where |u| <= kappa, else kappa (|u| - kappa / 2). The division by kappa (Dabney et al. 2018,
    arXiv 1806.06923, equation 3; the same for kappa = 1) lets the loss go over into the plain quantile loss
    |level_i - [u < 0]| |u| as kappa goes to 0, which is what it is at 0.

    Args:
        predicted: [B, N].
        target: [B, M].
        levels: [N], each prediction's probability.
        kappa: 0 or more.

    Returns:
        [B].
    """
    wide = predicted[:, :, None].expand(-1, -1, target.shape[1])
    long = target[:, None, :].expand_as(wide)
    if kappa > 0:
        sizes = nn.functional.huber_loss(wide, long, reduction="none", delta=kappa) / kappa
    else:
        sizes = nn.functional.l1_loss(wide, long, reduction="none")
    shares = torch.where(long < wide, 1 - levels[:, None], levels[:, None])
    return (shares * sizes).mean(2).sum(1)


def wasserstein(one: Tensor, other: Tensor) -> Tensor:
    """Two sets [B, N] of equally likely returns, in any order -> their 1-Wasserstein distances [B]."""
    return (one.sort(-1).values - other.sort(-1).values).abs().mean(-1)
