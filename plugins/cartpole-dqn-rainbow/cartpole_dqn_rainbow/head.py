"""What every network here ends with: features become a few numbers for each action.

* `Head`: one stream, or the two of dueling networks; plain layers or noisy ones.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from cartpole_dqn_rainbow.noisy_linear import NoisyLinear


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


def _stream(linear: Callable[[int, int], nn.Module], features: int, hidden: int | None, outputs: int) -> nn.Module:
    if hidden is None:
        return linear(features, outputs)
    return nn.Sequential(linear(features, hidden), nn.ReLU(), linear(hidden, outputs))
