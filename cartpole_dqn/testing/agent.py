"""The contract of `Agent` and its `Policy`: act, observe, learn."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cartpole_dqn.contracts.parts import Agent, Build, Obs, Policy, State
from cartpole_dqn.contracts.seeding import SeedTree
from cartpole_dqn.testing._contract import Contract, Subject
from cartpole_dqn.testing._course import OPTIONS, SEEDED, Course, assert_figures, assert_undisturbed
from cartpole_dqn.testing._games import Endings, Game, Matching, Moment, observations, play
from cartpole_dqn.testing._spaces import context, devices
from cartpole_dqn.testing._state import assert_kind, assert_same, difference, snapshot

LANES = 2
PATIENCE = 4000
"""Steps of each lane until an agent must have learned for the first time."""
BUDGET = 5000
"""Steps of each lane in which an agent must learn a tiny game."""


class Playing(Course):
    """An agent in a game."""

    part: Agent

    def __init__(self, part: Subject, rules: type[Game] = Matching, *, seed: int = 0, device: str = "cpu") -> None:
        self.game = rules(LANES)
        self.part = part.build(
            context(rules.SPACE, actions=rules.actions, num_envs=LANES, seed=seed, device=device, builder=part.beside)
        )

    def warm(self) -> list[Moment]:
        """Play until the agent has learned about twenty times."""
        course: list[Moment] = []
        for _ in range(PATIENCE):
            course += self.go(1)
            if course[-1].metrics is not None:
                return course + self.go(20)
        raise AssertionError(f"learn() returned None for {PATIENCE} steps of {LANES} lanes: it never learned.")

    def plan(self) -> tuple[int, Iterable[int]]:
        steps = len(self.warm())
        return steps, (4, steps)

    def go(self, steps: int) -> list[Moment]:
        return play(self.part, self.game, steps)

    def state(self) -> tuple[State, State]:
        return self.part.state_dict(), self.part.replay_state_dict()

    def take_over(self, state: tuple[State, State], other: Playing) -> None:
        self.part.load_state_dict(state[0])
        self.part.load_replay_state_dict(state[1])
        self.game = copy.deepcopy(other.game)


AGENT = Contract("agent", Playing, OPTIONS)


def check_agent(cls: Callable[..., Agent], builder: Build | None = None, /, **options: object) -> None:
    """Run every check of an agent and its policy.

    The kit plays tiny games in two lanes; observations are two float32 numbers. The agent must begin to learn within
    4000 steps of each lane, and play well within 5000: give options that make it quick.

    Args:
        cls: built as `cls(options, context)`.
        builder: builds the agent's parts, for example `cartpole_dqn.builtin_builder()`; None if it has none.
        **options: values of `cls.Options`.
    """
    AGENT.hold(cls, builder, **options)


@AGENT.check
def check_actions(part: Subject) -> None:
    """`act` returns int64 [N], from 0 to A - 1, before and after learning, and does not change observations."""
    course = Playing(part)
    agent, game = course.part, course.game
    for _ in range(2):
        for _ in range(20):
            obs = game.obs
            before = obs.copy()
            actions = agent.act(obs)
            _assert_actions(actions, LANES, "act")
            assert np.array_equal(obs, before), "act changed the observations that it was given."
            agent.observe(game.step(actions))
            agent.learn()
        course.warm()


@AGENT.check
def check_masks(part: Subject) -> None:
    """Neither the agent nor its policy takes an action that the mask forbids."""
    course = Playing(part)
    agent, game = course.part, course.game
    random = SeedTree(0).numpy("masks")
    for _ in range(150):
        mask = _random_mask(random, LANES)
        actions = agent.act(game.obs, mask.copy())
        assert mask[np.arange(LANES), actions].all(), "act took an action that the mask forbids."
        agent.observe(game.step(actions))
        agent.learn()
    policy = _policy(agent, 6)
    for _ in range(20):
        mask = _random_mask(random, 6)
        actions = policy.act(_probes(6), mask.copy())
        assert mask[np.arange(6), actions].all(), "the policy took an action that the mask forbids."


@AGENT.check
def check_figures(part: Subject) -> None:
    """`learn` returns None or finite floats by name, `status` floats and strings, `nbytes` a constant integer."""
    course = Playing(part)
    agent = course.part
    nbytes = agent.nbytes
    fits = type(nbytes) is int and nbytes >= 0
    assert fits, f"nbytes is {nbytes!r}: expected an integer of 0 or more."
    for moment in course.warm():
        for name, value in (moment.metrics or {}).items():
            fits = isinstance(value, float) and math.isfinite(value)
            assert fits, f"learn() returned {name!r}: {value!r}, which is no finite float."
    status = agent.status()
    assert isinstance(status, Mapping), f"status() returned a {type(status).__name__}: expected a mapping."
    assert_figures("status()", status)
    assert agent.nbytes == nbytes, f"nbytes was {nbytes} when new, and became {agent.nbytes}."


@AGENT.check
def check_steps_before_learning(part: Subject) -> None:
    """`steps_before_learning` is an integer of 0 or more, and `learn` returns no metrics before as many steps."""
    course = Playing(part)
    first = course.part.steps_before_learning()
    fits = type(first) is int and first >= 0
    assert fits, f"steps_before_learning is {first!r}: expected an integer of 0 or more."
    steps_taken = LANES * next(i for i, moment in enumerate(course.warm(), start=1) if moment.metrics is not None)
    assert steps_taken >= first, f"steps_before_learning is {first}, and it learned after {steps_taken} steps."


@AGENT.check
def check_learning(part: Subject) -> None:
    """It learns which of three actions is right in each of two states."""
    _assert_solves(part, Matching)


@AGENT.check
def check_learning_at_ends(part: Subject) -> None:
    """It learns to bootstrap at a truncated step, and not at a terminated one."""
    _assert_solves(part, Endings)


@AGENT.check
def check_devices(part: Subject) -> None:
    """It runs on the CPU, and on CUDA if present; its actions are NumPy arrays on both."""
    for device in devices():
        course = Playing(part, device=device)
        course.warm()
        _assert_actions(course.part.act(course.game.obs), LANES, f"act on {device}")
        _assert_actions(_policy(course.part, LANES).act(course.game.obs), LANES, f"a policy's act on {device}")


@AGENT.check
def check_broken_lanes(part: Subject) -> None:
    """After `break_lane` it continues with a new episode in that lane."""
    course = Playing(part)
    course.warm()
    for env in range(LANES):
        course.go(1)
        course.part.break_lane(env)
        course.game.restart(env)
    course.go(30)


# The policy -----------------------------------------------------------------------------------------------------------


@AGENT.check
def check_policy(part: Subject) -> None:
    """A policy returns int64 [N] for any N, equal for equal observations, and values [N, A] float32 or None."""
    course = Playing(part)
    course.warm()
    for lanes in (1, 7):
        first, again = (_policy(course.part, lanes).act(_probes(lanes)) for _ in range(2))
        _assert_actions(first, lanes, "a policy's act")
        assert np.array_equal(first, again), "two policies made at once act differently: a policy is greedy."
        values = _policy(course.part, lanes).q_values(_probes(lanes))
        if values is not None:
            assert_kind(values, f"float32 [{lanes}, {Matching.actions}]", "a policy's q_values")


@AGENT.check
def check_policy_module(part: Subject) -> None:
    """If the policy has a `module`, the actions are those of its highest values, and it is a copy."""
    course = Playing(part)
    module = _policy(course.part, 4).module()
    if module is None:
        return
    probes = torch.from_numpy(_probes(4))
    before = module(probes).detach()
    course.warm()
    assert torch.equal(module(probes), before), "a module changed while the agent learned."
    policy = _policy(course.part, 4)
    later = policy.module()
    assert later is not None, "a policy has a module, and a later one has none."
    values = later(probes).detach()
    assert_kind(values, f"torch.float32 [4, {Matching.actions}] on cpu", "a policy's module")
    actions, best = policy.act(_probes(4)).tolist(), values.argmax(1).tolist()
    assert actions == best, f"a policy takes {actions}, but the highest values of its module are those of {best}."


@AGENT.check
def check_policy_disturbs_nothing(part: Subject) -> None:
    """Making and using policies changes neither the agent nor what it does next."""

    def use(course: Playing) -> None:
        policy = _policy(course.part, 3)
        for _ in range(3):
            policy.act(_probes(3))
            policy.q_values(_probes(3))

    assert_undisturbed(part, use, "an agent whose policy acted")


@AGENT.check
def check_policy_is_a_copy(part: Subject) -> None:
    """A policy keeps the weights of the moment it was made; another policy can load its state."""
    course = Playing(part)
    policy = _policy(course.part, 4)
    before, values = snapshot(policy.state_dict()), _values(policy)
    course.warm()
    course.go(50)
    later = snapshot(policy.state_dict()), _values(policy)
    assert_same((before, values), later, "a policy changed while the agent learned", hint=" Give it copies.")
    other = _policy(course.part, 4)
    assert difference(before, snapshot(other.state_dict())), "a policy made after learning equals one made before."
    policy.load_state_dict(snapshot(other.state_dict()))
    policy.reset(np.ones(4, dtype=np.bool_))
    assert_same(_values(policy), _values(other), "a policy that loaded another's state differs from it")


# Randomness and state -------------------------------------------------------------------------------------------------


@AGENT.check
def check_resuming_without_replay(part: Subject) -> None:
    """An agent that loads a state without the stored transitions acts the same, then collects and learns again.

    The rest is in its state, with the small state of replays: two agents that load it continue equally.
    """
    course = Playing(part)
    course.warm()
    state, values = snapshot(course.part.state_dict()), _values(_policy(course.part, 4))
    results = []
    for seed in (1, 2):
        resumed = Playing(part, seed=seed)
        resumed.part.load_state_dict(snapshot(state))
        resumed_values = _values(_policy(resumed.part, 4))
        assert_same(values, resumed_values, "without its replay, a resumed agent's policy differs")
        resumed.game = copy.deepcopy(course.game)
        results.append(resumed.warm())
    problem = "two agents that loaded one state without a replay continued differently"
    hint = " Save the replay's small_state_dict with the agent's state."
    assert_same(results[0], results[1], problem, "actions and metrics", hint=hint)


AGENT.share(SEEDED)


def _assert_actions(actions: NDArray[np.int64], lanes: int, who: str) -> None:
    assert_kind(actions, f"int64 [{lanes}]", who)
    in_range = ((actions >= 0) & (actions < Matching.actions)).all()
    assert in_range, f"{who} among {Matching.actions} actions gave {actions.tolist()}."


def _assert_solves(part: Subject, rules: type[Game]) -> None:
    course = Playing(part, rules)
    right = 0
    for _ in range(BUDGET // 50):
        course.go(50)
        actions = tuple(_policy(course.part, 2).act(_probes(2)).tolist())
        right = right + 1 if actions == rules.solution else 0
        if right == 3:
            return
    raise AssertionError(
        f"after {BUDGET} steps of {LANES} lanes its policy takes {list(actions)} in the two states: expected "
        f"{list(rules.solution)}."
    )


def _policy(agent: Agent, lanes: int) -> Policy:
    policy = agent.policy()
    policy.reset(np.ones(lanes, dtype=np.bool_))
    return policy


def _probes(lanes: int) -> Obs:
    return observations([i % 2 for i in range(lanes)])


def _values(policy: Policy) -> list[Any]:
    return [policy.act(_probes(4)), policy.q_values(_probes(4))]


def _random_mask(random: np.random.Generator, lanes: int) -> NDArray[np.bool_]:
    mask = random.random((lanes, Matching.actions)) < 0.4
    mask[np.arange(lanes), random.integers(Matching.actions, size=lanes)] = True
    return mask
