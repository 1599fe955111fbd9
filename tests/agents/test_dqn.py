from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from cartpole_dqn import builtin_builder
from cartpole_dqn.agents.dqn import DqnAgent, DqnOptions, ValueUnits
from cartpole_dqn.contracts.options import check_options
from cartpole_dqn.contracts.parts import Batch, Context, Transition
from cartpole_dqn.contracts.seeding import SeedTree, seeded_torch
from cartpole_dqn.errors import ConfigError, RunError, UserError

BUILD = builtin_builder()
VECTOR = spaces.Box(-np.inf, np.inf, (3,), np.float32)
IMAGE = spaces.Box(-255, 255, (40, 80, 3), np.int16)


def make(space: spaces.Box = VECTOR, num_envs: int = 1, seed: int = 0, **table: Any) -> DqnAgent:
    options = check_options(DqnOptions, {"batch_size": 8, **table}, where="agent")
    context = Context(
        observation_space=space,
        action_space=spaces.Discrete(2),
        num_envs=num_envs,
        seeds=SeedTree(seed),
        builder=BUILD,
    )
    with seeded_torch(seed):
        return DqnAgent(options, context)


def feed(agent: DqnAgent, steps: int, *, space: spaces.Box = VECTOR, num_envs: int = 1, seed: int = 0) -> list[Any]:
    """Random transitions, an episode's end now and then; returns what `learn` told."""
    rng = np.random.default_rng(seed)

    def draw() -> np.ndarray[Any, Any]:
        if np.issubdtype(space.dtype, np.integer):
            return rng.integers(-255, 256, (num_envs, *space.shape)).astype(space.dtype)
        return rng.normal(size=(num_envs, *space.shape)).astype(np.float32)

    told, obs = [], draw()
    for _ in range(steps):
        actions = agent.act(obs)
        next_obs = draw()
        ends = rng.random(num_envs) < 0.2
        cut = rng.random(num_envs) < 0.1
        agent.observe(
            [
                Transition(obs[i], int(actions[i]), float(rng.normal()), next_obs[i], bool(ends[i]), bool(cut[i]), i)
                for i in range(num_envs)
            ]
        )
        told.append(agent.learn())
        fresh = draw()
        obs = np.where((ends | cut).reshape(-1, *[1] * len(space.shape)), fresh, next_obs)
    return told


def weights(agent: DqnAgent) -> dict[str, torch.Tensor]:
    return {k: v.clone() for part in ("online", "target") for k, v in agent.state_dict()[part].items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("alpha", [0.0, 0.9])
@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize(("clip", "clip_at"), [("none", 1.0), ("value", 0.01), ("norm", 0.05)])
def test_an_update_is_the_papers(alpha: float, double: bool, clip: str, clip_at: float) -> None:
    """One update against the formula written out, transition by transition."""
    # RMSprop's first step divides by the gradient's own size: eps keeps the rounding of small ones small.
    table = {
        "optimiser": {"name": "rmsprop", "lr": 0.01, "eps": 1e-3},
        "target_update": {"name": "hard", "every": 1000},
    }
    table |= {"target_update": {"name": "hard", "every": 1000}, "double": double, "advantage_learning": alpha}
    agent = make(clip=clip, clip_at=clip_at, gamma=0.9, learning_starts=20, **table)
    feed(agent, 19)
    online, target = copy.deepcopy(agent._online), copy.deepcopy(agent._target)
    for parameter in target.parameters():  # a target that differs, so that it matters which network is asked
        parameter.data.mul_(1.5)
        parameter.data.add_(0.05)
    agent._target.load_state_dict(target.state_dict())
    drawn = []
    sample = agent._replay.sample
    agent._replay.sample = lambda n: drawn.append(sample(n)) or drawn[-1]  # type: ignore[method-assign,func-returns-value]
    agent.break_lane(0)
    told = feed(agent, 1, seed=5)[-1]
    batch = drawn[0]

    losses, optimiser = [], torch.optim.RMSprop(online.parameters(), lr=0.01, eps=1e-3)
    for i in range(8):
        next_values = target(batch.next_obs[i : i + 1])[0].detach()
        chooser = online(batch.next_obs[i : i + 1])[0] if double else next_values
        value = next_values[chooser.argmax()]
        delta = batch.rewards[i] + batch.discounts[i] * value - online(batch.obs[i : i + 1])[0, batch.actions[i]]
        here = target(batch.obs[i : i + 1])[0].detach()
        delta = delta - alpha * (here.max() - here[batch.actions[i]])
        losses.append(0.5 * delta**2 if abs(delta) <= 1 else abs(delta) - 0.5)
    loss = torch.stack(losses).mean()
    loss.backward()
    if clip == "value":
        torch.nn.utils.clip_grad_value_(online.parameters(), clip_at)
    elif clip == "norm":
        torch.nn.utils.clip_grad_norm_(online.parameters(), clip_at)
    optimiser.step()
    assert told["loss"] == pytest.approx(loss.item(), rel=1e-5)
    for mine, reference in zip(agent._online.parameters(), online.parameters(), strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-4, atol=1e-6)


def test_cadence() -> None:
    agent = make(train_every=4, updates=3, learning_starts=10)
    feed(agent, 60)
    # The first 9 steps keep too little; then every fourth step makes three updates.
    assert agent.status()["updates"] == 3 * ((60 - 9) // 4)


def test_several_lanes_learn_as_often_per_step() -> None:
    agent = make(num_envs=4, train_every=2, learning_starts=8)
    feed(agent, 50, num_envs=4)
    assert agent.status()["updates"] == (50 - 1) * 2


@pytest.mark.parametrize(
    ("space", "network"), [(VECTOR, {"name": "mlp", "hidden": [16]}), (IMAGE, {"name": "tutorial-conv"})]
)
def test_same_seed_same_bits_and_other_seed_others(space: spaces.Box, network: dict[str, Any]) -> None:
    made = [make(space, seed=seed, network=network) for seed in (3, 3, 4)]
    for agent in made:
        feed(agent, 14, space=space)
    assert same(weights(made[0]), weights(made[1]))
    assert not same(weights(made[0]), weights(made[2]))


def test_a_restored_agent_goes_on_with_the_same_bits() -> None:
    agent = make(num_envs=2, train_every=3, n_step=3)
    feed(agent, 25, num_envs=2)
    state, replay = copy.deepcopy(agent.state_dict()), copy.deepcopy(agent.replay_state_dict())
    for env in range(2):
        agent.break_lane(env)
    expected = feed(agent, 20, num_envs=2, seed=9)
    other = make(num_envs=2, train_every=3, n_step=3, seed=77)
    other.load_state_dict(state)
    other.load_replay_state_dict(replay)
    for env in range(2):
        other.break_lane(env)
    assert feed(other, 20, num_envs=2, seed=9) == expected
    assert same(weights(agent), weights(other))


def test_taking_the_state_changes_nothing() -> None:
    agents = [make(), make()]
    for agent in agents:
        feed(agent, 15)
    agents[0].state_dict()
    agents[0].replay_state_dict()
    agents[0].policy().act(np.zeros((5, 3), np.float32))
    for agent in agents:
        agent.break_lane(0)
        feed(agent, 15, seed=2)
    assert same(weights(agents[0]), weights(agents[1]))


@pytest.mark.parametrize(
    "update",
    [{"name": "hard", "every": 5}, {"name": "hard", "every": 1, "unit": "episodes"}, {"name": "soft", "tau": 0.5}],
)
def test_batchnorm_statistics_reach_the_target(update: dict[str, Any]) -> None:
    agent = make(IMAGE, network={"name": "tutorial-conv"}, target_update=update)
    before = agent._target.state_dict()
    running = [name for name in before if "running" in name]
    assert running
    old = {name: before[name].clone() for name in running}
    feed(agent, 30, space=IMAGE)
    for name in running:
        assert not torch.equal(agent._target.state_dict()[name], old[name])
    assert not agent._target.training
    assert agent._online.training


def test_the_policy_is_a_copy_of_the_chosen_weights() -> None:
    obs = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    for which in ("online", "target"):
        agent = make(policy=which, target_update={"name": "hard", "every": 1000})
        feed(agent, 30)
        network = agent._online if which == "online" else agent._target
        policy = agent.policy()
        expected = network(torch.from_numpy(obs)).argmax(1).numpy()
        assert np.array_equal(policy.act(obs), expected)
        values = policy.q_values(obs)
        feed_more = make(seed=5)
        feed(feed_more, 12)
        agent.break_lane(0)
        feed(agent, 5)
        assert np.array_equal(policy.q_values(obs), values), "training went on, the copy must not"


def test_masks_are_respected() -> None:
    agent = make(exploration={"name": "linear", "start": 0.5, "end": 0.5})
    obs = np.random.default_rng(0).normal(size=(1, 3)).astype(np.float32)
    for allowed in (0, 1):
        mask = np.zeros((1, 2), dtype=np.bool_)
        mask[0, allowed] = True
        assert all(agent.act(obs, mask)[0] == allowed for _ in range(40))
        assert agent.policy().act(obs, mask)[0] == allowed


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


def test_advantage_learning_widens_the_gap_and_keeps_the_best_value() -> None:
    """Its fixed point in a bandit: the best action keeps its worth, another's shortfall grows by 1 / (1 - alpha)."""
    space = spaces.Box(0.0, 1.0, (1,), np.float32)
    obs = np.ones(1, np.float32)
    table = {"optimiser": {"name": "adam", "lr": 0.003}, "target_update": {"name": "soft", "tau": 0.05}}
    agent = make(space, advantage_learning=0.75, network={"name": "mlp", "hidden": [16]}, batch_size=32, **table)
    for step in range(3000):
        agent.observe([Transition(obs, step % 2, 1.0 - 0.2 * (step % 2), obs, True, False, 0)])
        agent.learn()
    best, other = agent.policy().q_values(obs[None])[0]
    assert best == pytest.approx(1.0, abs=0.05)
    assert best - other == pytest.approx(0.2 / (1 - 0.75), abs=0.1)


def test_a_contextual_bandit_is_solved() -> None:
    """The action that matches the sign pays: chance earns 0.5."""
    agent = make(
        learning_starts=50,
        batch_size=32,
        exploration={"name": "linear", "start": 1.0, "end": 0.05, "steps": 300},
        optimiser={"name": "adam", "lr": 3e-3},
    )
    rng = np.random.default_rng(0)
    obs = rng.normal(size=(1, 3)).astype(np.float32)
    for _ in range(800):
        action = int(agent.act(obs)[0])
        following = rng.normal(size=(1, 3)).astype(np.float32)
        agent.observe([Transition(obs[0], action, float(action == (obs[0, 0] > 0)), following[0], True, False, 0)])
        agent.learn()
        obs = following
    test = rng.normal(size=(500, 3)).astype(np.float32)
    assert np.mean(agent.policy().act(test) == (test[:, 0] > 0)) > 0.93


# Units of values ------------------------------------------------------------------------------------------------------


def test_units_leave_the_bellman_equation_as_it_is() -> None:
    units = ValueUnits.of(1.0, 0.995)
    assert (units.base, units.scale) == (pytest.approx(200), pytest.approx(20))
    generator = torch.Generator().manual_seed(0)
    output, next_output = (torch.randn(5, generator=generator) for _ in range(2))
    rewards, discounts = torch.rand(5, generator=generator), torch.tensor([0.9, 0.995, 0.0, 0.5, 0.0])
    nothing = torch.zeros(5)
    batch = Batch(nothing, nothing.long(), rewards, nothing, discounts, torch.ones(5), torch.arange(5))
    wanted = rewards + discounts * units.values(next_output) - units.values(output)
    got = units.of_batch(batch).rewards + discounts * next_output - output
    assert torch.allclose(got * units.scale, wanted, atol=1e-3)


def test_values_are_shown_as_returns_and_weights_of_other_units_are_refused() -> None:
    made = make(largest_reward=1.0, gamma=0.9)
    values = made.policy().q_values(np.zeros((1, 3), np.float32))
    assert values is not None
    assert np.abs(values - 10).max() < 5, "near 10, the return of a reward of 1 at each step"
    with pytest.raises(UserError, match=r"values as 10 \+ 1 times their output, this run as 0 \+ 1 times"):
        make(gamma=0.9).start_from(made.policy().state_dict())
    with pytest.raises(ConfigError, match=r"largest_reward is 1, which needs agent.gamma below 1"):
        make(largest_reward=1.0, gamma=1.0)
