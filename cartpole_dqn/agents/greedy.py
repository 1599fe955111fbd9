"""`GreedyPolicy`, the policy of `dqn`, and `ValueUnits`: what its network's output stands for."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cartpole_dqn.contracts.parts import Batch, Network, Obs, Policy, State
from cartpole_dqn.contracts.weights import frozen_copy, load_weights
from cartpole_dqn.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class ValueUnits:
    """What a network's output stands for: an action value is `base + scale * output`.

    The Huber loss turns from square to straight at an error of 1. In its straight part it estimates the median return,
    for which rare failures do not count. Where values lie near 200, that part begins too early: with base 200 and scale
    20 it begins at an error of 20.
    """

    base: float = 0.0
    scale: float = 1.0

    @classmethod
    def of(cls, step_reward: float, gamma: float) -> ValueUnits:
        """Return units in which 0 is the return of an endless episode, r / (1 - gamma), and 1 is a tenth of its size.

        Raises:
            ConfigError: gamma is 1, for which there is no such value.
        """
        if not step_reward:
            return cls()
        if gamma >= 1:
            raise ConfigError(
                f"agent.step_reward is {step_reward:g}, which needs agent.gamma below 1, and that is {gamma:g}."
            )
        forever = step_reward / (1 - gamma)
        return cls(forever, abs(forever) / 10)

    def of_batch(self, batch: Batch) -> Batch:
        """Return `batch` with rewards for which the Bellman equation holds between outputs instead of values.

        From base + scale y = r + discount (base + scale y') follows
        y = (r + (discount - 1) base) / scale + discount y'.
        """
        if self == ValueUnits():
            return batch
        rewards = (batch.rewards + (batch.discounts - 1) * self.base) / self.scale
        return dataclasses.replace(batch, rewards=rewards)

    def values(self, output: Any) -> Any:
        """Return the action values of a network's output, number or array."""
        return output if self == ValueUnits() else self.base + self.scale * output


class GreedyPolicy(Policy):
    """Takes the action of the highest value; ties go to the first."""

    def __init__(self, network: Network, device: torch.device, units: ValueUnits) -> None:
        self._network = network
        self._device = device
        self._units = units

    def act(self, obs: Obs, mask: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        values = self._outputs(obs)
        if mask is not None:
            values = np.where(mask, values, -np.inf)
        actions: NDArray[np.int64] = values.argmax(1)
        return actions

    def q_values(self, obs: Obs) -> NDArray[np.float32]:
        values: NDArray[np.float32] = self._units.values(self._outputs(obs))
        return values

    def module(self) -> nn.Module:
        return _Values(frozen_copy(self._network).cpu(), self._units)

    def _outputs(self, obs: Obs) -> NDArray[np.float32]:
        with torch.inference_mode():
            output = self._network(torch.from_numpy(np.ascontiguousarray(obs)).to(self._device))
            values: NDArray[np.float32] = self._network.q_values(output).cpu().numpy()
        return values

    def state_dict(self) -> State:
        return {"network": dict(self._network.state_dict()), "units": dataclasses.asdict(self._units)}

    def load_state_dict(self, state: State) -> None:
        """See `Policy.load_state_dict`. Raises `ValueError` where weights do not fit."""
        load_weights(self._network, state["network"])
        self._units = ValueUnits(**state.get("units", {}))


class _Values(nn.Module):
    """Observations [N, ...] -> action values [N, A]."""

    def __init__(self, network: Network, units: ValueUnits) -> None:
        super().__init__()
        self.network = network
        self._units = units

    def forward(self, obs: Tensor) -> Tensor:
        values: Tensor = self._units.values(self.network.q_values(self.network(obs)))
        return values
