from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from cartpole_dqn.components.exploration import EpsilonGreedy, ExponentialEpsilon, LinearEpsilon, PersistentEpsilon
from cartpole_dqn.contracts.parts import Context
from cartpole_dqn.testing import check_exploration

CONTEXT = Context(observation_space=spaces.Box(-1, 1, (4,), np.float32), action_space=spaces.Discrete(4))


def constant(epsilon: float) -> EpsilonGreedy:
    return LinearEpsilon(LinearEpsilon.Options(start=epsilon, end=epsilon), CONTEXT)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def never() -> Tensor:
    raise AssertionError("q was called although no lane is greedy")


def everything(lanes: int, actions: int) -> Tensor:
    return torch.ones(lanes, actions, dtype=torch.bool)


@pytest.mark.parametrize(
    ("part", "options"),
    [(ExponentialEpsilon, {}), (LinearEpsilon, {}), (PersistentEpsilon, {}), (PersistentEpsilon, {"mu": 0.0})],
)
def test_contract(part: Any, options: dict[str, float]) -> None:
    check_exploration(part, **options)


@pytest.mark.parametrize("step", [0, 1, 100, 1000, 10**6])
def test_exponential_formula(step: int) -> None:
    epsilon = ExponentialEpsilon(ExponentialEpsilon.Options(), CONTEXT).epsilon(step)
    assert math.isclose(epsilon, 0.05 + (0.9 - 0.05) * math.exp(-1.0 * step / 1000))


def test_linear_formula() -> None:
    linear = LinearEpsilon(LinearEpsilon.Options(start=1.0, end=0.2, steps=4), CONTEXT)
    found = [linear.epsilon(step) for step in (0, 1, 2, 3, 4, 5, 10**9)]
    assert found == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2, 0.2, 0.2])
    default = LinearEpsilon(LinearEpsilon.Options(), CONTEXT)
    assert (default.epsilon(0), default.epsilon(4000)) == (1.0, 0.02)


@pytest.mark.parametrize("lanes", [1, 3])
def test_random_actions_are_uniform_over_the_allowed_ones(lanes: int) -> None:
    mask = torch.tensor([[True, False, True, True], [False, True, False, False], [True, True, True, True]])[:lanes]
    counts, draws = torch.zeros(lanes, 4), generator()
    for step in range(6000):
        actions = constant(1.0).select(never, step, draws, mask)
        assert actions.shape == (lanes,)
        counts[torch.arange(lanes), actions] += 1
    expected = 6000 * mask / mask.sum(1, keepdim=True)
    assert (counts[~mask] == 0).all()
    squares = torch.where(mask, (counts - expected) ** 2 / expected.clamp(min=1), 0).sum(1)
    # Chi-square with up to 3 degrees of freedom: above 16.3 once in a thousand.
    assert (squares < 16.3).all()


@pytest.mark.parametrize("lanes", [1, 5])
def test_what_is_drawn_depends_on_the_number_of_calls_alone(lanes: int) -> None:
    states = []
    for epsilon, best, allowed in ((0.0, 0, 4), (1.0, 1, 4), (0.5, 2, 2), (0.5, 3, 4)):
        draws, mask = generator(7), everything(lanes, 4)
        mask[:, allowed:] = False
        q = torch.zeros(lanes, 4)
        q[:, best % allowed] = 1
        for step in range(10):
            constant(epsilon).select(q.clone, step, draws, mask)
        states.append(draws.get_state())
    assert all(torch.equal(state, states[0]) for state in states)


def test_a_lane_without_allowed_actions_is_named() -> None:
    mask = everything(3, 4)
    mask[1] = False
    with pytest.raises(ValueError, match="lane 1 allows none of its 4 actions"):
        constant(1.0).select(never, 0, generator(), mask)


# Actions that are kept ------------------------------------------------------------------------------------------------


def persistent(epsilon: float, **more: Any) -> PersistentEpsilon:
    return PersistentEpsilon(PersistentEpsilon.Options(start=epsilon, end=epsilon, **more), CONTEXT)


def runs_of(exploration: PersistentEpsilon, steps: int, seed: int = 0) -> list[int]:
    """For how many steps each random action was kept, of an exploration that never is greedy."""
    draws, durations, left = generator(seed), [], 0
    for step in range(steps):
        begins = left == 0
        exploration.select(never, step, draws, everything(1, 4))
        (left,) = exploration.state_dict()["left"]
        if begins:
            durations.append(left + 1)
    return durations


def test_a_random_action_is_kept_for_as_long_as_the_law_says() -> None:
    exploration = persistent(1.0, mu=1.0, longest=3)
    durations = torch.tensor(runs_of(exploration, 8000)).bincount(minlength=4)[1:].double()
    expected = durations.sum() * torch.tensor([1.0, 1 / 2, 1 / 3], dtype=torch.float64) / (1 + 1 / 2 + 1 / 3)
    # Chi-square with 2 degrees of freedom: above 13.8 once in a thousand.
    assert ((durations - expected) ** 2 / expected).sum() < 13.8


def test_kept_for_one_step_at_most_it_is_the_plain_one() -> None:
    runs = runs_of(persistent(1.0, longest=1), 50)
    assert runs == [1] * 50


def test_a_kept_action_that_is_forbidden_is_dropped() -> None:
    exploration, draws = persistent(1.0, mu=0.0, longest=20), generator()
    for step in range(200):
        mask = torch.zeros(2, 4, dtype=torch.bool)
        mask[:, step % 4] = True
        assert exploration.select(never, step, draws, mask).tolist() == [step % 4] * 2


@pytest.mark.parametrize(
    "state",
    [
        {"kept": [4], "left": [1]},
        {"kept": [-1], "left": [1]},
        {"kept": [0], "left": [11]},
        {"kept": [0, 1], "left": [1]},
        {"kept": [0.0], "left": [1]},
    ],
)
def test_a_state_that_cannot_be_is_refused(state: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected for each lane an action below 4 and at most 10 steps"):
        persistent(0.5).load_state_dict(state)
