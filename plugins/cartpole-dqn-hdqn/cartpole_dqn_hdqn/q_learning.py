"""One-step Q-learning with one table and no goals: what a hierarchy is compared with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

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
from cartpole_dqn_hdqn.goals import Mask, Obs
from cartpole_dqn_hdqn.tables import StepSizes, Table
from cartpole_dqn_hdqn.tabular import learn_one


@options_class
class QLearningOptions(StepSizes):
    """Options of `QLearningAgent`."""

    gamma: float = option(default=0.95, ge=0, le=1, effect="discount per step", typical="0.9 to 0.99")
    exploration: Part = part("exploration", "linear", start=1.0, end=0.1, steps=50_000)


class QLearningAgent(Agent):
    """The agent "q-learning": Q(s, a) moves towards r + gamma max Q(s', .) (Watkins 1989), from each step once."""

    Options: ClassVar[type] = QLearningOptions

    def __init__(self, options: QLearningOptions, context: Context) -> None:
        self._gamma = options.gamma
        self._table = Table(int(context.action_space.n), options)
        self._exploration: Exploration = context.build("exploration", options.exploration)
        self._generator = context.seeds.torch("explore")
        self._steps = 0  # actions taken, over all lanes
        self._heard: list[Transition] = []

    def act(self, obs: Obs, mask: Mask | None = None) -> NDArray[np.int64]:
        values = self._table.rows(obs)
        allowed = torch.ones(values.shape, dtype=torch.bool) if mask is None else torch.from_numpy(mask)
        known = values.masked_fill(~allowed, -math.inf)
        actions: NDArray[np.int64] = self._exploration.select(
            lambda: known, self._steps, self._generator, allowed
        ).numpy()
        self._steps += len(obs)
        return actions

    def observe(self, transitions: Sequence[Transition]) -> None:
        self._heard += transitions

    def learn(self) -> Mapping[str, float] | None:
        """See `Agent.learn`: the mean absolute TD error."""
        if not self._heard:
            return None
        errors = [learn_one(self._table, step, self._gamma) for step in self._heard]
        self._heard = []
        return {"td_error": sum(errors) / len(errors)}

    def policy(self) -> TablePolicy:
        return TablePolicy(self._table.copy())

    def status(self) -> Mapping[str, float | str]:
        epsilon = self._exploration.epsilon(self._steps)
        figures: dict[str, float | str] = {"observations": len(self._table)}
        return figures if epsilon is None else {**figures, "epsilon": epsilon}

    def state_dict(self) -> State:
        return {
            "table": self._table.state_dict(),
            "exploration": self._exploration.state_dict(),
            "generator": generator_state(self._generator),
            "steps": self._steps,
        }

    def load_state_dict(self, state: State) -> None:
        """See `Agent.load_state_dict`. Raises `ValueError` where the table does not fit."""
        self._table.load_state_dict(state["table"])
        self._exploration.load_state_dict(state["exploration"])
        restore_generator(self._generator, state["generator"])
        self._steps = int(state["steps"])
        self._heard = []


class TablePolicy(Policy):
    """Takes the action of the highest value; ties go to the first."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def act(self, obs: Obs, mask: Mask | None = None) -> NDArray[np.int64]:
        values = self.q_values(obs)
        actions: NDArray[np.int64] = (values if mask is None else np.where(mask, values, -np.inf)).argmax(axis=1)
        return actions

    def q_values(self, obs: Obs) -> NDArray[np.float32]:
        values: NDArray[np.float32] = self._table.rows(obs).numpy()
        return values

    def state_dict(self) -> State:
        return self._table.state_dict()

    def load_state_dict(self, state: State) -> None:
        """See `Policy.load_state_dict`. Raises `ValueError` where the table does not fit."""
        self._table.load_state_dict(state)
