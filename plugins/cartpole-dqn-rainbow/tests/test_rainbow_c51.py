from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from cartpole_dqn_rainbow.c51 import C51, project
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from cartpole_dqn import UserError

STATE = spaces.Box(-np.inf, np.inf, (4,), np.float32)
SMALL: dict[str, Any] = {"hidden": [16], "atoms": 11, "v_min": -5.0, "v_max": 5.0}


def project_slowly(chances: list[float], returns: list[float], support: list[float]) -> list[float]:
    """Bellemare et al. 2017, equation 7, term by term: each atom takes from each return its triangle's share."""
    step = support[1] - support[0]
    projected = []
    for atom in support:
        mass = 0.0
        for chance, value in zip(chances, returns, strict=True):
            held = min(max(value, support[0]), support[-1])
            mass += chance * min(max(1 - abs(held - atom) / step, 0.0), 1.0)
        projected.append(mass)
    return projected


def softmax(row: list[float]) -> list[float]:
    powers = [math.exp(x - max(row)) for x in row]
    return [p / sum(powers) for p in powers]


@st.composite
def projections(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor]:
    atoms, low = draw(st.integers(2, 12)), draw(st.integers(-20, 20))
    support = torch.linspace(low, low + draw(st.integers(1, 40)), atoms)
    count, rows = draw(st.integers(1, 6)), draw(st.integers(1, 3))
    # Whole numbers and halves often fall right on an atom, the others between two.
    value = st.one_of(st.integers(-50, 70).map(float), st.floats(-50, 70, width=32))
    returns = draw(st.lists(st.lists(value, min_size=count, max_size=count), min_size=rows, max_size=rows))
    logits = torch.randn(rows, count, generator=torch.Generator().manual_seed(draw(st.integers(0, 99))))
    return logits.softmax(-1), torch.tensor(returns), support


@given(case=projections())
def test_project_against_its_formula(case: tuple[Tensor, Tensor, Tensor]) -> None:
    chances, returns, support = case
    projected = project(chances, returns, support)
    for row in range(len(chances)):
        expected = project_slowly(chances[row].tolist(), returns[row].tolist(), support.tolist())
        assert projected[row].tolist() == pytest.approx(expected, abs=2e-5)


@given(seed=st.integers(0, 999), actions=st.integers(2, 4))
def test_loss_against_the_algorithm_step_by_step(seed: int, actions: int, make: Any, make_batch: Any) -> None:
    network = make(C51, STATE, actions=actions, seed=seed, **SMALL)
    batch = make_batch(STATE, 5, actions, seed)
    random = torch.Generator().manual_seed(seed)
    output, next_output = (3 * torch.randn(5, actions, 11, generator=random) for _ in range(2))
    next_actions = torch.randint(actions, (5,), generator=random)
    losses, td_errors = network.td_loss(output, next_output, next_actions, batch)
    support = [float(i - 5) for i in range(11)]
    for b in range(5):
        reward, discount = float(batch.rewards[b]), float(batch.discounts[b])
        following = softmax(next_output[b, int(next_actions[b])].tolist())
        target = project_slowly(following, [reward + discount * z for z in support], support)
        predicted = softmax(output[b, int(batch.actions[b])].tolist())
        cross_entropy = -sum(m * math.log(p) for m, p in zip(target, predicted, strict=True))
        entropy = -sum(m * math.log(m) for m in target if m > 0)
        assert float(losses[b]) == pytest.approx(cross_entropy, abs=1e-4)
        assert float(td_errors[b]) == pytest.approx(cross_entropy - entropy, abs=1e-4)
        value = sum(p * z for p, z in zip(predicted, support, strict=True))
        assert float(network.q_values(output)[b, int(batch.actions[b])]) == pytest.approx(value, abs=1e-4)


def test_the_gradient_is_prediction_less_target(make: Any, make_batch: Any) -> None:
    network = make(C51, STATE, **SMALL)
    batch = make_batch(STATE, 6)
    batch = dataclasses.replace(batch, rewards=torch.full((6,), 9.0), discounts=torch.zeros(6))
    output = torch.randn(6, 2, 11, generator=torch.Generator().manual_seed(0), requires_grad=True)
    network.td_loss(output, output.detach(), batch.actions, batch)[0].sum().backward()
    target = torch.zeros(11)
    target[-1] = 1  # a reward beyond the support counts as its end
    assert output.grad is not None
    for b, action in enumerate(batch.actions.tolist()):
        torch.testing.assert_close(output.grad[b, action], output[b, action].detach().softmax(-1) - target)
        assert not output.grad[b, 1 - action].any()


def test_a_support_without_extent_is_refused(make: Any) -> None:
    with pytest.raises(UserError, match="network c51: expected v_min < v_max, got 2 and 2"):
        make(C51, STATE, v_min=2.0, v_max=2.0)
