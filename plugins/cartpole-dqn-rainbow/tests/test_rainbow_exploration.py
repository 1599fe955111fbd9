from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from cartpole_dqn_rainbow.exploration import Boltzmann, Greedy
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from cartpole_dqn import Context, Exploration

CONTEXT = Context(
    observation_space=spaces.Box(-np.inf, np.inf, (4,), np.float32), action_space=spaces.Discrete(3), num_envs=2
)


def build(cls: Any, **table: Any) -> Any:
    return cls(cls.Options(**table) if hasattr(cls, "Options") else None, CONTEXT)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def select(part: Exploration, q: Tensor, step: int = 0, seed: int = 0, mask: Tensor | None = None) -> Tensor:
    allowed = torch.ones(q.shape, dtype=torch.bool) if mask is None else mask
    return part.select(lambda: q.masked_fill(~allowed, -math.inf), step, generator(seed), allowed)


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 2.0), (1, 1.9985), (500, 1.25), (1000, 0.5), (1001, 0.5), (10**9, 0.5)]
)
def test_the_temperature_falls_along_a_line(step: int, expected: float) -> None:
    part = build(Boltzmann, temperature=2.0, final_temperature=0.5, steps=1000)
    assert part.temperature(step) == pytest.approx(expected)


@given(
    values=st.lists(st.lists(st.floats(-50, 50, width=32), min_size=3, max_size=3), min_size=1, max_size=4),
    step=st.integers(0, 200),
    seed=st.integers(0, 99),
    forbidden=st.lists(st.integers(0, 3), min_size=4, max_size=4),
)
def test_choices_against_gumbel_one_by_one(
    values: list[list[float]], step: int, seed: int, forbidden: list[int]
) -> None:
    part = build(Boltzmann, temperature=3.0, final_temperature=0.1, steps=100)
    q = torch.tensor(values)
    mask = torch.ones(q.shape, dtype=torch.bool)
    for lane, action in enumerate(forbidden[: len(values)]):
        mask[lane, action:] &= action == 0  # 0 allows all, else the actions below it
    came = select(part, q, step, seed, mask).tolist()
    temperature = 3.0 + (0.1 - 3.0) * min(step, 100) / 100
    uniform = torch.rand((len(values), 3), generator=generator(seed), dtype=torch.float64).tolist()
    for lane, row in enumerate(q.tolist()):
        scores = {
            action: value / temperature - math.log(-math.log(1 - uniform[lane][action]))
            for action, value in enumerate(row)
            if mask[lane, action]
        }
        assert came[lane] == max(scores, key=lambda action: scores[action])


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_frequencies_are_those_of_the_softmax(temperature: float) -> None:
    part = build(Boltzmann, temperature=temperature, final_temperature=temperature)
    q, mask = torch.tensor([1.0, 2.0, 0.0, 9.0]), torch.tensor([True, True, True, False])
    chosen = select(part, q.expand(40_000, 4), mask=mask.expand(40_000, 4))
    shares = torch.bincount(chosen, minlength=4) / 40_000
    expected = (q / temperature).masked_fill(~mask, -math.inf).softmax(0)
    # Four standard deviations of a share of 40,000 draws are at most 0.01.
    torch.testing.assert_close(shares, expected, atol=0.01, rtol=0)


@pytest.mark.parametrize("temperature", [1e-300, 1e-12, 1e12])
def test_extreme_temperatures(temperature: float) -> None:
    part = build(Boltzmann, temperature=temperature, final_temperature=temperature)
    q = torch.tensor([1.0, 3.0, 2.0]).expand(3_000, 3)
    shares = torch.bincount(select(part, q), minlength=3) / 3_000
    expected = [0.0, 1.0, 0.0] if temperature < 1 else [1 / 3] * 3
    assert shares.tolist() == pytest.approx(expected, abs=0.04)


def test_the_same_numbers_are_drawn_whatever_the_values() -> None:
    part, states = build(Boltzmann), []
    for q in (torch.zeros(2, 3), torch.randn(2, 3, generator=generator()) * 100):
        source = generator(5)
        part.select(lambda q=q: q, 3, source, torch.ones(2, 3, dtype=torch.bool))
        states.append(source.get_state())
    assert torch.equal(*states)


def test_greedy_takes_the_best_and_draws_nothing() -> None:
    part, source = build(Greedy), generator()
    before = source.get_state()
    q = torch.tensor([[1.0, 3.0, 3.0], [0.0, -1.0, -2.0], [-math.inf, -5.0, -4.0]])
    assert part.select(lambda: q, 0, source, torch.isfinite(q)).tolist() == [1, 0, 2]
    assert torch.equal(source.get_state(), before)
    assert part.epsilon(0) is None


@pytest.mark.parametrize("cls", [Greedy, Boltzmann])
def test_a_lane_without_a_choice_is_an_error(cls: Any) -> None:
    mask = torch.tensor([[True, False], [False, False]])
    with pytest.raises(ValueError, match="the mask of lane 1 allows none of its 2 actions"):
        select(build(cls), torch.zeros(2, 2), mask=mask)
