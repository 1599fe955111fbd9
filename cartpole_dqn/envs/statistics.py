"""Wrappers with running statistics, such as Gymnasium's `NormalizeObservation`.

* `Statistics`: those of a configuration. The first lane of training updates them; everything else follows it.
* `Running`: the wrappers of one environment that have any.
* `Following`: a policy together with the statistics through which it observes.

Another lane, or an evaluation, takes the statistics over when an episode begins, and keeps them until it ends. So an
evaluation sees the numbers that the first lane sees at that time, and an episode can be repeated exactly.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import gymnasium
import numpy as np
from gymnasium.wrappers import NormalizeObservation, NormalizeReward
from gymnasium.wrappers.utils import RunningMeanStd
from numpy.typing import NDArray
from torch import nn

from cartpole_dqn.contracts.parts import Obs, Policy, State
from cartpole_dqn.errors import ConfigError
from cartpole_dqn.wrappers.image import wrappers_of

STATISTICS = "wrappers"
"""The key of a policy's state that has them."""
_FREEZE = "update_running_mean"
"""The attribute that lets a wrapper's statistics change, as Gymnasium calls it."""


class Running:
    """The wrappers of one environment that have running statistics, by their class.

    They are Gymnasium's own, or have `state_dict()`, `load_state_dict(state)` and an attribute `update_running_mean`.

    Raises:
        ConfigError: a wrapper has running statistics that cannot be saved.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        wrappers = [wrapper for wrapper in wrappers_of(env) if _has_statistics(wrapper)]
        counts: Counter[str] = Counter()
        self._wrappers: dict[str, Any] = {}
        for wrapper in reversed(wrappers):
            name = type(wrapper).__name__
            self._wrappers[f"{name}-{counts[name]}"] = wrapper
            counts[name] += 1

    def __bool__(self) -> bool:
        return bool(self._wrappers)

    @property
    def names(self) -> str:
        return ", ".join(type(wrapper).__name__ for wrapper in self._wrappers.values())

    def freeze(self) -> None:
        """Keep the statistics as they are."""
        for wrapper in self._wrappers.values():
            setattr(wrapper, _FREEZE, False)

    def state_dict(self) -> State:
        return {name: _read(wrapper) for name, wrapper in self._wrappers.items()}

    def load_state_dict(self, state: State) -> None:
        """Load a state. It may have more wrappers than this environment, which then was made to evaluate in."""
        for name, wrapper in self._wrappers.items():
            if name in state:
                _write(wrapper, state[name])


class Statistics:
    """The running statistics of a configuration's wrappers: those of the leader, or loaded ones; {} if there are none.

    The leader is the first lane of training. Evaluations and the other lanes follow it.
    """

    def __init__(self) -> None:
        self._leader: Running | None = None
        self._loaded: State = {}

    def lead(self, leader: Running) -> None:
        """Use the statistics of the first lane's wrappers from now on."""
        leader.load_state_dict(self._loaded)
        self._leader = leader

    def state_dict(self) -> State:
        return self._loaded if self._leader is None else self._leader.state_dict()

    def load_state_dict(self, state: State) -> None:
        self._loaded = state
        if self._leader is not None:
            self._leader.load_state_dict(state)


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


def _has_statistics(wrapper: Any) -> bool:
    if isinstance(wrapper, NormalizeObservation | NormalizeReward):
        return True
    required = ("state_dict", "load_state_dict", _FREEZE)
    present = [name for name in required if hasattr(wrapper, name)]
    if not present and not any(isinstance(value, RunningMeanStd) for value in vars(wrapper).values()):
        return False
    if len(present) < len(required):
        raise ConfigError(
            f"the wrapper {type(wrapper).__name__} has running statistics, which cannot be saved and frozen: it needs "
            f"state_dict(), load_state_dict(state) and an attribute {_FREEZE}. Define all of them, or leave it out."
        )
    return True


def _read(wrapper: Any) -> State:
    if hasattr(wrapper, "state_dict"):
        state: State = wrapper.state_dict()
        return state
    moments = {
        name: {"mean": np.array(value.mean), "var": np.array(value.var), "count": float(value.count)}
        for name, value in vars(wrapper).items()
        if isinstance(value, RunningMeanStd)
    }
    if isinstance(wrapper, NormalizeReward):
        moments["discounted"] = {"reward": np.array(wrapper.discounted_reward)}
    return moments


def _write(wrapper: Any, state: State) -> None:
    if hasattr(wrapper, "load_state_dict"):
        wrapper.load_state_dict(state)
        return
    for name, moments in state.items():
        if name == "discounted":
            wrapper.discounted_reward = np.array(moments["reward"])
        else:
            counted = getattr(wrapper, name)
            counted.mean, counted.var = np.array(moments["mean"]), np.array(moments["var"])
            counted.count = float(moments["count"])
