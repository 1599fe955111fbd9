"""`Following`: a policy together with the running statistics of the wrappers through which it observes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import nn

from cartpole_dqn.contracts.parts import Obs, Policy, State
from cartpole_dqn.envs.statistics import Statistics

STATISTICS = "wrappers"
"""The key of a policy's state that has them."""


class Following(Policy):
    """Acts as another policy. Its state has the statistics too, for whoever saves or loads it, also elsewhere.

    Args:
        policy: the other one.
        statistics: of the wrappers.
        needed: whether environments to evaluate in have such wrappers: then a state without them is refused.
    """

    def __init__(self, policy: Policy, statistics: Statistics, *, needed: bool = True) -> None:
        self._policy = policy
        self._needed = needed
        self._statistics = statistics

    def act(self, obs: Obs, mask: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        return self._policy.act(obs, mask)

    def q_values(self, obs: Obs) -> NDArray[np.float32] | None:
        return self._policy.q_values(obs)

    def module(self) -> nn.Module | None:
        return self._policy.module()

    def reset(self, lanes: NDArray[np.bool_]) -> None:
        self._policy.reset(lanes)

    def state_dict(self) -> State:
        return {**self._policy.state_dict(), STATISTICS: self._statistics.state_dict()}

    def load_state_dict(self, state: State) -> None:
        """See `Policy.load_state_dict`. Raises `ValueError` if the statistics are missing."""
        if self._needed and STATISTICS not in state:
            raise ValueError("it was saved without the running statistics of the wrappers.")
        self._policy.load_state_dict(without_statistics(state))
        self._statistics.load_state_dict(state.get(STATISTICS, {}))


def without_statistics(state: State) -> State:
    """Return the state of the policy alone."""
    return {key: value for key, value in state.items() if key != STATISTICS}
