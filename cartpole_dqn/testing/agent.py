"""The contract of `Agent` and its `Policy`: act, observe, learn.

* `check_agent`: every check of the kind.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cartpole_dqn.contracts.parts import Agent, Build, Context, Obs, Policy, State
from cartpole_dqn.contracts.seeding import SeedTree
from cartpole_dqn.testing._contract import Contract
from cartpole_dqn.testing._course import SEEDED, Course, Lasting
from cartpole_dqn.testing._games import Endings, Game, Matching, Moment, observations, play
from cartpole_dqn.testing._options import SHARED
from cartpole_dqn.testing._spaces import context, devices
from cartpole_dqn.testing._state import difference, snapshot

LANES = 2
PATIENCE = 4000
"""Steps of each lane until an agent must have learned for the first time."""
BUDGET = 5000
"""Steps of each lane in which an agent must have learned a tiny game."""


class AgentSubject(Lasting[Agent]):
    """An agent class, and what its contexts build parts with."""

    def __init__(self, cls: Callable[..., Agent], builder: Build | None = None, /, **options: Any) -> None:
        super().__init__(cls, **options)
        self.builder = builder

    def make(self, game: type[Game] = Matching, *, seed: int = 0, device: str = "cpu") -> Agent:
        """Return a new agent for a game."""
        return self.build(self.surroundings(game, seed=seed, device=device))

    def surroundings(self, game: type[Game], *, seed: int = 0, device: str = "cpu") -> Context:
        """Return an agent's context."""
        return context(game.SPACE, actions=game.actions, num_envs=LANES, seed=seed, device=device, builder=self.builder)

    @functools.cached_property
    def steps(self) -> int:  # type: ignore[override]
        """See `Lasting`: until it has learned some twenty times."""
        return len(warm(self.make(), Matching(LANES)))

    @property
    def saved_after(self) -> tuple[int, ...]:  # type: ignore[override]
        """See `Lasting`."""
        return (4, self.steps)

    def course(self, seed: int = 0) -> Playing:
        """See `Lasting`."""
        return Playing(self.make(seed=seed))


class Playing(Course):
    """An agent at play."""

    def __init__(self, agent: Agent) -> None:
        self.agent, self.game = agent, Matching(LANES)

    def go(self, steps: int) -> dict[str, Any]:
        """See `Course`."""
        return {"actions and metrics": play(self.agent, self.game, steps)}

    def state(self) -> tuple[State, State]:
        """See `Course`."""
        return self.agent.state_dict(), self.agent.replay_state_dict()

    def take_over(self, state: tuple[State, State], other: Playing) -> None:
        """See `Course`."""
        self.agent.load_state_dict(state[0])
        self.agent.load_replay_state_dict(state[1])
        self.game = copy.deepcopy(other.game)


AGENT: Contract[AgentSubject] = Contract("agent", AgentSubject, SHARED)


def check_agent(cls: Callable[..., Agent], builder: Build | None = None, /, **options: object) -> None:
    """Hold an agent and its policy to their contracts.

    The kit plays tiny games with observations of two float32 numbers in two lanes; the agent must begin to learn within
    4000 steps of each, and play well within 5000: give options that make it quick.

    Args:
        cls: built as `cls(options, context)`.
        builder: builds the agent's parts, `cartpole_dqn.builtin_builder()` for instance; None where it has none.
        **options: values of `cls.Options`.
    """
    AGENT.hold(cls, builder, **options)


def warm(agent: Agent, game: Game) -> list[Moment]:
    """Play until the agent has learned some twenty times."""
    course: list[Moment] = []
    for _ in range(PATIENCE):
        course += play(agent, game, 1)
        if course[-1].metrics is not None:
            return course + play(agent, game, 20)
    raise AssertionError(f"learn() returned None for {PATIENCE} steps of {LANES} lanes: it never learned.")


@AGENT.check
def check_actions(part: AgentSubject) -> None:
    """`act` gives int64 [N], each from 0 to A - 1, before and after learning, and leaves observations alone."""
    agent, game = part.make(), Matching(LANES)
    for _ in range(2):
        for _ in range(20):
            obs = game.obs.copy()
            actions = agent.act(obs)
            _assert_actions(actions, LANES, Matching.actions, "act")
            assert np.array_equal(obs, game.obs), "act changed the observations that it was given."
            agent.observe(game.step(actions))
            agent.learn()
        warm(agent, game)


@AGENT.check
def check_masks(part: AgentSubject) -> None:
    """Neither the agent nor its policy takes an action that the mask forbids."""
    agent, game = part.make(), Matching(LANES)
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
def check_figures(part: AgentSubject) -> None:
    """`learn` returns None or finite floats by name, `status` floats and texts, `nbytes` an integer that stays."""
    agent, game = part.make(), Matching(LANES)
    nbytes = agent.nbytes
    assert type(nbytes) is int, f"nbytes is {nbytes!r}: expected an integer."
    assert nbytes >= 0, f"nbytes is {nbytes!r}: expected an integer of 0 or more."
    for moment in warm(agent, game):
        for name, value in (moment.metrics or {}).items():
            fits = isinstance(value, float) and math.isfinite(value)
            assert fits, f"learn() returned {name!r}: {value!r}, which is no finite float."
    status = agent.status()
    assert isinstance(status, Mapping), f"status() returned a {type(status).__name__}: expected a mapping."
    for key, figure in status.items():
        fits = isinstance(key, str) and isinstance(figure, int | float | str)
        assert fits, f"status() says {key!r}: {figure!r}: expected names with numbers or texts."
    assert agent.nbytes == nbytes, f"nbytes was {nbytes} when new, and became {agent.nbytes}."


@AGENT.check
def check_learning(part: AgentSubject) -> None:
    """It learns which of three actions is right in each of two states."""
    _assert_solves(part, Matching)


@AGENT.check
def check_learning_at_ends(part: AgentSubject) -> None:
    """It learns that a truncated step is worth what would have followed, and a terminated one is not."""
    _assert_solves(part, Endings)


@AGENT.check
def check_devices(part: AgentSubject) -> None:
    """It runs on the CPU, and on CUDA where that is; what it returns is NumPy either way."""
    for device in devices():
        agent, game = part.make(device=device), Matching(LANES)
        warm(agent, game)
        _assert_actions(agent.act(game.obs), LANES, Matching.actions, f"act on {device}")
        _assert_actions(_policy(agent, LANES).act(game.obs), LANES, Matching.actions, f"a policy's act on {device}")


@AGENT.check
def check_broken_lanes(part: AgentSubject) -> None:
    """After `break_lane` it goes on with another episode in that lane."""
    agent, game = part.make(), Matching(LANES)
    warm(agent, game)
    for env in range(LANES):
        play(agent, game, 1)
        agent.break_lane(env)
        game.restart(env)
    play(agent, game, 30)


# The policy -----------------------------------------------------------------------------------------------------------


@AGENT.check
def check_policy(part: AgentSubject) -> None:
    """A policy gives int64 [N] for any N, equal for equal observations, and values [N, A] float32 or None."""
    agent = part.make()
    warm(agent, Matching(LANES))
    for lanes in (1, 7):
        obs = _probes(lanes)
        first, again = (_policy(agent, lanes).act(obs) for _ in range(2))
        _assert_actions(first, lanes, Matching.actions, "a policy's act")
        assert np.array_equal(first, again), "two policies made at once act differently: a policy is greedy."
        values = _policy(agent, lanes).q_values(obs)
        if values is not None:
            came, said = f"{values.dtype} {list(values.shape)}", f"float32 [{lanes}, {Matching.actions}]"
            assert came == said, f"a policy's q_values: expected {said}, got {came}."


@AGENT.check
def check_policy_disturbs_nothing(part: AgentSubject) -> None:
    """Making policies and acting with them leaves the agent, and whatever it does next, as it was."""
    courses, states = [], []
    for asked in (False, True):
        agent, game = part.make(), Matching(LANES)
        course = warm(agent, game)
        for _ in range(20):
            if asked:
                policy = _policy(agent, 3)
                for _ in range(3):
                    policy.act(_probes(3))
                    policy.q_values(_probes(3))
            course += play(agent, game, 1)
        courses.append(course)
        states.append(snapshot([agent.state_dict(), agent.replay_state_dict()]))
    place = difference(courses[0], courses[1], "actions and metrics") or difference(states[0], states[1], "state")
    assert not place, f"an agent whose policy acted went on unlike one whose did not: {place}."


@AGENT.check
def check_policy_is_a_copy(part: AgentSubject) -> None:
    """A policy keeps the weights of the moment that it was made in, and another can take them over."""
    agent, game = part.make(), Matching(LANES)
    policy = _policy(agent, 4)
    before, values = snapshot(policy.state_dict()), _values(policy)
    warm(agent, game)
    play(agent, game, 50)
    place = difference(before, snapshot(policy.state_dict())) or difference(values, _values(policy))
    assert not place, f"a policy changed while the agent learned: {place}. Give it copies."
    later = _policy(agent, 4)
    assert difference(before, snapshot(later.state_dict())), "a policy made after learning is as one made before."
    policy.load_state_dict(snapshot(later.state_dict()))
    policy.reset(np.ones(4, dtype=np.bool_))
    place = difference(_values(policy), _values(later))
    assert not place, f"a policy that took over another's state differs from it: {place}."


# Randomness and state -------------------------------------------------------------------------------------------------


@AGENT.check
def check_resuming_without_replay(part: AgentSubject) -> None:
    """Without what replays stored, an agent that takes over a state acts alike, collects and learns anew.

    Its state holds all the rest, the small state of replays too: two of them go on alike.
    """
    agent, game = part.make(), Matching(LANES)
    warm(agent, game)
    state, values = snapshot(agent.state_dict()), _values(_policy(agent, 4))
    results = []
    for seed in (1, 2):
        resumed = part.make(seed=seed)
        resumed.load_state_dict(snapshot(state))
        place = difference(values, _values(_policy(resumed, 4)))
        assert not place, f"without its replay, a resumed agent's policy differs: {place}."
        results.append(warm(resumed, copy.deepcopy(game)))
    place = difference(results[0], results[1], "actions and metrics")
    assert not place, (
        f"two agents that took over one state without a replay went on differently: {place}. Save the replay's "
        f"small_state_dict with the agent's state."
    )


AGENT.share(SEEDED)


def _assert_actions(actions: object, lanes: int, choices: int, who: str) -> None:
    assert isinstance(actions, np.ndarray), f"{who} gave a {type(actions).__name__}: expected a NumPy array."
    came = f"{actions.dtype} {list(actions.shape)}"
    assert came == f"int64 [{lanes}]", f"{who}: expected int64 [{lanes}], got {came}."
    assert ((actions >= 0) & (actions < choices)).all(), f"{who} among {choices} actions gave {actions.tolist()}."


def _assert_solves(part: AgentSubject, rules: type[Game]) -> None:
    agent, game = part.make(rules), rules(LANES)
    right = 0
    for _ in range(BUDGET // 50):
        play(agent, game, 50)
        policy = _policy(agent, 2)
        actions = tuple(policy.act(observations([0, 1])).tolist())
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
    """What a policy makes of four observations: its values if it has any, else its actions."""
    values = policy.q_values(_probes(4))
    return [policy.act(_probes(4)), values]


def _random_mask(random: np.random.Generator, lanes: int) -> NDArray[np.bool_]:
    mask = random.random((lanes, Matching.actions)) < 0.4
    mask[np.arange(lanes), random.integers(Matching.actions, size=lanes)] = True
    return mask
