"""What the agents store, learn and show, looked at from inside; the faults that earlier h-DQNs had among it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from cartpole_dqn_hdqn.decision_process import LEFT, RIGHT, DiscreteStochasticDecisionProcess
from cartpole_dqn_hdqn.deep import HdqnAgent
from cartpole_dqn_hdqn.tabular import TabularHdqnAgent
from cartpole_dqn_hdqn.visit_counts import VisitCountsAgent
from gymnasium import spaces

from cartpole_dqn import Agent, Context, SeedTree, Transition, UserError, builtin_builder, check_options

NETWORK = {"name": "mlp", "hidden": [16]}
RANDOM = {"name": "linear", "start": 1.0, "end": 1.0}
STATES = 6
ROWS = np.eye(STATES, dtype=np.float32)
OPTIONS: dict[str, Any] = {
    "controller_network": NETWORK,
    "meta_network": NETWORK,
    "controller_exploration": RANDOM,
    "meta_exploration": RANDOM,
    "controller_batch_size": 8,
    "meta_batch_size": 8,
}


def make(cls: Any = HdqnAgent, lanes: int = 1, space: spaces.Box | None = None, **options: Any) -> Any:
    where = Context(
        observation_space=space or spaces.Box(0.0, 1.0, (STATES,), np.float32),
        action_space=spaces.Discrete(2),
        num_envs=lanes,
        seeds=SeedTree(0),
        builder=builtin_builder(),
    )
    known = OPTIONS if cls is HdqnAgent else {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return cls(check_options(cls.Options, {**known, **options}, where="agent"), where)


def play(agent: Agent, steps: int, seed: int = 0) -> list[Transition]:
    """Let an agent play on its own in one lane and return what happened."""
    env, story = DiscreteStochasticDecisionProcess(), []
    obs, _ = env.reset(seed=seed)
    for _ in range(steps):
        action = int(agent.act(obs[None])[0])
        next_obs, reward, terminated, truncated, _ = env.step(action)
        story.append(Transition(obs, action, reward, next_obs, terminated, truncated, 0))
        agent.observe(story[-1:])
        agent.learn()
        obs = env.reset()[0] if terminated else next_obs
    return story


def stored(agent: Any, level: str) -> list[tuple[Any, ...]]:
    """What a level's replay holds, in its order: (obs, choice, reward, discount)."""
    ring = agent.replay_state_dict()[level]["ring"]["arrays"]
    kept = ring["stamps"][0] >= 0
    columns = (ring[name][0][kept] for name in ("obs", "actions", "rewards", "discounts"))
    return [(obs, int(a), float(r), float(d)) for obs, a, r, d in zip(*columns, strict=True)]


# What is stored -------------------------------------------------------------------------------------------------------


def test_the_controllers_task_ends_where_its_goal_is_reached() -> None:
    agent = make(train_every=1000)
    play(agent, 400)
    rewards = [(reward, discount) for _, _, reward, discount in stored(agent, "controller")]
    assert len(rewards) == 400
    assert {r for r, _ in rewards} == {0.0, 1.0}
    # Nothing follows a goal that was reached, whether the episode goes on or not; else something does.
    assert all(discount == 0.0 for reward, discount in rewards if reward == 1.0)
    assert any(discount == pytest.approx(0.95) for reward, discount in rewards if reward == 0.0)


def test_the_meta_controller_is_told_the_goal_its_start_and_the_sum() -> None:
    agent = make(train_every=1000)
    story = play(agent, 600)
    expected = []
    goals: list[int] = []
    # The goals are in the controller's observations; where they were set and what they brought follows from the story.
    inner = stored(agent, "controller")
    for (obs, *_), step in zip(inner, story, strict=True):
        goals.append(int(obs[:STATES].argmax()))
        assert (obs[STATES:] == step.obs).all()
    start, total = 0, 0.0
    for i, step in enumerate(story):
        assert goals[i] == goals[start]
        total += step.reward
        if int(step.next_obs.argmax()) == goals[i] or step.terminated:
            expected.append(
                (int(story[start].obs.argmax()), goals[i], pytest.approx(total), 0.0 if step.terminated else 1)
            )
            start, total = i + 1, 0.0
    transitions = [(int(obs.argmax()), goal, reward, float(d > 0)) for obs, goal, reward, d in stored(agent, "meta")]
    assert transitions == expected
    assert len({start for start, *_ in transitions}) > 2
    assert len({goal for _, goal, *_ in transitions}) == STATES
    assert any(goal > 1 for _, goal, *_ in transitions)  # no action is called that


def test_a_goal_that_holds_already_is_not_set() -> None:
    agent = make(train_every=1000)
    play(agent, 600)
    assert all(int(obs.argmax()) != goal for obs, goal, *_ in stored(agent, "meta"))


# How it is learned ----------------------------------------------------------------------------------------------------


def test_updates_learn_from_batches() -> None:
    agent = make(controller_batch_size=32, meta_batch_size=16)
    seen: dict[str, list[int]] = {"controller": [], "meta": []}
    for name in seen:
        level = getattr(agent, f"_{name}")
        level.network.register_forward_hook(lambda m, args, out, name=name: seen[name].append(len(args[0])))
    play(agent, 200)
    assert 32 in seen["controller"]
    assert 16 in seen["meta"]
    assert agent.status()["updates"] == 200 - 31


def test_no_gradient_flows_into_what_is_learned_from() -> None:
    """A step moves the weights as the loss against fixed numbers does."""
    agent = make(controller_batch_size=16)
    play(agent, 15)
    level = agent._controller
    before_update = copy.deepcopy(level.replay.state_dict())
    weights = {name: value.clone() for name, value in level.network.state_dict().items()}
    targets = {name: value.clone() for name, value in level.target.state_dict().items()}
    agent.act(ROWS[[1]])
    agent.observe([Transition(ROWS[1], RIGHT, 0.0, ROWS[2], False, False, 0)])
    agent.learn()
    after = {name: value.clone() for name, value in level.network.state_dict().items()}

    stored_now = copy.deepcopy(level.replay.state_dict())
    level.replay.load_state_dict({**stored_now, "generator": before_update["generator"]})
    batch = level.replay.sample(16)
    level.network.load_state_dict(weights)
    level.target.load_state_dict(targets)
    with torch.no_grad():
        fixed = batch.rewards + batch.discounts * level.target(batch.next_obs).max(1).values
    chosen = level.network(batch.obs).gather(1, batch.actions[:, None])[:, 0]
    loss = torch.nn.functional.smooth_l1_loss(chosen, fixed)
    by_hand = torch.autograd.grad(loss, list(level.network.parameters()))
    # RMSprop's first step: lr * g / (sqrt(0.01 g^2) + eps).
    for (name, before), gradient in zip(weights.items(), by_hand, strict=True):
        expected = before - 2.5e-4 * gradient / (0.1 * gradient.abs() + 1e-8)
        assert torch.allclose(after[name], expected, atol=1e-7), name


def test_goals_that_could_not_be_set_are_not_looked_ahead_to() -> None:
    """The value of a goal that holds already is never learned: it must not stand for what follows."""
    agent = make(cls=HdqnAgent, meta_gamma=1.0)
    level = agent._meta
    with torch.no_grad():
        for parameter in level.target.parameters():
            parameter.zero_()
        level.target.layers[-1].bias.copy_(torch.tensor([0.0, 9.0, 1.0, 0.0, 0.0, 0.0]))
    for _ in range(8):
        level.replay.add(Transition(ROWS[3], 1, 0.5, ROWS[1], False, True, 0))
    _, actions = level._look_ahead(level.replay.sample(8))
    assert actions.tolist() == [2] * 8  # goal s2 would be worth 9, but s2 is where it is


def test_masks_of_actions_reach_both_levels() -> None:
    agent = make(goals={"name": "actions"})
    mask = np.array([[True, False]])
    for _ in range(30):
        assert agent.act(ROWS[[1]], mask).tolist() == [0]
        agent.observe([Transition(ROWS[1], 0, 1.0, ROWS[1], False, False, 0, mask[0])])
        agent.learn()
    for level in (agent._controller, agent._meta):
        assert level.replay.sample(4).next_mask.tolist() == [[True, False]] * 4


# How it plays ---------------------------------------------------------------------------------------------------------


def test_a_policy_pursues_goals_of_its_own() -> None:
    """The detour and back, in two lanes: at s3, right on the way to s6 and left on the way home."""
    falling = {"name": "linear", "start": 1.0, "end": 0.1, "steps": 1500}
    agent = make(
        TabularHdqnAgent, controller_exploration=falling, meta_exploration={**falling, "steps": 6000}, decay=0.5
    )
    play(agent, 9_000)
    policy = agent.policy()
    policy.reset(np.ones(2, dtype=np.bool_))
    policy.act(ROWS[[1, 5]])  # the second lane has s6, and sets out for s1
    assert policy.goals_at(ROWS[[2, 4]]).tolist()[1] == 0
    policy.act(ROWS[[2, 4]])
    policy.act(ROWS[[2, 3]])
    assert policy.act(ROWS[[2, 2]]).tolist() == [RIGHT, LEFT]
    policy.reset(np.array([False, True]))  # another episode begins there
    assert policy.act(ROWS[[2, 2]]).tolist() == [RIGHT, RIGHT]
    # Another number of lanes is another beginning.
    assert policy.act(ROWS[[2]]).tolist() == [RIGHT]


# What is shown --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [HdqnAgent, TabularHdqnAgent])
def test_each_goal_has_an_epsilon_of_its_own(cls: Any) -> None:
    falling = {"name": "linear", "start": 1.0, "end": 0.0, "steps": 200}
    agent = make(cls, controller_exploration=falling, meta_exploration={**falling, "steps": 1000})
    under = [0] * STATES
    for i, _ in enumerate(range(150), start=1):
        play_one(agent)
        status = agent.status()
        goal = int(str(status["goal"])[1:]) - 1
        under[goal] += 1
        assert status["epsilon"] == pytest.approx(1 - under[goal] / 200)
        assert status["meta_epsilon"] == pytest.approx(1 - i / 1000)
    assert len(set(under)) > 2
    assert 0 < float(status["goals_reached"]) < 1


def play_one(agent: Agent) -> Mapping[str, float]:
    """Return what the agent learns from a step from s3 to s4 or s2, by what it does."""
    action = int(agent.act(ROWS[[2]])[0])
    agent.observe([Transition(ROWS[2], action, 0.0, ROWS[3 if action else 1], False, True, 0)])
    return agent.learn() or {}


def test_both_levels_are_among_the_figures() -> None:
    agent = make()
    play(agent, 99)
    figures = play_one(agent)
    assert set(figures) == {"loss", "q_mean", "meta_loss", "meta_q_mean"}
    assert {"goal", "goals_reached", "epsilon", "meta_epsilon", "lr", "meta_lr", "updates", "meta_updates"} < set(
        agent.status()
    )


def test_visits_are_counted() -> None:
    agent = make(VisitCountsAgent, agent={"name": "dqn", "network": NETWORK, "batch_size": 8})
    story = play(agent, 200)
    status = agent.status()
    counts = np.bincount([int(step.next_obs.argmax()) for step in story], minlength=STATES)
    assert [status[f"visits s{i + 1}"] for i in range(STATES)] == counts.tolist()
    assert "epsilon" in status
    twin = make(VisitCountsAgent, agent={"name": "dqn", "network": NETWORK, "batch_size": 8})
    twin.load_state_dict(agent.state_dict())
    assert twin.status() == {**status, "replay_size": 0}


def test_a_full_replay_is_enough_for_either_level() -> None:
    small = {"name": "uniform", "capacity": 20}
    agent = make(controller_replay=small, meta_replay=small, learning_starts=20)
    assert agent.steps_before_learning() == 20
    play(agent, 200)
    status = agent.status()
    assert max(status["replay_size"], status["meta_replay_size"]) < 20, "ends of episodes take slots"
    assert min(status["updates"], status["meta_updates"]) > 0


# What is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["controller", "meta"])
def test_a_level_that_could_never_learn_is_refused(level: str) -> None:
    options = {f"{level}_replay": {"name": "uniform", "capacity": 20}, "learning_starts": 30}
    counting = make(VisitCountsAgent, agent={"name": "dqn", "network": NETWORK, "batch_size": 60_000})
    for agent, number in ((make(**options), "30"), (counting, "60,000")):
        with pytest.raises(UserError, match=f"first update needs {number} transitions, .* has room for"):
            agent.steps_before_learning()


def test_pictures_are_refused() -> None:
    image = spaces.Box(0, 255, (4, 4, 1), np.uint8)
    with pytest.raises(UserError, match="must be a vector"):
        make(space=image, goals={"name": "actions"})
    with pytest.raises(UserError, match="needs vectors"):
        make(VisitCountsAgent, space=image, agent={"name": "dqn"})


def test_a_state_of_other_goals_is_refused() -> None:
    agent = make(goals={"name": "states", "states": [0, 5]})
    with pytest.raises(ValueError, match="of 6 goals, and here are 2"):
        agent.load_state_dict(make().state_dict())


def test_integer_observations_are_read_as_networks_read_them() -> None:
    agent = make(space=spaces.Box(0, 10, (3,), np.int64), goals={"name": "actions"})
    obs = np.array([[0, 5, 10]])
    joined = agent._joint.join(obs, np.array([1]))
    assert joined.tolist() == [[0.0, 1.0, 0.0, 0.5, 1.0]]
    assert joined[0] in agent._joint.box
