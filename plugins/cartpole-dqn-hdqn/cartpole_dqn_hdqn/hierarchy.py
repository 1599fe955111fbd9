"""Acting on two levels: a meta-controller sets a goal in each lane, a controller takes actions until it is reached.

* `HierarchyOptions`: what both agents of that kind can set.
* `HierarchicalAgent`: their base: exploration on both levels, goals under way, figures. A subclass learns.
* `HierarchicalPolicy`: the greedy actor, with goals of its own.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from cartpole_dqn import (
    Agent,
    Context,
    Exploration,
    Part,
    Policy,
    State,
    Transition,
    generator_state,
    option,
    options_class,
    part,
    restore_generator,
)
from cartpole_dqn_hdqn.goal_lanes import NONE, GoalLanes, GoalStep
from cartpole_dqn_hdqn.goals import Goals, Mask, Obs, make_goals
from cartpole_dqn_hdqn.values import Values

_LATELY = 100  # goals over which the share that was reached is taken


@options_class
class HierarchyOptions:
    """Options of `HierarchicalAgent`."""

    goals: dict[str, Any] = option(
        default_factory=lambda: {"name": "states"},
        effect='which goals there are: "states", "actions" or "module:Class", and options of theirs',
    )
    controller_gamma: float = option(
        default=0.95, ge=0, le=1, effect="the controller's discount per step", typical="0.9 to 0.99"
    )
    meta_gamma: float = option(
        default=0.95,
        ge=0,
        le=1,
        effect="the meta-controller's discount per goal, however long it takes",
        typical="0.95",
    )
    controller_exploration: Part = part(
        "exploration",
        "linear",
        effect="how actions are chosen; each goal has one of its own, whose steps are those made under the goal",
        start=1.0,
        end=0.1,
        steps=10_000,
    )
    meta_exploration: Part = part(
        "exploration",
        "linear",
        effect="how goals are chosen; its steps are all environment steps",
        start=1.0,
        end=0.1,
        steps=50_000,
    )


class HierarchicalAgent(Agent):
    """Sets goals and pursues them. A subclass learns from `_heard`, the steps since the last `learn`."""

    needs_lockstep: ClassVar[bool] = True  # a lane's goal is set where it acts, and read where it observes

    def __init__(self, options: HierarchyOptions, context: Context) -> None:
        self._context = context
        self._goals: Goals = make_goals(options.goals, context)
        count = len(self._goals)
        self._lanes = GoalLanes(self._goals, context)
        self._all_allowed = np.ones((context.num_envs, int(context.action_space.n)), dtype=np.bool_)
        self._meta_exploration: Exploration = context.build(
            "exploration",
            options.meta_exploration,
            name="meta-exploration",
            action_space=spaces.Discrete(count),
        )
        self._explorations: list[Exploration] = [
            context.build("exploration", options.controller_exploration, name=f"exploration-{goal}")
            for goal in range(count)
        ]
        self._generator = context.seeds.torch("explore")
        self._meta_generator = context.seeds.torch("meta-explore")
        self._steps = 0  # actions taken, over all lanes
        self._goal_steps = [0] * count  # of those, under each goal
        self._last_goal = 0  # the one last pursued in the first lane
        self._share_reached = 0.0
        self._heard: list[GoalStep] = []

    # For a subclass ---------------------------------------------------------------------------------------------------

    @property
    @abc.abstractmethod
    def values(self) -> Values:
        """What was learned so far; evaluated to act, and copied for policies."""

    def goal_values(self, obs: Obs) -> Tensor:
        """[N, ...] -> [N, G], for choosing a goal while training."""
        return self.values.of_goals(obs)

    def action_values(self, obs: Obs, goals: NDArray[np.int64]) -> Tensor:
        """Observations [N, ...] and goals [N] -> [N, A], for choosing an action while training."""
        return self.values.of_actions(obs, goals)

    # Agent ------------------------------------------------------------------------------------------------------------

    def act(self, obs: Obs, mask: Mask | None = None) -> NDArray[np.int64]:
        """See `Agent.act`: first a goal where a lane has none, then an action in each."""
        allowed = self._all_allowed if mask is None else mask
        self._set_goals(obs, allowed)
        goals = self._lanes.goals
        actions = np.empty(len(obs), dtype=np.int64)
        for goal in np.unique(goals).tolist():
            lanes = np.flatnonzero(goals == goal)
            actions[lanes] = self._act_for(goal, obs[lanes], allowed[lanes])
        self._steps += len(obs)
        self._last_goal = int(goals[0])
        return actions

    def _act_for(self, goal: int, obs: Obs, allowed: Mask) -> NDArray[np.int64]:
        """[n, ...] observations of lanes that pursue one goal -> [n] actions, by the goal's own exploration."""
        there = torch.from_numpy(allowed)
        q = _masked(lambda: self.action_values(obs, np.full(len(obs), goal)), there)
        actions = self._explorations[goal].select(q, self._goal_steps[goal], self._generator, there)
        self._goal_steps[goal] += len(obs)
        chosen: NDArray[np.int64] = actions.numpy()
        return chosen

    def _set_goals(self, obs: Obs, allowed: Mask) -> None:
        lanes = np.flatnonzero(self._lanes.goals == NONE)
        if not len(lanes):
            return
        where = obs[lanes]
        there = torch.from_numpy(self._goals.available(where, allowed[lanes]))
        q = _masked(lambda: self.goal_values(where), there)
        chosen = self._meta_exploration.select(q, self._steps, self._meta_generator, there)
        self._lanes.begin(lanes, where, chosen.numpy())

    def observe(self, transitions: Sequence[Transition]) -> None:
        steps = self._lanes.observe(transitions)
        self._heard += steps
        for step in steps:
            if step.chosen is not None:
                self._share_reached += (step.reached - self._share_reached) / _LATELY

    def break_lane(self, env: int) -> None:
        """See `Agent.break_lane`: the goal under way there is given up, and nothing is learned of it as a whole."""
        self._lanes.break_lane(env)

    def policy(self) -> HierarchicalPolicy:
        return HierarchicalPolicy(self.values.copy(), self._goals, int(self._context.action_space.n))

    def status(self) -> Mapping[str, float | str]:
        """See `Agent.status`: both epsilons, the first lane's goal, and the share of the goals reached lately."""
        goal = self._last_goal
        figures: dict[str, float | str] = {"goal": self._goals.names[goal], "goals_reached": self._share_reached}
        epsilon = self._explorations[goal].epsilon(self._goal_steps[goal])
        if epsilon is not None:
            figures["epsilon"] = epsilon
        epsilon = self._meta_exploration.epsilon(self._steps)
        if epsilon is not None:
            figures["meta_epsilon"] = epsilon
        return figures

    def state_dict(self) -> State:
        return {
            "values": self.values.state_dict(),
            "lanes": self._lanes.state_dict(),
            "meta_exploration": self._meta_exploration.state_dict(),
            "explorations": [exploration.state_dict() for exploration in self._explorations],
            "generator": generator_state(self._generator),
            "meta_generator": generator_state(self._meta_generator),
            "steps": self._steps,
            "goal_steps": list(self._goal_steps),
            "last_goal": self._last_goal,
            "share_reached": self._share_reached,
        }

    def load_state_dict(self, state: State) -> None:
        """See `Agent.load_state_dict`. Raises `ValueError` where it is of other goals, lanes or networks."""
        if len(state["goal_steps"]) != len(self._goals):
            raise ValueError(f"the state is of {len(state['goal_steps'])} goals, and here are {len(self._goals)}.")
        self.values.load_state_dict(state["values"])
        self._lanes.load_state_dict(state["lanes"])
        self._meta_exploration.load_state_dict(state["meta_exploration"])
        for exploration, its_state in zip(self._explorations, state["explorations"], strict=True):
            exploration.load_state_dict(its_state)
        restore_generator(self._generator, state["generator"])
        restore_generator(self._meta_generator, state["meta_generator"])
        self._steps = int(state["steps"])
        self._goal_steps = [int(steps) for steps in state["goal_steps"]]
        self._last_goal = int(state["last_goal"])
        self._share_reached = float(state["share_reached"])
        self._heard = []


class HierarchicalPolicy(Policy):
    """Takes the best goal, then the best actions for it until it is reached; ties go to the first.

    It finds out itself whether a goal is reached, from a lane's last observation and action and its new observation.
    """

    def __init__(self, values: Values, goals: Goals, num_actions: int) -> None:
        self._values = values
        self._goals = goals
        self._num_actions = num_actions
        self._under_way: NDArray[np.int64] = np.empty(0, dtype=np.int64)  # each lane's goal, or NONE
        self._last_obs: Obs = np.empty(0)
        self._last_actions: NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def act(self, obs: Obs, mask: Mask | None = None) -> NDArray[np.int64]:
        goals = self.goals_at(obs, mask)
        values = self._values.of_actions(obs, goals).numpy()
        actions: NDArray[np.int64] = (values if mask is None else np.where(mask, values, -np.inf)).argmax(axis=1)
        self._under_way, self._last_obs, self._last_actions = goals, obs.copy(), actions
        return actions

    def goals_at(self, obs: Obs, mask: Mask | None = None) -> NDArray[np.int64]:
        """[N, ...] observations that follow the last ones -> the goals [N] to pursue there; nothing changes."""
        lanes = len(obs)
        if lanes != len(self._under_way):
            goals = np.full(lanes, NONE, dtype=np.int64)
        else:
            goals = self._under_way.copy()
            pursuing = np.flatnonzero(goals != NONE)
            if len(pursuing):
                last = self._last_obs[pursuing], self._last_actions[pursuing]
                reached = self._goals.reached(*last, obs[pursuing])[np.arange(len(pursuing)), goals[pursuing]]
                goals[pursuing[reached]] = NONE
        free = np.flatnonzero(goals == NONE)
        if len(free):
            allowed = np.ones((lanes, self._num_actions), dtype=np.bool_) if mask is None else mask
            values = self._values.of_goals(obs[free]).numpy()
            goals[free] = np.where(self._goals.available(obs[free], allowed[free]), values, -np.inf).argmax(axis=1)
        return goals

    def q_values(self, obs: Obs) -> NDArray[np.float32]:
        """The controller's values [N, A] for the goals that would be pursued at `obs`."""
        values: NDArray[np.float32] = self._values.of_actions(obs, self.goals_at(obs)).numpy()
        return values

    def reset(self, lanes: NDArray[np.bool_]) -> None:
        if len(lanes) == len(self._under_way):
            self._under_way = np.where(lanes, NONE, self._under_way)

    def state_dict(self) -> State:
        return self._values.state_dict()

    def load_state_dict(self, state: State) -> None:
        """See `Policy.load_state_dict`. Raises `ValueError` where it does not fit."""
        self._values.load_state_dict(state)


def _masked(values: Callable[[], Tensor], allowed: Tensor) -> Callable[[], Tensor]:
    """Return what an `Exploration` calls: the values, -inf where forbidden."""
    return lambda: values().masked_fill(~allowed, -math.inf)
