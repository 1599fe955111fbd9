"""The distribution of returns, as chances of fixed ones.

* `C51Options`, `C51`: the network "c51" (Bellemare et al. 2017, arXiv 1707.06887).
* `project`: a distribution over any returns -> the nearest over the fixed ones.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cartpole_dqn import Batch, Context, UserError, option, options_class
from cartpole_dqn_rainbow.network import RainbowNetwork, StreamOptions, of_actions


@options_class
class C51Options(StreamOptions):
    """Options of `C51`."""

    atoms: int = option(default=51, ge=2, effect="returns that a distribution is over, evenly spaced", typical="51")
    v_min: float = option(
        default=-100.0,
        effect="the least of them; what is worth less counts as it",
        typical="-10 to 0, -1 / (1 - gamma)",
    )
    v_max: float = option(
        default=100.0, effect="the greatest of them; what is worth more counts as it", typical="10, 1 / (1 - gamma)"
    )


class C51(RainbowNetwork):
    """For each action the chances of `atoms` returns from v_min to v_max; output [B, A, atoms] are their logits.

    Raises:
        UserError: v_min is not less than v_max.
    """

    Options = C51Options
    name = "c51"
    support: Tensor

    def __init__(self, options: C51Options, context: Context) -> None:
        if options.v_min >= options.v_max:
            raise UserError(f"network c51: expected v_min < v_max, got {options.v_min:g} and {options.v_max:g}.")
        super().__init__(options, context, options.atoms)
        support = torch.linspace(options.v_min, options.v_max, options.atoms)
        self.register_buffer("support", support, persistent=False)

    def q_values(self, output: Tensor) -> Tensor:
        """Logits [B, A, atoms] -> mean returns [B, A]."""
        return output.softmax(-1) @ self.support

    def td_loss(self, output: Tensor, next_output: Tensor, next_actions: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Cross-entropy of the predicted distribution relative to one step (or n) of lookahead (algorithm 1).

        See `Network.td_loss` for arguments and shapes. The target moves each atom z of the next distribution to
        reward + discount * z, and is projected onto the atoms; where the discount is 0, all of it lies at the reward.

        Returns:
            (cross-entropy [B] with gradients, td_errors [B] without). As TD error, for priorities, stands the
            Kullback-Leibler divergence of the prediction from the target, as in Rainbow (Hessel et al. 2018): it is
            what learning can still take away, and 0 where the two agree, while the cross-entropy keeps the target's
            own entropy for ever. The difference of the means would call two distributions alike that are not.
        """
        with torch.no_grad():
            chances = of_actions(next_output, next_actions).softmax(-1)
            returns = batch.rewards[:, None] + batch.discounts[:, None] * self.support
            target = project(chances, returns, self.support)
        predicted = of_actions(output, batch.actions).log_softmax(-1)
        loss = -(target * predicted).sum(-1)
        # The sum of the differences loses less to rounding than the difference of the sums.
        divergence = (torch.xlogy(target, target) - target * predicted.detach()).sum(-1)
        return loss, divergence.clamp_min(0)


def project(chances: Tensor, returns: Tensor, support: Tensor) -> Tensor:
    """Lay chances of any returns onto evenly spaced ones (Bellemare et al. 2017, equation 7).

    A return beyond the support counts as its end. One between two atoms gives to each a share that falls linearly with
    the distance, which keeps the mean.

    Args:
        chances: [B, n], in each row chances of the returns beside them.
        returns: [B, n].
        support: [m] rising, evenly spaced, m >= 2.

    Returns:
        [B, m] chances of `support`.
    """
    count = support.shape[0]
    places = (returns.clamp(support[0], support[-1]) - support[0]) * ((count - 1) / (support[-1] - support[0]))
    # At the upper end the last atom is the upper neighbour, with the whole share.
    lower = places.floor().clamp_(0, count - 2)
    share = (places - lower).clamp_(0, 1)
    index = lower.long()
    projected = chances.new_zeros(chances.shape[0], count)
    projected.scatter_add_(1, index, chances * (1 - share))
    return projected.scatter_add_(1, index + 1, chances * share)
