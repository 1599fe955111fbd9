"""What an environment's actions are called, and the numbers that it observes.

* `action_names`: an environment with discrete actions -> their names.
* `number_names`: an environment -> the names of the numbers in its observation.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

import gymnasium

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
"""As Gymnasium's documentation has them; the environments themselves do not tell."""
_NUMBERS: Mapping[str, tuple[str, ...]] = {
    "CartPole": ("position", "velocity", "angle", "angular velocity"),
    "MountainCar": ("position", "velocity"),
    "Acrobot": ("cos angle 1", "sin angle 1", "cos angle 2", "sin angle 2", "ang. velocity 1", "ang. velocity 2"),
    "LunarLander": ("x", "y", "velocity x", "velocity y", "angle", "angular velocity", "left leg", "right leg"),
}
"""Likewise."""


def action_names(env: gymnasium.Env[Any, Any]) -> tuple[str, ...]:
    """Return a name for each action of `env`: its own where it tells them, else known ones, else numbers.

    `get_action_meanings()` is asked (Atari), then an enumeration `actions` (MiniGrid).
    """
    count = int(env.action_space.n)  # type: ignore[attr-defined]
    first = int(getattr(env.action_space, "start", 0))
    named = env.spec.name if env.spec is not None else ""
    for names in (_told(env.unwrapped), _ACTIONS.get(named, ())):
        if len(names) == count:
            return names
    return tuple(f"action {first + i}" for i in range(count))


def number_names(env: gymnasium.Env[Any, Any]) -> tuple[str, ...]:
    """Return a name for each number that `env` observes; none but where it passes on what a known environment tells."""
    names = _NUMBERS.get(env.spec.name, ()) if env.spec is not None else ()
    shape = env.observation_space.shape
    return names if shape == (len(names),) and env.observation_space == env.unwrapped.observation_space else ()


def _told(base: Any) -> tuple[str, ...]:
    try:
        meanings = getattr(base, "get_action_meanings", None)
        if callable(meanings):
            return tuple(str(word).lower() for word in meanings())
        listed = getattr(base, "actions", None)
        if isinstance(listed, type) and issubclass(listed, enum.Enum):
            return tuple(str(member.name) for member in listed)
    except Exception:  # Names are a nicety: an environment that fails to tell them still plays.
        return ()
    return ()
