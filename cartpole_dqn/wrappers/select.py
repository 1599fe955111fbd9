"""`Select`: one part of a dict or tuple of observations."""

from __future__ import annotations

from typing import Any

import gymnasium
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs

from cartpole_dqn.wrappers.checks import is_whole, plain, value_and_type


class Select(gymnasium.ObservationWrapper[Any, Any, Any], RecordConstructorArgs):
    """Observes one part of a `Dict` or `Tuple` observation, for example the picture of a camera.

    Args:
        env: its observations are a `Dict` or a `Tuple`. For a part inside a part, use this wrapper twice.
        key: the part's key, or its place in the tuple, from 0.

    Raises:
        TypeError: the observations have no parts, or the key has the wrong type.
        ValueError: there is no such part.

    >>> env = gymnasium.make("Blackjack-v1")
    >>> Select(env, 1).observation_space
    Discrete(11)
    """

    def __init__(self, env: gymnasium.Env[Any, Any], key: str | int) -> None:
        RecordConstructorArgs.__init__(self, key=plain(key))
        gymnasium.ObservationWrapper.__init__(self, env)
        space: Any = env.observation_space
        if not isinstance(space, spaces.Dict | spaces.Tuple):
            raise TypeError(
                f"Select: expected observations of several parts (a Dict or a Tuple), but they are {space}."
            )
        parts: dict[Any, Any] = dict(space.spaces if isinstance(space, spaces.Dict) else enumerate(space.spaces))
        if not (isinstance(key, str) or is_whole(key)):
            raise TypeError(f"Select: key must be the name or the number of a part, got {value_and_type(key)}.")
        if key not in parts:
            raise ValueError(f"Select: key must be one of {', '.join(map(repr, parts))}, got {key!r}.")
        self._key = key
        self.observation_space = parts[key]

    def observation(self, observation: Any) -> Any:
        """Return the part of `observation`."""
        return observation[self._key]
