"""The values of goals and actions, learned by networks or by tables.

* `Values`: the interface: how good each goal is, and each action for a goal.
* `NetworkValues`: two networks.
"""

from __future__ import annotations

import abc
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from cartpole_dqn import Network, State, UserError, frozen_copy, load_weights
from cartpole_dqn_hdqn.goals import Goals, Obs


class Values(abc.ABC):
    """The values of goals and actions. N lanes, G goals, A actions."""

    @abc.abstractmethod
    def of_goals(self, obs: Obs) -> Tensor:
        """[N, ...] -> [N, G] float32 on the CPU."""

    @abc.abstractmethod
    def of_actions(self, obs: Obs, goals: NDArray[np.int64]) -> Tensor:
        """Observations [N, ...] and the goals [N] pursued there -> [N, A] float32 on the CPU."""

    @abc.abstractmethod
    def copy(self) -> Values:
        """Return a copy that later learning does not change, as a policy uses it."""

    @abc.abstractmethod
    def state_dict(self) -> State:
        """What was learned."""

    @abc.abstractmethod
    def load_state_dict(self, state: State) -> None:
        """Take over what `state_dict` returned. Raises `ValueError` where it does not fit."""


class JointSpace:
    """What a controller's network observes: the goal's encoding and the observation, one after the other.

    Raises:
        UserError: observations are pictures.
    """

    def __init__(self, space: spaces.Box, goals: Goals) -> None:
        if len(space.shape) > 1:
            raise UserError(
                f"agent hdqn puts the goal in front of the observation, which must be a vector for that: expected one "
                f"dimension, got {space.dtype} {list(space.shape)}. Observe natively, or wrap the environment with "
                f"gymnasium.wrappers.FlattenObservation."
            )
        self._encodings = np.ascontiguousarray(goals.encodings, dtype=np.float32)
        # As networks of cartpole-dqn read integers: divided by their bound.
        whole = np.issubdtype(space.dtype, np.integer)
        bound = float(max(abs(int(space.low.min())), abs(int(space.high.max())), 1)) if whole else 1.0
        self._scale = np.float32(1.0 / bound)
        low, high = self._encodings.min(axis=0), self._encodings.max(axis=0)
        self.box = spaces.Box(
            np.concatenate([low, space.low.astype(np.float32) * self._scale]),
            np.concatenate([high, space.high.astype(np.float32) * self._scale]),
            dtype=np.float32,
        )

    def join(self, obs: Obs, goals: NDArray[np.int64]) -> NDArray[np.float32]:
        """Observations [N, D] and goals [N] -> [N, K + D]."""
        return np.concatenate([self._encodings[goals], obs.astype(np.float32) * self._scale], axis=1)


class NetworkValues(Values):
    """A meta-controller's network, of observations, and a controller's, of observations joined with a goal."""

    def __init__(self, meta: Network, controller: Network, joint: JointSpace, device: torch.device) -> None:
        self.meta = meta
        self.controller = controller
        self._joint = joint
        self._device = device

    def of_goals(self, obs: Obs) -> Tensor:
        return self._ask(self.meta, obs)

    def of_actions(self, obs: Obs, goals: NDArray[np.int64]) -> Tensor:
        return self._ask(self.controller, self._joint.join(obs, goals))

    def copy(self) -> NetworkValues:
        return NetworkValues(frozen_copy(self.meta), frozen_copy(self.controller), self._joint, self._device)

    def state_dict(self) -> State:
        return {"meta": dict(self.meta.state_dict()), "controller": dict(self.controller.state_dict())}

    def load_state_dict(self, state: State) -> None:
        load_weights(self.meta, state["meta"])
        load_weights(self.controller, state["controller"])

    @torch.no_grad()
    def _ask(self, network: Network, obs: NDArray[Any]) -> Tensor:
        seen = torch.from_numpy(np.ascontiguousarray(obs)).to(self._device)
        return network.q_values(network(seen)).float().cpu()
