from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from cartpole_dqn.components.networks import Conv, Mlp
from cartpole_dqn.components.target_updates import HardTargetUpdate, SoftTargetUpdate
from cartpole_dqn.contracts.parts import Context, Network, TargetUpdate
from cartpole_dqn.testing import check_target_update

SCREEN = Context(observation_space=spaces.Box(-255, 255, (40, 80, 3), np.int16), action_space=spaces.Discrete(2))


def hard(**table: Any) -> HardTargetUpdate:
    return HardTargetUpdate(HardTargetUpdate.Options(**table), SCREEN)


def soft(**table: Any) -> SoftTargetUpdate:
    return SoftTargetUpdate(SoftTargetUpdate.Options(**table), SCREEN)


def equal(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def perturb(module: nn.Module, seed: int = 0) -> None:
    draws = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=draws))


def updates_that_copy(update: TargetUpdate, count: int, *, episodes: bool = False) -> list[int]:
    online = nn.Linear(1, 1)
    target, found = copy.deepcopy(online), []
    for i in range(1, count + 1):
        perturb(online, seed=i)
        if episodes:
            update.after_update(online, target, i)
            assert not equal(online, target)
            update.after_episode(online, target, i)
        else:
            update.after_episode(online, target, i)
            assert not equal(online, target)
            update.after_update(online, target, i)
        if equal(online, target):
            found.append(i)
    return found


@pytest.mark.parametrize("part", [HardTargetUpdate, SoftTargetUpdate])
def test_contract(part: Any) -> None:
    check_target_update(part)


def test_hard_with_first_follows_the_tutorials_loop() -> None:
    """There, episodes count from 0 and `i_episode % 10 == 0` copies after an episode."""
    expected = [i_episode + 1 for i_episode in range(45) if i_episode % 10 == 0]
    assert updates_that_copy(hard(every=10, unit="episodes", first=1), 45, episodes=True) == expected


@given(every=st.integers(1, 7), first=st.integers(0, 20))
def test_hard_schedule(every: int, first: int) -> None:
    due = set(range(first or every, 30, every))
    assert set(updates_that_copy(hard(every=every, first=first), 29)) == due


def test_soft_moves_by_tau() -> None:
    online = Mlp(Mlp.Options(), SCREEN)
    target = copy.deepcopy(online)
    perturb(online)
    before = [p.detach().clone() for p in target.parameters()]
    update = soft(tau=0.25, every_updates=2)
    update.after_update(online, target, 1)
    update.after_episode(online, target, 2)
    assert all(torch.equal(a, b) for a, b in zip(before, target.parameters(), strict=True))
    update.after_update(online, target, 2)
    for old, new, goal in zip(before, target.parameters(), online.parameters(), strict=True):
        torch.testing.assert_close(new.detach(), (0.75 * old + 0.25 * goal).detach())
    assert all(p.grad_fn is None and p.requires_grad for p in target.parameters())


class Noisy(nn.Module):
    """Puts a new tensor in its buffer's place, as modules with noise do."""

    noise: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))
        self.register_buffer("noise", torch.zeros(2))
        self.register_buffer("absent", None)


@pytest.mark.parametrize("update", [hard(every=1), soft(tau=0.1)])
def test_a_buffer_that_was_replaced_still_reaches_the_target(update: TargetUpdate) -> None:
    online, target = Noisy(), Noisy()
    for i in range(1, 3):
        online.noise = torch.full((2,), float(i))
        update.after_update(online, target, i)
        assert torch.equal(target.noise, online.noise)
        assert target.noise is not online.noise


@pytest.mark.parametrize("update", [hard(every=1), soft(tau=1.0)])
def test_one_update_may_serve_several_pairs(update: TargetUpdate) -> None:
    pairs: list[tuple[Network, Network]] = [
        (Mlp(Mlp.Options(), SCREEN), Mlp(Mlp.Options(), SCREEN)),
        (Conv(Conv.Options(), SCREEN), Conv(Conv.Options(channels_last=False), SCREEN)),
    ]
    for _ in range(2):
        for online, target in pairs:
            perturb(online)
            update.after_update(online, target, 1)
            assert equal(online, target)
