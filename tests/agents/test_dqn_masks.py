"""What a mask forbids is neither done nor hoped for."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.envs.classic_control import CartPoleEnv

from cartpole_dqn import builtin_builder
from cartpole_dqn.agents.dqn import DqnAgent, DqnOptions
from cartpole_dqn.contracts.options import check_options
from cartpole_dqn.contracts.parts import Batch, Context, Transition
from cartpole_dqn.contracts.seeding import SeedTree, seeded_torch
from cartpole_dqn.errors import ConfigError, RunError

BUILD = builtin_builder()
SPACE = spaces.Box(-np.inf, np.inf, (3,), np.float32)
ACTIONS = 4


def make(seed: int = 0, **table: Any) -> DqnAgent:
    options = check_options(DqnOptions, {"batch_size": 24, "learning_starts": 30, **table}, where="agent")
    context = Context(
        observation_space=SPACE, action_space=spaces.Discrete(ACTIONS), seeds=SeedTree(seed), builder=BUILD
    )
    with seeded_torch(seed):
        return DqnAgent(options, context)


def feed(agent: DqnAgent, steps: int, *, masked: bool = True, seed: int = 0) -> list[Any]:
    """Random transitions whose masks allow one action or more; returns what `learn` told."""
    rng = np.random.default_rng(seed)
    obs, told = rng.normal(size=3).astype(np.float32), []
    for _ in range(steps):
        next_obs = rng.normal(size=3).astype(np.float32)
        mask = rng.random(ACTIONS) < 0.2
        mask[rng.integers(ACTIONS)] = True
        ends = bool(rng.random() < 0.2)
        action, reward = int(rng.integers(ACTIONS)), float(rng.normal())
        agent.observe([Transition(obs, action, reward, next_obs, ends, False, 0, mask if masked else None)])
        told.append(agent.learn())
        obs = rng.normal(size=3).astype(np.float32) if ends else next_obs
    return told


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("n_step", [1, 3])
def test_targets_take_the_best_action_that_is_allowed(double: bool, n_step: int) -> None:
    """One update against the formula written out, transition by transition."""
    table = {"optimiser": {"name": "rmsprop", "lr": 0.01}, "target_update": {"name": "hard", "every": 1000}}
    agent = make(double=double, n_step=n_step, gamma=0.9, **table)
    feed(agent, 28)
    online, target = copy.deepcopy(agent._online), copy.deepcopy(agent._target)
    for parameter in target.parameters():  # a target that differs, so that it matters which network is asked
        parameter.data.mul_(1.5)
        parameter.data.add_(0.05)
    agent._target.load_state_dict(target.state_dict())
    drawn: list[Batch] = []
    sample = agent._replay.sample
    agent._replay.sample = lambda n: drawn.append(sample(n)) or drawn[-1]  # type: ignore[method-assign,func-returns-value]
    agent.break_lane(0)
    told = next(figures for figures in feed(agent, 12, seed=5) if figures is not None)
    batch = drawn[0]
    assert batch.next_mask is not None

    losses, forbidden_best = [], 0
    for i in range(len(batch)):
        next_values = target(batch.next_obs[i : i + 1])[0].detach()
        chooser = (online(batch.next_obs[i : i + 1])[0] if double else next_values).tolist()
        allowed = [a for a in range(ACTIONS) if batch.next_mask[i, a]]
        best = max(allowed, key=chooser.__getitem__)
        forbidden_best += chooser[best] < max(chooser)
        delta = batch.rewards[i] + batch.discounts[i] * next_values[best]
        delta = delta - online(batch.obs[i : i + 1])[0, batch.actions[i]]
        losses.append(0.5 * delta**2 if abs(delta) <= 1 else abs(delta) - 0.5)
    assert forbidden_best >= 4, "masks must matter here"
    assert told["loss"] == pytest.approx(torch.stack(losses).mean().item(), rel=1e-5)


def test_advantage_learning_does_not_go_with_masks() -> None:
    feed(make(advantage_learning=0.9), 60, masked=False)
    with pytest.raises(RunError, match=r"agent\.advantage_learning is 0\.9, .* Leave it at 0"):
        feed(make(advantage_learning=0.9), 60)


class Masked(CartPoleEnv):
    def reset(self, **kwargs: Any) -> Any:
        return super().reset(**kwargs)[0], {"action_mask": np.array([1, 0])}


def test_advantage_learning_with_masks_is_refused_before_anything_starts() -> None:
    options = check_options(DqnOptions, {"advantage_learning": 0.9}, where="agent")
    context = Context(observation_space=SPACE, action_space=spaces.Discrete(2), builder=BUILD, make_env=Masked)
    with pytest.raises(ConfigError, match=r"agent\.advantage_learning is 0\.9, .* Leave it at 0"):
        DqnAgent(options, context)
    DqnAgent(options, dataclasses.replace(context, make_env=CartPoleEnv))


def test_without_masks_nothing_changes() -> None:
    """Masks that allow everything are as good as none, to the bit."""
    agents = [make(), make()]
    told = [feed(agents[0], 60, masked=False)]
    rng = np.random.default_rng(0)  # the same course, told with masks that forbid nothing
    obs, second = rng.normal(size=3).astype(np.float32), []
    for _ in range(60):
        next_obs = rng.normal(size=3).astype(np.float32)
        rng.random(ACTIONS), rng.integers(ACTIONS)
        ends = bool(rng.random() < 0.2)
        action, reward = int(rng.integers(ACTIONS)), float(rng.normal())
        everything = np.ones(ACTIONS, np.bool_)
        agents[1].observe([Transition(obs, action, reward, next_obs, ends, False, 0, everything)])
        second.append(agents[1].learn())
        obs = rng.normal(size=3).astype(np.float32) if ends else next_obs
    assert [figures for figures in told[0] if figures] == [figures for figures in second if figures]
    assert any(figures is not None for figures in second)


def test_a_restored_agent_goes_on_with_the_same_masks() -> None:
    agent = make(n_step=3)
    feed(agent, 40)
    agent.break_lane(0)
    state, replay = copy.deepcopy(agent.state_dict()), copy.deepcopy(agent.replay_state_dict())
    expected = feed(agent, 30, seed=9)
    other = make(n_step=3, seed=77)
    other.load_state_dict(state)
    other.load_replay_state_dict(replay)
    assert feed(other, 30, seed=9) == expected
    assert any(figures is not None for figures in expected)


def test_a_forbidden_treasure_is_not_hoped_for() -> None:
    """Where action 0 would pay 10 but is forbidden, the state before is worth what the other action pays.

    State 0 leads to state 1 for nothing; there action 1 pays 1, and both end the episode. Action 0 was allowed there in
    earlier episodes, so that its value is known.
    """
    learning = {"learning_starts": 64, "batch_size": 32, "gamma": 1.0, "optimiser": {"name": "adam", "lr": 1e-2}}
    options = check_options(DqnOptions, {**learning, "target_update": {"name": "soft", "tau": 0.1}}, where="agent")
    context = Context(observation_space=SPACE, action_space=spaces.Discrete(2), seeds=SeedTree(0), builder=BUILD)
    with seeded_torch(0):
        agent = DqnAgent(options, context)
    first, second = np.array([1, 0, 0], np.float32), np.array([0, 1, 0], np.float32)
    for k, action in zip(range(500), itertools.cycle([0, 1])):
        mask = np.array([False, True])
        agent.observe([Transition(first, action, 0.0, second, False, False, 0, mask)])
        agent.learn()
        taken = k % 4 // 2
        agent.observe([Transition(second, taken, 10.0 if taken == 0 else 1.0, second, True, False, 0, mask)])
        agent.learn()
    values = agent.policy().q_values(np.stack([first, second]))
    assert values[1] == pytest.approx([10.0, 1.0], abs=0.5)
    assert values[0] == pytest.approx([1.0, 1.0], abs=0.5)
