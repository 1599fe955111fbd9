"""The agent checks: a right agent passes them all, and each way to be wrong is named by its check."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from broken import after, broken, name_all
from cartpole_dqn.contracts.options import Part, options_class, part
from cartpole_dqn.contracts.parts import Agent, Context, Obs, Policy, State, Transition
from cartpole_dqn.contracts.seeding import generator_state, restore_generator
from cartpole_dqn.testing import check_agent, run_checks


class PlainAgent(Agent):
    """Q-learning in a table of two states, from the last 200 transitions."""

    learn_from, rate, epsilon = 16, 0.2, 0.3

    def __init__(self, options: Any, context: Context) -> None:
        self.context = context
        self.actions = int(context.action_space.n)
        self.table = np.zeros((2, self.actions), np.float32)
        self.memory = np.zeros((200, 6), np.float64)  # state, action, reward, next state, terminated, truncated
        self.kept = 0
        self.updates = 0
        self.generator = context.seeds.numpy("agent")

    def act(self, obs: Obs, mask: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        chosen = best(self.table[states(obs)], mask)
        allowed = np.ones((len(obs), self.actions), np.bool_) if mask is None else mask
        coins, choices = self.generator.random((2, len(obs)))
        for env in np.flatnonzero(coins < self.epsilon):
            chosen[env] = np.flatnonzero(allowed[env])[int(choices[env] * allowed[env].sum())]
        return chosen

    def observe(self, transitions: Sequence[Transition]) -> None:
        for t in transitions:
            begin, end = states(np.stack([t.obs, t.next_obs]))
            self.memory[self.kept % 200] = begin, t.action, t.reward, end, t.terminated, t.truncated
            self.kept += 1

    def learn(self) -> Mapping[str, float] | None:
        if self.kept < self.learn_from:
            return None
        losses = []
        for row in self.generator.integers(min(self.kept, 200), size=8):
            state, action, reward, after, terminated, truncated = self.memory[row]
            goal = reward + self.share(terminated, truncated) * self.table[int(after)].max()
            error = goal - self.table[int(state), self.learned(int(action))]
            self.table[int(state), self.learned(int(action))] += self.rate * error
            losses.append(float(error) ** 2)
        self.updates += 1
        return {"loss": sum(losses) / 8}

    def steps_before_learning(self) -> int:
        return self.learn_from

    def share(self, terminated: float, truncated: float) -> float:
        return 0.0 if terminated else self.context.gamma

    def learned(self, action: int) -> int:
        return action

    def policy(self) -> Policy:
        return PlainPolicy(self.table.copy())

    def status(self) -> Mapping[str, float | str]:
        return {"epsilon": self.epsilon, "updates": self.updates, "mood": "eager"}

    @property
    def nbytes(self) -> int:
        return self.memory.nbytes

    def state_dict(self) -> State:
        return {"table": self.table, "generator": generator_state(self.generator), "updates": self.updates}

    def load_state_dict(self, state: State) -> None:
        self.table[...] = state["table"]
        self.updates = state["updates"]
        restore_generator(self.generator, state["generator"])

    def replay_state_dict(self) -> State:
        return {"memory": self.memory, "kept": self.kept}

    def load_replay_state_dict(self, state: State) -> None:
        self.memory[...] = state["memory"]
        self.kept = state["kept"]


class PlainPolicy(Policy):
    def __init__(self, table: NDArray[np.float32]) -> None:
        self.table = table

    def act(self, obs: Obs, mask: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        return best(self.table[states(obs)], mask)

    def q_values(self, obs: Obs) -> NDArray[np.float32] | None:
        return np.asarray(self.table[states(obs)])

    def state_dict(self) -> State:
        return {"table": self.table}

    def load_state_dict(self, state: State) -> None:
        self.table[...] = state["table"]


class Values(torch.nn.Module):
    def __init__(self, table: NDArray[np.float32]) -> None:
        super().__init__()
        self.table = torch.from_numpy(table)

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        return self.table[(obs[:, 0] < 0).long()]


class WithModule(PlainPolicy):
    def module(self) -> torch.nn.Module:
        return Values(self.table)


def states(obs: Obs) -> NDArray[np.int64]:
    return (obs[:, 0] < 0).astype(np.int64)


def best(values: NDArray[np.float32], mask: NDArray[np.bool_] | None) -> NDArray[np.int64]:
    chosen: NDArray[np.int64] = (values if mask is None else np.where(mask, values, -np.inf)).argmax(1)
    return chosen


# Broken ones: each in one way -----------------------------------------------------------------------------------------


class SpoilsObservations(PlainAgent):
    def act(self, obs: Obs, mask: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        chosen = super().act(obs, mask)
        obs *= 2
        return chosen


ShortActions = after(PlainAgent, "act", lambda actions: actions.astype(np.int32))
OneActionTooMany = after(PlainAgent, "act", lambda actions: actions + 1)
IgnoresTheMask = broken(PlainAgent, act=lambda self, obs, mask=None: PlainAgent.act(self, obs))
InfiniteLoss = after(PlainAgent, "learn", lambda figures: figures and {"loss": math.inf})
StatusOfArrays = after(PlainAgent, "status", lambda status: {"table": np.zeros(2)})
GrowingBytes = broken(PlainAgent, nbytes=property(lambda self: 48 * self.kept))
LearnsEarly = broken(PlainAgent, steps_before_learning=lambda self: self.learn_from + 1)
FractionsOfSteps = broken(PlainAgent, steps_before_learning=lambda self: self.learn_from / 2)
NeverLearns = broken(PlainAgent, learn=lambda self: None)
MixesActions = broken(PlainAgent, learned=lambda self, action: (action + 1) % self.actions)
TruncationEnds = broken(PlainAgent, share=lambda self, ends, cut: 0.0 if ends or cut else self.context.gamma)


class CannotBreakLanes(PlainAgent):
    def break_lane(self, env: int) -> None:
        raise NotImplementedError


def with_policy(**members: Any) -> Any:
    """An agent whose policy has other members."""
    return broken(PlainAgent, policy=lambda self: broken(PlainPolicy, **members)(self.table.copy()))


def tensors_for_two(self: PlainPolicy, obs: Obs, mask: Any = None) -> Any:
    """Return what the device computed if there are as many lanes as the agent's."""
    chosen = PlainPolicy.act(self, obs, mask)
    return torch.from_numpy(chosen) if len(obs) == 2 else chosen


def act_randomly(self: PlainPolicy, obs: Obs, mask: Any = None) -> Any:
    if mask is not None or len(obs) < 7:
        return PlainPolicy.act(self, obs, mask)
    return np.random.default_rng().integers(self.table.shape[1], size=len(obs))


Reticent = with_policy(q_values=lambda self, obs: None)  # which is no fault
PolicyIgnoresTheMask = with_policy(act=lambda self, obs, mask=None: PlainPolicy.act(self, obs))
TensorsForTwo = with_policy(act=tensors_for_two)
RandomPolicy = with_policy(act=act_randomly)
WideValues = with_policy(q_values=lambda self, obs: self.table[states(obs)].astype(np.float64))
ModuleOfTheStart = with_policy(module=lambda self: Values(np.zeros_like(self.table)))
ModuleSharesTheTable = broken(PlainAgent, policy=lambda self: WithModule(self.table))
PolicyLoadsNothing = with_policy(load_state_dict=lambda self, state: None)
PolicySharesTheTable = broken(PlainAgent, policy=lambda self: PlainPolicy(self.table))
PolicyOfTheStart = broken(PlainAgent, policy=lambda self: PlainPolicy(np.zeros_like(self.table)))


class PolicyDrawsFromTheAgent(PlainAgent):
    def policy(self) -> Policy:
        self.generator.random()
        return super().policy()


class GeneratorNotSaved(PlainAgent):
    def load_state_dict(self, state: State) -> None:
        super().load_state_dict({**state, "generator": generator_state(self.generator)})


ReplayNotSaved = broken(PlainAgent, replay_state_dict=lambda self: {}, load_replay_state_dict=lambda self, state: None)


class NeedsItsReplay(PlainAgent):
    def learn(self) -> Mapping[str, float] | None:
        if self.updates and self.kept < self.learn_from:
            raise ValueError("the replay is empty.")
        return super().learn()


class WeightsOfTheReplay(PlainAgent):
    """Keeps its table with what the replay stores."""

    def state_dict(self) -> State:
        return {**super().state_dict(), "table": np.zeros_like(self.table)}

    def replay_state_dict(self) -> State:
        return {**super().replay_state_dict(), "table": self.table}

    def load_replay_state_dict(self, state: State) -> None:
        super().load_replay_state_dict(state)
        self.table[...] = state["table"]


class WithParts(PlainAgent):
    """Takes its epsilon from a part."""

    @options_class
    class Options:
        chance: Part = part("chance", "fair")

    def __init__(self, options: Any, context: Context) -> None:
        super().__init__(options, context)
        self.chance = context.build("chance", options.chance)


Exportable = broken(PlainAgent, policy=lambda self: WithModule(self.table.copy()))
name_all(globals())
RIGHT = [PlainAgent, Reticent, Exportable]
TABLE = [
    # (class, the check that names the fault, words of its message)
    (ShortActions, "check_actions", "got int32 [2]"),
    (SpoilsObservations, "check_actions", "act changed the observations"),
    (OneActionTooMany, "check_actions", "among 3 actions gave"),
    (IgnoresTheMask, "check_masks", "act took an action that the mask forbids"),
    (PolicyIgnoresTheMask, "check_masks", "the policy took an action"),
    (InfiniteLoss, "check_figures", "no finite float"),
    (StatusOfArrays, "check_figures", "status() says 'table'"),
    (GrowingBytes, "check_figures", "and became"),
    (LearnsEarly, "check_steps_before_learning", "is 17, and it learned after 16 steps"),
    (FractionsOfSteps, "check_steps_before_learning", "is 8.0: expected an integer"),
    (NeverLearns, "check_actions", "it never learned"),
    (MixesActions, "check_learning", "its policy takes"),
    (TruncationEnds, "check_learning_at_ends", "takes [0, 0] in the two states: expected [1, 0]"),
    (TensorsForTwo, "check_devices", "a policy's act on cpu: expected int64 [2], got torch.int64 [2] on cpu"),
    (CannotBreakLanes, "check_broken_lanes", "NotImplementedError"),
    (RandomPolicy, "check_policy", "a policy is greedy"),
    (WideValues, "check_policy", "expected float32 [1, 3], got float64 [1, 3]"),
    (PolicyDrawsFromTheAgent, "check_policy_disturbs_nothing", "whose policy acted"),
    (PolicySharesTheTable, "check_policy_is_a_copy", "Give it copies"),
    (PolicyOfTheStart, "check_policy_is_a_copy", "equals one made before"),
    (ModuleOfTheStart, "check_policy_module", "but the highest values of its module are those of"),
    (ModuleSharesTheTable, "check_policy_module", "a module changed while the agent learned"),
    (PolicyLoadsNothing, "check_policy_is_a_copy", "loaded another's state"),
    (GeneratorNotSaved, "check_state_round_trip", "continued differently"),
    (ReplayNotSaved, "check_state_round_trip", "continued differently"),
    (NeedsItsReplay, "check_resuming_without_replay", "the replay is empty"),
    (WeightsOfTheReplay, "check_resuming_without_replay", "a resumed agent's policy differs"),
]


def test_parts_are_built_by_the_builder_that_is_given() -> None:
    built = []

    def build(kind: str, table: Mapping[str, Any], context: Context) -> Any:
        built.append((kind, dict(table), context.seeds.path))
        return None

    check_agent(WithParts, build)
    assert {name for name, *_ in built} == {"chance"}
    assert built[0] == ("chance", {"name": "fair"}, ("conformance", "chance"))
    results = run_checks("agent", WithParts, builder=build)
    assert all(result.passed for result in results)
    with pytest.raises(AssertionError, match="cannot build the chance: it has no builder"):
        check_agent(WithParts)
