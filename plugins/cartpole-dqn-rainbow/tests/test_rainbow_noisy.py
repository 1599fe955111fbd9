from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from cartpole_dqn_rainbow.c51 import C51
from cartpole_dqn_rainbow.dueling import Dueling
from cartpole_dqn_rainbow.noisy import Noisy
from cartpole_dqn_rainbow.noisy_linear import NoisyLinear
from cartpole_dqn_rainbow.quantile import Quantile
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

STATE = spaces.Box(-np.inf, np.inf, (4,), np.float32)
SMALL: dict[str, Any] = {"hidden": [16, 16]}
NETWORKS: list[tuple[type, dict[str, Any]]] = [
    (Noisy, {}),
    (Noisy, {"dueling": True}),
    (Dueling, {"noisy": True}),
    (C51, {"noisy": True}),
    (Quantile, {"noisy": True}),
]


def layer(inputs: int, outputs: int, seed: int = 0, sigma: float = 0.5) -> NoisyLinear:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return NoisyLinear(inputs, outputs, sigma=sigma)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rooted(e: float) -> float:
    return math.copysign(math.sqrt(abs(e)), e)


@given(inputs=st.integers(1, 5), outputs=st.integers(1, 5), seed=st.integers(0, 99))
def test_the_layer_against_its_formula_written_out(inputs: int, outputs: int, seed: int) -> None:
    part = layer(inputs, outputs, seed)
    with torch.no_grad():
        part.sigma_weight.uniform_(-1, 1, generator=generator(seed + 1))
        part.sigma_bias.uniform_(-1, 1, generator=generator(seed + 2))
    part.resample(generator(seed))
    drawn = torch.randn(inputs + outputs, generator=generator(seed)).tolist()
    eps_in, eps_out = [rooted(e) for e in drawn[:inputs]], [rooted(e) for e in drawn[inputs:]]
    x = torch.randn(3, inputs, generator=generator(seed + 3))
    y = part(x).tolist()
    mu, sigma = part.weight.tolist(), part.sigma_weight.tolist()
    bias, sigma_bias = part.bias.tolist(), part.sigma_bias.tolist()
    for b in range(3):
        for j in range(outputs):
            expected = bias[j] + sigma_bias[j] * eps_out[j]
            for i in range(inputs):
                expected += (mu[j][i] + sigma[j][i] * eps_in[i] * eps_out[j]) * float(x[b, i])
            assert y[b][j] == pytest.approx(expected, abs=1e-5)


def test_a_new_layer_is_as_the_paper_says() -> None:
    part = layer(100, 50)
    assert part.weight.abs().max() <= 0.1
    assert part.weight.std().item() == pytest.approx(0.1 / math.sqrt(3), rel=0.05)
    assert part.bias.abs().max() <= 0.1
    assert torch.equal(part.sigma_weight, torch.full((50, 100), 0.05))
    assert torch.equal(part.sigma_bias, torch.full((50,), 0.05))
    x = torch.randn(2, 100, generator=generator())
    torch.testing.assert_close(part(x), torch.nn.functional.linear(x, part.weight, part.bias))


def test_new_noise_leaves_the_gradients_of_old_outputs_alone() -> None:
    part = layer(4, 3)
    x = torch.randn(5, 4, generator=generator(), requires_grad=True)
    gradients = []
    for again in (False, True):
        part.resample(generator(1))
        y = part(x)
        if again:
            part.resample(generator(2))
        gradients.append(torch.autograd.grad(y.sum(), [x, *part.parameters()]))
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


@pytest.mark.parametrize(("cls", "table"), NETWORKS)
def test_noise_comes_with_the_draw_and_not_in_evaluation(
    cls: type, table: dict[str, Any], make: Any, observations: Any
) -> None:
    network: Any = make(cls, STATE, **SMALL, **table)
    obs = observations(STATE, 5)
    still = network(obs)
    network.resample_noise(generator(1))
    one = network(obs)
    network.resample_noise(generator(2))
    other = network(obs)
    network.resample_noise(generator(1))
    assert torch.equal(network(obs), one)
    assert len({tuple(out.flatten().tolist()) for out in (still, one, other)}) == 3
    network.eval()
    torch.testing.assert_close(network(obs), still)
    source = generator(3)
    before = source.get_state()
    network.resample_noise(source)
    assert torch.equal(source.get_state(), before)
    torch.testing.assert_close(network(obs), still)


def test_a_copy_has_noise_of_its_own(make: Any, observations: Any) -> None:
    network: Any = make(Noisy, STATE, **SMALL)
    obs = observations(STATE, 4)
    network.resample_noise(generator(1))
    clone = copy.deepcopy(network)
    torch.testing.assert_close(clone(obs), network(obs))
    clone.resample_noise(generator(2))
    assert not torch.equal(clone(obs), network(obs))


def test_a_state_holds_the_noise_that_was_drawn(make: Any, observations: Any) -> None:
    network, other = (make(Noisy, STATE, seed=seed, **SMALL) for seed in (0, 1))
    network.resample_noise(generator(1))
    other.load_state_dict(network.state_dict())
    obs = observations(STATE, 4)
    assert torch.equal(network(obs), other(obs))


def test_the_noise_is_in_the_head_alone(make: Any) -> None:
    network = make(Noisy, STATE, hidden=[8, 9, 10], dueling=True)
    noisy = [module for module in network.modules() if isinstance(module, NoisyLinear)]
    assert sorted((part.inputs, part.weight.shape[0]) for part in noisy) == [(9, 10), (9, 10), (10, 1), (10, 2)]
    assert not [module for module in network.trunk.modules() if isinstance(module, NoisyLinear)]
    assert len([module for module in network.trunk.modules() if isinstance(module, torch.nn.Linear)]) == 2
