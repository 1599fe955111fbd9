"""What is special about `DqnAgent`. The conformance kit tests what it shares with other agents."""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.envs.classic_control import CartPoleEnv
from numpy.typing import NDArray
from torch import nn

from cartpole_dqn import builtin_builder
from cartpole_dqn.agents.dqn import DqnAgent, DqnOptions
from cartpole_dqn.agents.greedy import GreedyPolicy, ValueUnits
from cartpole_dqn.contracts.options import check_options
from cartpole_dqn.contracts.parts import Batch, Context, Transition
from cartpole_dqn.contracts.seeding import SeedTree, seeded_torch
from cartpole_dqn.errors import ConfigError, RunError, UserError
from cartpole_dqn.testing import check_agent

BUILD = builtin_builder()
SPACE = spaces.Box(-np.inf, np.inf, (3,), np.float32)
ACTIONS = 4


def context_of(space: spaces.Box = SPACE, **changes: Any) -> Context:
    return Context(observation_space=space, action_space=spaces.Discrete(ACTIONS), builder=BUILD, **changes)


def make(space: spaces.Box = SPACE, num_envs: int = 1, seed: int = 0, **table: Any) -> DqnAgent:
    options = check_options(DqnOptions, {"batch_size": 8, **table}, where="agent")
    with seeded_torch(seed):
        return DqnAgent(options, context_of(space, num_envs=num_envs, seeds=SeedTree(seed)))


def feed(agent: DqnAgent, steps: int, *, num_envs: int = 1, seed: int = 0, allowed: float | None = None) -> list[Any]:
    """Random transitions, an episode's end now and then; returns what `learn` told.

    With `allowed`, each transition has a mask: an action is allowed with this probability, and one always.
    """
    rng, of_masks = np.random.default_rng(seed), np.random.default_rng(seed)

    def draw() -> Any:
        return rng.normal(size=(num_envs, 3)).astype(np.float32)

    def mask() -> Any:
        if allowed is None:
            return None
        drawn = of_masks.random(ACTIONS) < allowed
        drawn[of_masks.integers(ACTIONS)] = True
        return drawn

    events, obs = [], draw()
    for _ in range(steps):
        actions, next_obs = agent.act(obs), draw()
        ends, cut = rng.random(num_envs) < 0.2, rng.random(num_envs) < 0.1
        agent.observe(
            [
                Transition(obs[i], int(actions[i]), rng.normal(), next_obs[i], bool(ends[i]), bool(cut[i]), i, mask())
                for i in range(num_envs)
            ]
        )
        events.append(agent.learn())
        obs = np.where((ends | cut)[:, None], draw(), next_obs)
    return events


QUICK = {
    "batch_size": 16,
    "gamma": 0.9,
    "network": {"name": "mlp", "hidden": [16]},
    "replay": {"name": "uniform", "capacity": 2000},
    "exploration": {"name": "linear", "steps": 300, "end": 0.1},
    "optimiser": {"name": "adam", "lr": 0.01},
    "target_update": {"name": "soft", "tau": 0.05},
}


@pytest.mark.parametrize("table", [{}, {"train_every": 3, "n_step": 3, "double": True}])
def test_contract(table: dict[str, Any]) -> None:
    check_agent(DqnAgent, BUILD, **{**QUICK, **table})


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize(
    ("table", "allowed"),
    [
        ({}, None),
        ({"clip": "value", "clip_at": 0.01}, None),
        ({"clip": "norm", "clip_at": 0.05}, None),
        ({"advantage_learning": 0.9}, None),
        ({}, 0.2),
        ({"n_step": 3}, 0.2),
    ],
)
def test_an_update_is_the_papers(double: bool, table: dict[str, Any], allowed: float | None) -> None:
    """One update against the formula written out, transition by transition; a mask forbids actions of the target."""
    # RMSprop's first step divides by the gradient's own size: eps keeps the rounding of small ones small.
    table = {"optimiser": {"name": "rmsprop", "lr": 0.01, "eps": 1e-3}, "batch_size": 24, **table}
    table |= {"target_update": {"name": "hard", "every": 1000}, "double": double, "gamma": 0.9, "learning_starts": 30}
    agent = make(**table)
    feed(agent, 29, allowed=allowed)
    online, target = copy.deepcopy(agent.online), copy.deepcopy(agent.target)
    for parameter in target.parameters():  # a target that differs, so that it matters which network is asked
        parameter.data.mul_(1.5)
        parameter.data.add_(0.05)
    agent.target.load_state_dict(target.state_dict())
    drawn: list[Batch] = []
    sample = agent._replay.sample
    agent._replay.sample = lambda n: drawn.append(sample(n)) or drawn[-1]  # type: ignore[method-assign,func-returns-value]
    figures, seed = None, 5
    while figures is None:
        agent.break_lane(0)
        figures, seed = feed(agent, 1, seed=seed, allowed=allowed)[0], seed + 1
    batch = drawn[0]
    assert (batch.next_mask is None) == (allowed is None)

    losses, forbidden_best = [], 0
    for i in range(24):
        action = batch.actions[i]
        next_values = target(batch.next_obs[i : i + 1])[0].detach()
        chooser = (online(batch.next_obs[i : i + 1])[0] if double else next_values).tolist()
        may = [a for a in range(ACTIONS) if batch.next_mask is None or batch.next_mask[i, a]]
        best = max(may, key=chooser.__getitem__)
        forbidden_best += chooser[best] < max(chooser)
        delta = batch.rewards[i] + batch.discounts[i] * next_values[best] - online(batch.obs[i : i + 1])[0, action]
        here = target(batch.obs[i : i + 1])[0].detach()
        delta = delta - table.get("advantage_learning", 0.0) * (here.max() - here[action])
        losses.append(0.5 * delta**2 if abs(delta) <= 1 else abs(delta) - 0.5)
    assert allowed is None or forbidden_best >= 4, "masks must matter here"
    loss = torch.stack(losses).mean()
    loss.backward()
    if table.get("clip") == "value":
        torch.nn.utils.clip_grad_value_(online.parameters(), table["clip_at"])
    elif table.get("clip") == "norm":
        torch.nn.utils.clip_grad_norm_(online.parameters(), table["clip_at"])
    torch.optim.RMSprop(online.parameters(), lr=0.01, eps=1e-3).step()
    assert figures["loss"] == pytest.approx(loss.item(), rel=1e-5)
    for mine, reference in zip(agent.online.parameters(), online.parameters(), strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-4, atol=1e-6)


def test_masks_that_forbid_nothing_change_nothing() -> None:
    figures = feed(make(), 60)
    assert figures == feed(make(), 60, allowed=1.0)
    assert figures[-1] is not None


def test_advantage_learning_does_not_go_with_masks() -> None:
    feed(make(advantage_learning=0.9), 60)
    words = r"agent\.advantage_learning is 0\.9, .* Leave it at 0"
    with pytest.raises(RunError, match=words):
        feed(make(advantage_learning=0.9), 60, allowed=0.2)

    class Masked(CartPoleEnv):
        def reset(self, **kwargs: Any) -> Any:
            return super().reset(**kwargs)[0], {"action_mask": np.array([1, 0])}

    options, context = DqnOptions(advantage_learning=0.9), context_of(make_env=Masked)
    with pytest.raises(ConfigError, match=words):
        DqnAgent(options, context)
    DqnAgent(options, dataclasses.replace(context, make_env=CartPoleEnv))


def test_cadence() -> None:
    agent = make(train_every=4, updates=3, learning_starts=10)
    feed(agent, 60)
    # The first 9 steps keep too little; then every fourth step makes three updates.
    assert agent.status()["updates"] == 3 * ((60 - 9) // 4)


def test_several_lanes_learn_as_often_per_step() -> None:
    agent = make(num_envs=4, train_every=2, learning_starts=8)
    feed(agent, 50, num_envs=4)
    assert agent.status()["updates"] == (50 - 1) * 2


@pytest.mark.parametrize("which", ["online", "target"])
def test_the_policy_has_the_chosen_weights(which: str) -> None:
    obs = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    agent = make(policy=which, target_update={"name": "hard", "every": 1000})
    feed(agent, 30)
    assert (agent.online.training, agent.target.training) == (True, False)
    network = agent.online if which == "online" else agent.target
    assert np.array_equal(agent.policy().act(obs), network(torch.from_numpy(obs)).argmax(1).numpy())


def test_the_average_is_of_the_last_updates_and_goes_on_after_a_resume() -> None:
    def weights(network: nn.Module) -> NDArray[np.float64]:
        return np.concatenate([p.detach().double().ravel().numpy() for p in network.parameters()])

    agent, online = make(policy="average"), []
    for seed in range(30):
        if seed == 20:
            resumed = make(policy="average", seed=1)
            resumed.load_state_dict(agent.state_dict())
            resumed.load_replay_state_dict(agent.replay_state_dict())
            agent = resumed
        feed(agent, 1 if seed else 8, seed=seed)
        agent.break_lane(0)
        online.append(weights(agent.online))
    assert agent.status()["updates"] == 30
    # Shamir and Zhang's recursion, spelled out: the weight of update k is proportional to k (k + 1) ... (k + 18).
    shares = np.array([math.comb(k + 18, 19) for k in range(1, 31)], dtype=np.float64)
    assert np.allclose(weights(agent.policy()._network), shares / shares.sum() @ np.array(online), atol=1e-6)


def test_an_average_has_the_latest_statistics_of_batches() -> None:
    space = spaces.Box(0, 255, (40, 40, 3), np.uint8)
    agent = make(space, policy="average", network={"name": "tutorial-conv"})
    rng = np.random.default_rng(0)
    for _ in range(9):
        obs, next_obs = rng.integers(0, 256, (2, *space.shape), np.uint8)
        agent.observe([Transition(obs, 0, 1.0, next_obs, True, False, 0)])
        agent.learn()
    mine, online = agent.policy()._network.state_dict(), agent.online.state_dict()
    names = [name for name in online if "running" in name]
    assert names
    assert all(torch.equal(mine[name], online[name]) for name in names)


def test_a_loss_that_is_not_finite_stops_the_run() -> None:
    agent = make()
    obs = np.full(3, np.nan, np.float32)
    for _ in range(8):
        agent.observe([Transition(obs, 0, 1.0, obs, False, False, 0)])
    with pytest.raises(RunError, match="loss became nan at update 1"):
        agent.learn()


def test_weights_that_do_not_fit_are_refused() -> None:
    agent = make()
    state = agent.state_dict()
    with pytest.raises(ValueError, match="do not fit Mlp"):
        make(network={"name": "mlp", "hidden": [5]}).load_state_dict(state)
    broken = copy.deepcopy(state)
    next(iter(broken["online"].values()))[0] = float("nan")
    with pytest.raises(ValueError, match="not finite"):
        make().load_state_dict(broken)


# Units of values ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reward", [1.0, -1.0])
def test_units_leave_the_bellman_equation_as_it_is(reward: float) -> None:
    units = ValueUnits.of(reward, 0.995)
    assert (units.base, units.scale) == (pytest.approx(200 * reward), pytest.approx(20))
    generator = torch.Generator().manual_seed(0)
    output, next_output = (torch.randn(5, generator=generator) for _ in range(2))
    rewards, discounts = torch.rand(5, generator=generator), torch.tensor([0.9, 0.995, 0.0, 0.5, 0.0])
    nothing = torch.zeros(5)
    batch = Batch(nothing, nothing.long(), rewards, nothing, discounts, torch.ones(5), torch.arange(5))
    wanted = rewards + discounts * units.values(next_output) - units.values(output)
    got = units.of_batch(batch).rewards + discounts * next_output - output
    assert torch.allclose(got * units.scale, wanted, atol=1e-3)


def test_values_are_shown_as_returns_and_weights_of_other_units_are_refused() -> None:
    built = make(step_reward=1.0, gamma=0.9)
    values = built.policy().q_values(np.zeros((1, 3), np.float32))
    assert values is not None
    assert np.abs(values - 10).max() < 5, "near 10, the return of a reward of 1 at each step"
    with pytest.raises(UserError, match=r"values as 10 \+ 1 times their output, this run as 0 \+ 1 times"):
        make(gamma=0.9).start_from(built.policy().state_dict())
    with pytest.raises(ConfigError, match=r"step_reward is 1, which needs agent.gamma below 1"):
        make(step_reward=1.0, gamma=1.0)


class Recorded(DqnAgent):
    """Notes what the steps of an update return, and adds 1 to each reward."""

    def prepare(self, batch: Batch) -> Batch:
        batch = super().prepare(batch)
        return dataclasses.replace(batch, rewards=batch.rewards + 1)

    def look_ahead(self, batch: Batch) -> Any:
        self.ahead = super().look_ahead(batch)
        return self.ahead

    def losses(self, output: torch.Tensor, batch: Batch) -> Any:
        self.output, self.batch, self.result = output, batch, super().losses(output, batch)
        return self.result


@pytest.mark.parametrize("table", [{}, {"step_reward": 1.0}, {"advantage_learning": 0.5, "double": True}])
def test_a_subclass_changes_a_step_of_an_update(table: dict[str, Any]) -> None:
    options = check_options(DqnOptions, {"batch_size": 8, "gamma": 0.9, **table}, where="agent")
    with seeded_torch(0):
        agent = Recorded(options, context_of())
    plain = make(gamma=0.9, **table)
    for one in (agent, plain):
        feed(one, 8)
    output, (next_output, next_actions), batch = agent.output, agent.ahead, agent.batch
    assert (output.shape, next_output.shape, next_actions.shape) == ((8, ACTIONS), (8, ACTIONS), (8,))
    taken = output.gather(1, batch.actions[:, None])[:, 0]
    ahead = next_output.gather(1, next_actions[:, None])[:, 0]
    losses, td_errors = agent.result
    np.testing.assert_allclose(td_errors, (batch.rewards + batch.discounts * ahead - taken).detach(), rtol=1e-5)
    assert losses.requires_grad
    assert not td_errors.requires_grad
    assert any(not torch.equal(a, b) for a, b in zip(agent.online.parameters(), plain.online.parameters(), strict=True))


def test_a_subclass_has_a_policy_of_its_own() -> None:
    class Worst(GreedyPolicy):
        def act(self, obs: NDArray[Any], mask: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
            return self.q_values(obs).argmin(1)

    class Contrary(DqnAgent):
        Policy = Worst

    agent = Contrary(DqnOptions(), context_of())
    obs = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    policy = agent.policy()
    assert policy.act(obs).tolist() == policy.q_values(obs).argmin(1).tolist()
