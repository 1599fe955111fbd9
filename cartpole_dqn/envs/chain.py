"""The observation wrappers that a configuration lists.

* `Entry`: a checked entry of `[[observation]]`, which wraps an environment. `read_entries`: all of them.
* `complete_observation`: the list of entries with all defaults filled in.
* `parameters_of`: what a wrapper's constructor takes. `frame_stack`: how many frames an observation consists of.
* `as_numbers`, `require_discrete`: what follows the wrappers, so that an agent can learn.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.error import Error as GymnasiumError
from gymnasium.wrappers import FrameStackObservation

from cartpole_dqn.config.schema import Table
from cartpole_dqn.errors import CartpoleDqnError, ConfigError, UnsuitableEnvError, bad, did_you_mean, error_line
from cartpole_dqn.plugin.registry import Registry, search_here
from cartpole_dqn.wrappers.checks import plain
from cartpole_dqn.wrappers.numeric import NumericObservation, is_numeric, unreadable_parts
from cartpole_dqn.wrappers.render import RenderObservation

Env = gymnasium.Env[Any, Any]

TRAINING_ONLY = "training_only"
"""The key that marks an entry of `[[observation]]` which evaluation skips."""


@dataclass(frozen=True)
class Entry:
    """A checked entry of `[[observation]]`."""

    title: str
    """The wrapper's name, with ", training only" if it is."""
    place: str
    """The same with the entry's number, for messages."""
    cls: Callable[..., Env]
    kwargs: Table
    training_only: bool
    """Whether evaluation skips it, as it skips augmentation."""

    @property
    def renders(self) -> bool:
        """Whether its wrapper observes what the environment draws."""
        return _makes(self.cls, RenderObservation)

    def wrap(self, env: Env, env_id: str) -> Env:
        """Return `env` with the wrapper around it. Raises `ConfigError` if it does not fit."""
        if self.renders:
            try:
                env.reset(seed=0)  # It is ours, and then it can show its first frame.
            except Exception as error:
                raise UnsuitableEnvError(f"{env_id} cannot be reset: {error_line(error)}") from error
        try:
            wrapped: Any = self.cls(env, **self.kwargs)
        except CartpoleDqnError:
            raise
        except Exception as error:
            readable = (ValueError, TypeError, AssertionError, AttributeError, ImportError, GymnasiumError)
            text = (isinstance(error, readable) and str(error)) or error_line(error)
            raise ConfigError(f"{self.place}: {text}") from error
        if not isinstance(wrapped, gymnasium.Env):
            raise ConfigError(f"{self.place}: expected it to return a gymnasium.Env, got a {type(wrapped).__name__}.")
        if self.training_only and wrapped.observation_space != env.observation_space:
            raise ConfigError(
                f"{self.place}: {TRAINING_ONLY} is for wrappers that keep the observation space, since evaluation "
                f"skips them; this one turns {env.observation_space} into {wrapped.observation_space}."
            )
        return wrapped


def read_entries(observation: Sequence[Any], registry: Registry) -> list[Entry]:
    """Return the checked entries of `[[observation]]`.

    Raises:
        ConfigError: one names no wrapper, or an option that the wrapper does not have.
    """
    return [_read_entry(i, table, registry) for i, table in enumerate(observation)]


def complete_observation(observation: Sequence[Table], registry: Registry) -> list[Table]:
    """Return the entries with all constructor defaults that TOML can hold. Raises as `read_entries`."""
    completed = []
    for table, entry in zip(observation, read_entries(observation, registry), strict=True):
        defaults = {
            p.name: p.default
            for p in parameters_of(entry.cls).values()
            if isinstance(p.default, bool | int | float | str | list | tuple)
        }
        mark = {TRAINING_ONLY: True} if entry.training_only else {}
        completed.append(plain({"wrapper": table["wrapper"], **mark, **defaults, **entry.kwargs}))
    return completed


def frame_stack(observation: Sequence[Table], registry: Registry, space: spaces.Box) -> int:
    """Return the number S of frames in an observation of `space` if it is a rolling stack [S, ...]; otherwise 1."""
    last = observation[-1] if observation else {}
    size = last.get("stack_size")
    if not isinstance(size, int) or len(space.shape) < 2 or space.shape[0] != size:
        return 1
    return size if _makes(registry.load("wrapper", last["wrapper"]), FrameStackObservation) else 1


def parameters_of(cls: Callable[..., Env]) -> dict[str, inspect.Parameter]:
    """Return the constructor's parameters after the environment."""
    parameters = list(inspect.signature(cls).parameters.values())[1:]
    return {p.name: p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}


def as_numbers(env: Env, env_id: str) -> Env:
    """Convert the observations to arrays of one shape and dtype, or raise an `UnsuitableEnvError`."""
    space = env.observation_space
    if is_numeric(space):
        return env
    unreadable = unreadable_parts(space)
    if not unreadable:
        return NumericObservation(env)
    parts = space.spaces.items() if isinstance(space, spaces.Dict) else ()
    readable = ", ".join(f'"{key}"' for key, part in parts if not unreadable_parts(part))
    if readable:
        entry = f'{{wrapper = "gymnasium.wrappers:FilterObservation", filter_keys = [{readable}]}}'
        mend = f"Keep the rest with --set 'observation=[{entry}]'"
    else:
        mend = 'Convert them in a wrapper of your own, given as wrapper = "module:Class" in [[observation]]'
    raise UnsuitableEnvError(
        f"{env_id} has observations that deep Q-learning cannot read: {', '.join(unreadable)}; expected numeric arrays "
        f"of one shape. {mend}, or use --obs pixels if the environment renders."
    )


def require_discrete(env: Env, env_id: str) -> None:
    """Raise an `UnsuitableEnvError` that says what would work unless actions are `Discrete`."""
    space = env.action_space
    if isinstance(space, spaces.Discrete):
        return
    own = 'an action wrapper of your own, named as wrapper = "module:Class" in an entry of [[observation]]'
    if isinstance(space, spaces.Box):
        mend = (
            'Offer a few fixed actions with wrapper = "gymnasium.wrappers:DiscretizeAction" and bins = 5 in an entry '
            "of [[observation]], or use a policy-gradient method."
        )
    elif isinstance(space, spaces.MultiDiscrete | spaces.MultiBinary):
        each = space.nvec if isinstance(space, spaces.MultiDiscrete) else np.full(space.shape, 2)
        mend = f"Number its {math.prod(each.reshape(-1).tolist()):,} combinations in {own}."
    else:
        mend = f"Offer a few fixed actions in {own}."
    if "continuous" in inspect.signature(type(env.unwrapped).__init__).parameters:
        mend += " This environment has discrete actions too: --set env.kwargs.continuous=false"
    raise UnsuitableEnvError(
        f"{env_id} has the action space {space}, but deep Q-learning compares a finite number of actions: it needs "
        f"Discrete. {mend}"
    )


def _read_entry(i: int, entry: Any, registry: Registry) -> Entry:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("wrapper"), str):
        raise ConfigError(f'observation[{i}]: expected a table with the name of a wrapper ("wrapper"), got {entry!r}.')
    title = entry["wrapper"] + ", training only" * (entry.get(TRAINING_ONLY) is True)
    place = f"observation[{i}] ({title})"
    cls = registry.load("wrapper", entry["wrapper"])
    kwargs = {key: value for key, value in entry.items() if key not in ("wrapper", TRAINING_ONLY)}
    if any(isinstance(value, str) and ":" in value for value in kwargs.values()):
        search_here()  # for a locator of the user's, "module:name"
    if not isinstance(entry.get(TRAINING_ONLY, False), bool):
        raise ConfigError(f"{place}.{TRAINING_ONLY}: expected true or false, got {bad(repr(entry[TRAINING_ONLY]))}.")
    parameters = parameters_of(cls)
    for key in kwargs:
        if key not in parameters:
            raise ConfigError(f"unknown option {place}.{bad(key)}.{did_you_mean(key, [*parameters, TRAINING_ONLY])}")
    for name, value in kwargs.items():
        if isinstance(value, list) and "tuple" in str(parameters[name].annotation):
            kwargs[name] = tuple(value)  # TOML has lists alone.
    missing = [p.name for p in parameters.values() if p.default is p.empty and p.name not in kwargs]
    if missing:
        raise ConfigError(f"{place}: expected a value for {', '.join(missing)}.")
    return Entry(title, place, cls, kwargs, entry.get(TRAINING_ONLY, False))


def _makes(cls: Callable[..., Env], kind: type) -> bool:
    return isinstance(cls, type) and issubclass(cls, kind)
