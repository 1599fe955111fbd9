"""From a configuration to environments.

* `EnvFactory`: makes one environment with its observation wrappers, or a vector of them.
* `complete_observation`: the list of wrappers with every default filled in.
"""

from __future__ import annotations

import functools
import inspect
import os
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
from gymnasium import spaces
from gymnasium.error import DependencyNotInstalled
from gymnasium.error import Error as GymnasiumError
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

from cartpole_dqn.config import RunConfig, Table
from cartpole_dqn.errors import CartpoleDqnError, ConfigError, UnsuitableEnvError, UserError, did_you_mean
from cartpole_dqn.interfaces import require_discrete
from cartpole_dqn.registry import Registry

Env = gymnasium.Env[Any, Any]
WrapperStage = tuple[str, Callable[[Env], Env]]

NO_LIMIT_IN_EVALUATION = 10_000
"""Steps an evaluation episode may take where the environment has no limit of its own."""


class EnvFactory:
    """Makes the environments that a configuration describes.

    Args:
        config: its `env` and `observation` are read.
        registry: where wrappers are found.
    """

    def __init__(self, config: RunConfig, registry: Registry) -> None:
        # A display of pygame must not take over the process's signals.
        os.environ.setdefault("SDL_NO_SIGNAL_HANDLERS", "1")
        self._config = config
        self.stages = wrapper_stages(config.observation, registry)
        self._renders = any(entry["wrapper"] == "render" for entry in config.observation)

    def base(self, *, evaluating: bool = False) -> Env:
        """Return the environment without observation wrappers, its time limit as training or evaluation has it.

        Raises:
            UnsuitableEnvError: it is unknown, cannot be made, or cannot render where it must.
        """
        env_config = self._config.env
        kwargs: dict[str, Any] = dict(env_config.kwargs)
        if self._renders:
            kwargs["render_mode"] = "rgb_array"
        limit = None if evaluating else env_config.time_limit
        if limit == "none":
            kwargs["max_episode_steps"] = -1
        elif isinstance(limit, int):
            kwargs["max_episode_steps"] = limit
        env = _make(env_config.id, kwargs)
        if self._renders and "rgb_array" not in env.metadata.get("render_modes", []):
            modes = ", ".join(map(str, env.metadata.get("render_modes", []))) or "none"
            env.close()
            raise UnsuitableEnvError(
                f"{env_config.id} cannot be seen: it has no render mode rgb_array (its modes: {modes}). "
                f"Use --obs native, which takes its own observations."
            )
        if evaluating and (env.spec is None or env.spec.max_episode_steps is None):
            limit = env_config.time_limit if isinstance(env_config.time_limit, int) else NO_LIMIT_IN_EVALUATION
            env = gymnasium.wrappers.TimeLimit(env, limit)
        return env

    def make(self, *, evaluating: bool = False) -> Env:
        """Return one environment with its observation wrappers; its observations are arrays of one shape.

        Raises:
            UnsuitableEnvError: see `base`; or its actions are not discrete, or its observations vary in shape.
            ConfigError: a wrapper does not fit.
        """
        env = self.base(evaluating=evaluating)
        try:
            for place, wrap in self.stages:
                env = _wrapped(env, place, wrap)
            require_discrete(env.action_space, self._config.env.id)
            return _as_box(env, self._config.env.id)
        except BaseException:
            env.close()
            raise

    def make_vector(self) -> VectorEnv[Any, Any, Any]:
        """Return the environments to train in, `AutoresetMode.DISABLED`."""
        n = self._config.env.num_envs
        if self._config.env.vector == "sync" or n == 1:
            return SyncVectorEnv([self.make] * n, autoreset_mode=AutoresetMode.DISABLED)
        return AsyncVectorEnv([self.make] * n, autoreset_mode=AutoresetMode.DISABLED)


def wrapper_stages(observation: list[Table], registry: Registry) -> list[WrapperStage]:
    """Return (place, function env -> wrapped env) for each entry, its options checked by name.

    Raises:
        ConfigError: an entry without a wrapper's name, an option that the wrapper does not have.
    """
    stages: list[WrapperStage] = []
    for i, entry in enumerate(observation):
        place, cls, kwargs = _resolve(i, entry, registry)
        stages.append((place, functools.partial(cls, **kwargs)))
    return stages


def complete_observation(observation: list[Table], registry: Registry) -> list[Table]:
    """Return the entries with every default of their constructors that TOML can hold."""
    completed = []
    for i, entry in enumerate(observation):
        _, cls, kwargs = _resolve(i, entry, registry)
        defaults = {
            p.name: list(p.default) if isinstance(p.default, tuple) else p.default
            for p in _parameters(cls).values()
            if isinstance(p.default, bool | int | float | str | list | tuple)
        }
        completed.append({"wrapper": entry["wrapper"], **defaults, **kwargs})
    return completed


def _resolve(i: int, entry: Any, registry: Registry) -> tuple[str, Callable[..., Env], Table]:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("wrapper"), str):
        raise ConfigError(f'observation[{i}]: expected a table with the name of a wrapper ("wrapper"), got {entry!r}.')
    place = f"observation[{i}] ({entry['wrapper']})"
    cls = registry.load("wrapper", entry["wrapper"])
    kwargs = {key: value for key, value in entry.items() if key != "wrapper"}
    parameters = _parameters(cls)
    for key in kwargs:
        if key not in parameters:
            raise ConfigError(f"unknown option {place}.{key}.{did_you_mean(key, parameters)}")
    missing = [p.name for p in parameters.values() if p.default is p.empty and p.name not in kwargs]
    if missing:
        raise ConfigError(f"{place}: expected a value for {', '.join(missing)}.")
    return place, cls, kwargs


def _parameters(cls: Callable[..., Env]) -> dict[str, inspect.Parameter]:
    """Return the constructor's parameters behind the environment."""
    named = list(inspect.signature(cls).parameters.values())[1:]
    return {p.name: p for p in named if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}


def _wrapped(env: Env, place: str, wrap: Callable[[Env], Env]) -> Env:
    try:
        return wrap(env)
    except CartpoleDqnError:
        raise
    except (ValueError, TypeError, AssertionError, AttributeError, ImportError, GymnasiumError) as error:
        raise ConfigError(f"{place}: {error}") from error


def _make(env_id: str, kwargs: dict[str, Any]) -> Env:
    try:
        with warnings.catch_warnings():
            # Old versions are chosen on purpose here, and render modes are checked in words afterwards.
            warnings.filterwarnings("ignore", message=".*is out of date.*")
            warnings.filterwarnings("ignore", message=".*is not in the possible render_modes.*")
            return gymnasium.make(env_id, **kwargs)
    except DependencyNotInstalled as error:
        raise UnsuitableEnvError(f"{env_id} needs a package that is not installed: {error}") from None
    except ModuleNotFoundError as error:
        raise UnsuitableEnvError(f"cannot import what registers {env_id}: {error}.") from None
    except GymnasiumError as error:
        known = "" if ":" in env_id else did_you_mean(env_id, gymnasium.registry)
        known = known if "Did you mean" in known else " `gymnasium.pprint_registry()` lists the known ones."
        text = str(error).rstrip(".")
        raise UnsuitableEnvError(f"cannot make the environment {env_id}: {text}.{known}") from None
    except UserError:
        raise
    except Exception as error:
        raise UnsuitableEnvError(f"cannot make the environment {env_id}: {type(error).__name__}: {error}") from error


def _as_box(env: Env, env_id: str) -> Env:
    """Flatten discrete, tuple and dict observations; refuse those whose shape varies."""
    space = env.observation_space
    if isinstance(space, spaces.Box):
        return env
    if not space.is_np_flattenable:
        raise UnsuitableEnvError(
            f"{env_id} observes {space}, whose shape varies from step to step: deep Q-learning here needs arrays of "
            f"one shape. Wrap it to make a fixed-size observation of it (--obs pixels does, where it renders)."
        )
    return gymnasium.wrappers.FlattenObservation(env)
