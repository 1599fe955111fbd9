"""h-DQN's two levels with a table each, for environments with few observations."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import ClassVar

from cartpole_dqn import Context, Transition, options_class
from cartpole_dqn_hdqn.hierarchy import HierarchicalAgent, HierarchyOptions
from cartpole_dqn_hdqn.tables import StepSizes, Table, TableValues


@options_class
class TabularHdqnOptions(StepSizes, HierarchyOptions):
    """Options of `TabularHdqnAgent`."""


class TabularHdqnAgent(HierarchicalAgent):
    """The agent "hdqn-tabular": one-step Q-learning (Watkins 1989) on both levels, from each transition once."""

    Options: ClassVar[type] = TabularHdqnOptions

    def __init__(self, options: TabularHdqnOptions, context: Context) -> None:
        super().__init__(options, context)
        self._gammas = options.controller_gamma, options.meta_gamma
        actions, goals = int(context.action_space.n), len(self._goals)
        self._values = TableValues(Table(goals, options), [Table(actions, options) for _ in range(goals)])

    @property
    def values(self) -> TableValues:
        return self._values

    def learn(self) -> Mapping[str, float] | None:
        """See `Agent.learn`: mean absolute TD errors of both levels, where they learned."""
        if not self._heard:
            return None
        errors, meta_errors = [], []
        for step in self._heard:
            errors.append(learn_one(self._values.controllers[step.goal], step.inner, self._gammas[0]))
            if step.chosen is not None:
                meta_errors.append(learn_one(self._values.meta, step.chosen, self._gammas[1]))
        self._heard = []
        figures = {"td_error": sum(errors) / len(errors)}
        if meta_errors:
            figures["meta_td_error"] = sum(meta_errors) / len(meta_errors)
        return figures


def learn_one(table: Table, step: Transition, gamma: float) -> float:
    """Learn from one transition, whose target is r + gamma max Q(s', .) over what is allowed there.

    Returns:
        The size of the error that there was.
    """
    ahead = 0.0
    if not step.terminated:
        values, mask = table.row(step.next_obs), step.next_mask
        ahead = gamma * max(values if mask is None else itertools.compress(values, mask))
    return abs(table.learn(step.obs, step.action, step.reward + ahead))
