"""Wrappers with running statistics, such as Gymnasium's `NormalizeObservation`.

* `Statistics`: those of a configuration. The first lane of training updates them; everything else follows it.
* `Running`: the wrappers of one environment that have any.

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

from cartpole_dqn.contracts.parts import State
from cartpole_dqn.errors import ConfigError
from cartpole_dqn.wrappers.image import wrappers_of

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
