"""What people want to know of an environment.

* `action_names`, `number_names`, `failure_name`: names. `rows_worth_showing`: the part of its frames.
* `steps_per_second`: its speed in real time.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.wrappers import MaxAndSkipObservation
from numpy.typing import NDArray

from cartpole_dqn.wrappers.image import wrappers_of

_ACTIONS: Mapping[str, tuple[str, ...]] = {
    "CartPole": ("left", "right"),
    "MountainCar": ("left", "coast", "right"),
    "Acrobot": ("torque -1", "torque 0", "torque +1"),
    "LunarLander": ("nothing", "left engine", "main engine", "right engine"),
    "FrozenLake": ("left", "down", "right", "up"),
    "CliffWalking": ("up", "right", "down", "left"),
    "Taxi": ("south", "north", "east", "west", "pick up", "drop off"),
    "Blackjack": ("stick", "hit"),
}
"""From Gymnasium's documentation; the environments do not provide them."""
_NUMBERS: Mapping[str, tuple[str, ...]] = {
    "CartPole": ("position", "velocity", "angle", "angular velocity"),
    "MountainCar": ("position", "velocity"),
    "Acrobot": ("cos angle 1", "sin angle 1", "cos angle 2", "sin angle 2", "ang. velocity 1", "ang. velocity 2"),
    "LunarLander": ("x", "y", "velocity x", "velocity y", "angle", "angular velocity", "left leg", "right leg"),
}
"""Likewise."""

_FAILURES: Mapping[str, str] = {"CartPole": "fell"}
"""What it means to be terminated, where it is always a failure."""
_STANDING = ("CartPole",)
"""Environments whose first frame shows the highest and the lowest that is ever drawn: the pole stands."""
_ABOVE, _BELOW = 24, 30  # Empty rows to keep.


def action_names(env: gymnasium.Env[Any, Any]) -> tuple[str, ...]:
    """Return a name for each action of `env`: its own, known ones, or "action N".

    Its own names come from `get_action_meanings()` (Atari) or an enumeration `actions` (MiniGrid).
    """
    count = int(env.action_space.n)  # type: ignore[attr-defined]
    first = int(getattr(env.action_space, "start", 0))
    env_name = env.spec.name if env.spec is not None else ""
    for names in (_own_action_names(env.unwrapped), _ACTIONS.get(env_name, ())):
        if len(names) == count:
            return names
    return tuple(f"action {first + i}" for i in range(count))


def number_names(env: gymnasium.Env[Any, Any]) -> tuple[str, ...]:
    """Return a name for each observed number if `env` is known and its observation is unchanged, otherwise none."""
    names = _NUMBERS.get(env.spec.name, ()) if env.spec is not None else ()
    shape = env.observation_space.shape
    return names if shape == (len(names),) and env.observation_space == env.unwrapped.observation_space else ()


def failure_name(env: gymnasium.Env[Any, Any]) -> str:
    """Return what it means to be terminated in `env`; "" if that is no failure, or unknown."""
    return _FAILURES.get(env.spec.name, "") if env.spec is not None else ""


def rows_worth_showing(env: gymnasium.Env[Any, Any], first: NDArray[np.uint8]) -> slice:
    """Return the rows of frames [H, W, 3] without the empty ones above and below, given an episode's first frame.

    These are all rows unless every later frame is known to be empty there too.
    """
    if env.spec is None or env.spec.name not in _STANDING:
        return slice(0, len(first))
    filled = np.flatnonzero((first != first[:1, :1]).any(axis=(1, 2)))
    if not len(filled):
        return slice(0, len(first))
    return slice(max(0, int(filled[0]) - _ABOVE), min(len(first), int(filled[-1]) + 1 + _BELOW))


def steps_per_second(env: gymnasium.Env[Any, Any]) -> float:
    """Return the number of actions in a second of real time, from the environment's `render_fps`; by default 30."""
    fps = env.metadata.get("render_fps")
    rate = float(fps) if isinstance(fps, int | float) and fps > 0 else 30.0
    for wrapper in wrappers_of(env):
        if isinstance(wrapper, MaxAndSkipObservation):
            rate /= wrapper._skip
    return max(rate, 1.0)


def _own_action_names(base: Any) -> tuple[str, ...]:
    try:
        meanings = getattr(base, "get_action_meanings", None)
        if callable(meanings):
            return tuple(str(word).lower() for word in meanings())
        actions = getattr(base, "actions", None)
        if isinstance(actions, type) and issubclass(actions, enum.Enum):
            return tuple(str(member.name) for member in actions)
    except Exception:  # An environment without names still works.
        return ()
    return ()
