from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from cartpole_dqn.components.exploration import EpsilonGreedy, ExponentialEpsilon, LinearEpsilon, PersistentEpsilon
from cartpole_dqn.contracts.options import check_options
from cartpole_dqn.contracts.parts import Context
from cartpole_dqn.errors import ConfigError
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


@pytest.mark.parametrize("part", [ExponentialEpsilon, LinearEpsilon, PersistentEpsilon])
def test_contract(part: Any) -> None:
    check_exploration(part)


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


def test_greedy_takes_the_best_action_of_each_lane() -> None:
    q = torch.tensor([[1.0, 3.0, 2.0, 0.0], [5.0, -1.0, 2.0, float("-inf")]])
    actions = constant(0.0).select(lambda: q, 0, generator(), everything(2, 4))
    assert actions.dtype == torch.int64
    assert actions.tolist() == [1, 0]


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


def test_lanes_draw_on_their_own() -> None:
    draws = generator()
    pairs = torch.zeros(4, 4)
    for step in range(4000):
        first, second = constant(1.0).select(never, step, draws, everything(2, 4)).tolist()
        pairs[first, second] += 1
    # Chi-square with 15 degrees of freedom: above 37.7 once in a thousand.
    assert ((pairs - 250) ** 2 / 250).sum() < 37.7


def test_each_lane_explores_as_often_as_epsilon_says() -> None:
    q, draws, greedy = torch.tensor([[0.0, 0.0, 9.0, 0.0]] * 2), generator(), torch.zeros(2)
    for step in range(4000):
        greedy += constant(0.4).select(lambda: q, step, draws, everything(2, 4)) == 2
    share = greedy / 4000
    # 0.6 by value and a quarter of 0.4 by chance; one standard deviation is 0.0072.
    assert ((share - 0.7).abs() < 0.03).all()


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


@pytest.mark.parametrize(
    ("part", "table"),
    [
        (LinearEpsilon, {"start": 1.1}),
        (LinearEpsilon, {"steps": 0}),
        (LinearEpsilon, {"decay": 5}),
        (ExponentialEpsilon, {"end": -0.1}),
        (ExponentialEpsilon, {"decay": 0}),
    ],
)
def test_bad_options_are_refused(part: Any, table: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(table))):
        check_options(part.Options, table, where="agent.exploration")


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


@pytest.mark.parametrize("mu", [0.0, 2.0])
def test_epsilon_stays_the_share_of_steps_that_explore(mu: float) -> None:
    exploration, draws, explored = persistent(0.3, mu=mu, longest=6), generator(), 0
    q = torch.tensor([[0.0, 0.0, 0.0, 9.0]])
    for step in range(20000):
        calls: list[Tensor] = []
        exploration.select(lambda calls=calls: calls.append(q) or q, step, draws, everything(1, 4))  # type: ignore[misc,func-returns-value]
        explored += not calls
    # Steps of one kept action hang together: six of them at most, so that this is eight standard deviations or more.
    assert abs(explored / 20000 - 0.3) < 0.03


def test_kept_for_one_step_at_most_it_is_the_plain_one() -> None:
    runs = runs_of(persistent(1.0, longest=1), 50)
    assert runs == [1] * 50


def test_a_kept_action_that_is_forbidden_is_dropped() -> None:
    exploration, draws = persistent(1.0, mu=0.0, longest=20), generator()
    for step in range(200):
        mask = torch.zeros(2, 4, dtype=torch.bool)
        mask[:, step % 4] = True
        assert exploration.select(never, step, draws, mask).tolist() == [step % 4] * 2


def test_lanes_keep_their_own_actions() -> None:
    exploration, draws = persistent(1.0, mu=0.0, longest=8), generator()
    lanes = torch.stack([exploration.select(never, step, draws, everything(3, 4)) for step in range(60)]).T.tolist()
    changes = [[step for step in range(1, 60) if lane[step] != lane[step - 1]] for lane in lanes]
    assert all(len(one) < 40 for one in changes)
    assert changes[0] != changes[1] != changes[2]


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
