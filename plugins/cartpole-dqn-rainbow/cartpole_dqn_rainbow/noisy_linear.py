"""A linear layer whose weights carry learned noise.

* `NoisyLinear`: factorised Gaussian noise (Fortunato et al. 2018, arXiv 1706.10295).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class NoisyLinear(nn.Module):
    """y = (mu_w + sigma_w * eps_w) x + mu_b + sigma_b * eps_b, products of matrices taken entry by entry.

    Factorised: eps_w[j, i] = f(e_j) f(e_i) and eps_b[j] = f(e_j), where f(e) = sign(e) sqrt(|e|) and the e are standard
    normal, one for each input and output (equations 9 to 11). So eps_w need never be written out: the noise's share of
    y_j is f(e_j) (sum_i sigma_w[j, i] f(e_i) x_i + sigma_b[j]).

    Until `resample` is called there is no noise, and in evaluation mode there never is: then y = mu_w x + mu_b.

    Args:
        inputs: p, numbers that come in.
        outputs: q, numbers that go out.
        sigma: noise of a new layer; its sigmas are all sigma / sqrt(p), its mus even in +-1 / sqrt(p) (section 3.2).
    """

    noise: Tensor

    def __init__(self, inputs: int, outputs: int, *, sigma: float) -> None:
        super().__init__()
        self.inputs = inputs
        reach = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(outputs, inputs).uniform_(-reach, reach))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-reach, reach))
        self.sigma_weight = nn.Parameter(torch.full((outputs, inputs), sigma * reach))
        self.sigma_bias = nn.Parameter(torch.full((outputs,), sigma * reach))
        # f(e) of the inputs, then of the outputs. Part of the state: a training network that is saved between two
        # draws has the same values afterwards.
        self.register_buffer("noise", torch.zeros(inputs + outputs))

    def resample(self, generator: torch.Generator) -> None:
        """Draw new noise from `generator`, on whatever device that is; in evaluation mode nothing is drawn."""
        if self.training:
            drawn = torch.randn(self.noise.shape, generator=generator, device=generator.device)
            # A new tensor: the old one may still be needed for the gradients of an output.
            self.noise = (drawn.sign() * drawn.abs().sqrt()).to(self.noise.device)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs] -> [B, outputs]."""
        y = nn.functional.linear(x, self.weight, self.bias)
        if not self.training:
            return y
        noise_in, noise_out = self.noise[: self.inputs], self.noise[self.inputs :]
        return y + noise_out * nn.functional.linear(x * noise_in, self.sigma_weight, self.sigma_bias)
