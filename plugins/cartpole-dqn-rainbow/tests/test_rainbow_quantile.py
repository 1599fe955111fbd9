from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from cartpole_dqn_rainbow.quantile import Quantile, quantile_huber, wasserstein
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

STATE = spaces.Box(-np.inf, np.inf, (4,), np.float32)


def huber_slowly(predicted: list[float], target: list[float], kappa: float) -> float:
    """Dabney et al. 2018, equation 10 and algorithm 1, over kappa; at 0 the quantile regression loss, equation 8."""
    total = 0.0
    for i, theta in enumerate(predicted):
        level = (2 * i + 1) / (2 * len(predicted))
        for value in target:
            u = value - theta
            if kappa == 0:
                size = abs(u)
            elif abs(u) <= kappa:
                size = u**2 / 2 / kappa
            else:
                size = abs(u) - kappa / 2
            total += abs(level - (u < 0)) * size / len(target)
    return total


def wasserstein_slowly(one: list[float], other: list[float]) -> float:
    """The area between the two distribution functions."""
    places = sorted([*one, *other])
    area = 0.0
    for left, right in itertools.pairwise(places):
        shares = [sum(x <= left for x in side) / len(side) for side in (one, other)]
        area += (right - left) * abs(shares[0] - shares[1])
    return area


VALUES = st.floats(-30, 30, width=32)


@given(
    predicted=st.lists(VALUES, min_size=1, max_size=6),
    target=st.lists(VALUES, min_size=1, max_size=6),
    kappa=st.sampled_from([0.0, 0.25, 1.0, 3.0]),
)
def test_loss_against_its_formula(predicted: list[float], target: list[float], kappa: float) -> None:
    levels = (torch.arange(len(predicted)) + 0.5) / len(predicted)
    pair = torch.tensor([predicted, predicted]), torch.tensor([target, target])
    came = quantile_huber(*pair, levels, kappa)
    assert came.tolist() == pytest.approx([huber_slowly(predicted, target, kappa)] * 2, rel=1e-4, abs=1e-5)


@given(pairs=st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=7))
def test_wasserstein_against_the_area_between(pairs: list[tuple[float, float]]) -> None:
    one, other = (list(side) for side in zip(*pairs, strict=True))
    came = wasserstein(torch.tensor([one]), torch.tensor([other])).item()
    assert came == pytest.approx(wasserstein_slowly(one, other), rel=1e-4, abs=1e-4)
    assert came >= abs(np.mean(one) - np.mean(other)) - 1e-4


@given(seed=st.integers(0, 999), actions=st.integers(2, 4), kappa=st.sampled_from([0.0, 1.0]))
def test_td_loss_against_the_algorithm_step_by_step(
    seed: int, actions: int, kappa: float, make: Any, make_batch: Any
) -> None:
    network = make(Quantile, STATE, actions=actions, quantiles=5, kappa=kappa, hidden=[8])
    batch = make_batch(STATE, 4, actions, seed)
    random = torch.Generator().manual_seed(seed)
    output, next_output = (3 * torch.randn(4, actions, 5, generator=random) for _ in range(2))
    next_actions = torch.randint(actions, (4,), generator=random)
    losses, td_errors = network.td_loss(output, next_output, next_actions, batch)
    for b in range(4):
        following = next_output[b, int(next_actions[b])].tolist()
        target = [float(batch.rewards[b]) + float(batch.discounts[b]) * z for z in following]
        predicted = output[b, int(batch.actions[b])].tolist()
        assert float(losses[b]) == pytest.approx(huber_slowly(predicted, target, kappa), rel=1e-4, abs=1e-4)
        assert float(td_errors[b]) == pytest.approx(wasserstein_slowly(predicted, target), rel=1e-4, abs=1e-4)
        value = float(network.q_values(output)[b, int(batch.actions[b])])
        assert value == pytest.approx(sum(predicted) / 5, abs=1e-5)


def test_no_gradient_goes_into_the_target(make: Any, make_batch: Any) -> None:
    network = make(Quantile, STATE, quantiles=9, hidden=[8])
    batch = make_batch(STATE, 6)
    output, next_output = (torch.randn(6, 2, 9, requires_grad=True) for _ in range(2))
    losses, _ = network.td_loss(output, next_output, batch.actions, batch)
    losses.sum().backward()
    assert next_output.grad is None
    assert output.grad is not None
    chosen = output.grad.gather(1, batch.actions[:, None, None].expand(-1, 1, 9))
    assert chosen.any(-1).all()
