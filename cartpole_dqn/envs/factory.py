"""From a configuration to environments.

* `EnvFactory`: makes one environment with its observation wrappers, or a vector of them.
* `complete_observation`: the list of wrappers with every default filled in.
* `frame_stack`: how many frames the observations that come out consist of.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import gymnasium
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import DependencyNotInstalled
from gymnasium.error import Error as GymnasiumError
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import FrameStackObservation

from cartpole_dqn.config.schema import RunConfig, Table
from cartpole_dqn.contracts.parts import require_discrete
from cartpole_dqn.envs.guard import Guard, Resting
from cartpole_dqn.envs.workers import WorkerEnvs
from cartpole_dqn.errors import CartpoleDqnError, ConfigError, UnsuitableEnvError, UserError, did_you_mean, said_by
from cartpole_dqn.plugin.registry import Registry
from cartpole_dqn.wrappers.numeric import NumericObservation, is_numeric, unreadable_parts

Env = gymnasium.Env[Any, Any]


class WrapperStage(NamedTuple):
    """One entry of `[[observation]]`."""

    place: str
    """The entry in words, for messages."""
    wrap: Callable[[Env], Env]
    training_only: bool = False
    """Whether evaluation leaves it out, as it leaves out augmentation."""


TRAINING_ONLY = "training_only"
"""The key of an entry of `[[observation]]` that evaluation leaves out."""
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
        self._config = config.env
        self.stages = wrapper_stages(config.observation, registry)
        self._renders = any(entry["wrapper"] == "render" for entry in config.observation)

    def __getstate__(self) -> dict[str, Any]:
        """What a process that is spawned, not forked, needs: also how Gymnasium makes what plugins have registered."""
        return {**self.__dict__, "_specs": _specs_named(self._config.id)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for spec in state.pop("_specs"):
            gymnasium.registry.setdefault(spec.id, spec)
        self.__dict__.update(state)

    def base(self, *, evaluating: bool = False) -> Env:
        """Return the environment without observation wrappers, its time limit as training or evaluation has it.

        Raises:
            UnsuitableEnvError: it is unknown, cannot be made, or cannot render where it must.
        """
        env_config = self._config
        kwargs: dict[str, Any] = dict(env_config.kwargs)
        if self._renders:
            kwargs["render_mode"] = "rgb_array"
        limit = None if evaluating else env_config.time_limit
        if limit == "none":
            kwargs["max_episode_steps"] = -1
        elif isinstance(limit, int):
            kwargs["max_episode_steps"] = limit
        env = _make(env_config.id, kwargs)
        modes = env.metadata.get("render_modes") or []
        if self._renders and "rgb_array" not in modes:
            env.close()
            raise _cannot_be_seen(env_config.id, modes)
        if evaluating and (env.spec is None or env.spec.max_episode_steps is None):
            limit = env_config.time_limit if isinstance(env_config.time_limit, int) else NO_LIMIT_IN_EVALUATION
            env = gymnasium.wrappers.TimeLimit(env, limit)
        return env

    def make(self, *, evaluating: bool = False, lane: int = 0) -> Guard:
        """Return one environment with its observation wrappers, guarded; its observations are arrays of one shape.

        Args:
            evaluating: whether its time limit is that of evaluation.
            lane: its number, for messages.

        Raises:
            UnsuitableEnvError: see `base`; or its actions are not discrete, or its observations vary in shape or are
                no numbers.
            ConfigError: a wrapper does not fit.
        """
        env = self.base(evaluating=evaluating)
        try:
            for stage in self.stages:
                if not (stage.training_only and evaluating):
                    env = _wrapped(env, stage)
            _require_discrete(env, self._config.id)
            return Guard(_as_numbers(env, self._config.id), lane)
        except BaseException:
            env.close()
            raise

    def make_vector(self) -> VectorEnv[Any, Any, Any]:
        """Return the environments to train in, `AutoresetMode.DISABLED`.

        Raises:
            UnsuitableEnvError, ConfigError: see `make`.
            EnvError: a process of its own could not make its environment.
        """
        config = self._config
        makes = [functools.partial(self.make, lane=lane) for lane in range(config.num_envs)]
        if config.vector == "async":
            return WorkerEnvs(makes, step_timeout=config.step_timeout)
        return SyncVectorEnv(makes, autoreset_mode=AutoresetMode.DISABLED)

    def make_evaluation_vector(self, num_envs: int) -> SyncVectorEnv:
        """Return environments to evaluate in, `AutoresetMode.DISABLED`; each can rest (`Resting`). Raises as `make`."""
        makes = [functools.partial(self._make_resting, lane) for lane in range(num_envs)]
        return SyncVectorEnv(makes, autoreset_mode=AutoresetMode.DISABLED)

    def _make_resting(self, lane: int) -> Env:
        return Resting(self.make(evaluating=True, lane=lane))


def _specs_named(env_id: str) -> list[EnvSpec]:
    """Return the registered specs that the id may mean, every version where it names none, if they can be sent."""
    found = [spec for spec in gymnasium.registry.values() if env_id in (spec.id, spec.id.rpartition("-v")[0])]
    return [spec for spec in found if _can_be_sent(spec)]


def _can_be_sent(spec: EnvSpec) -> bool:
    """Whether what makes it has a name to be found by: a lambda or an inner function has none, only a fork knows it."""
    made_by = spec.entry_point
    return isinstance(made_by, str) or "<" not in getattr(made_by, "__qualname__", "<")


def wrapper_stages(observation: list[Table], registry: Registry) -> list[WrapperStage]:
    """Return a stage for each entry, its options checked by name.

    Raises:
        ConfigError: an entry without a wrapper's name, an option that the wrapper does not have.
    """
    stages: list[WrapperStage] = []
    for i, entry in enumerate(observation):
        place, cls, kwargs = _resolve(i, entry, registry)
        stages.append(WrapperStage(place, functools.partial(cls, **kwargs), entry.get(TRAINING_ONLY, False)))
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
        mark = {TRAINING_ONLY: True} if entry.get(TRAINING_ONLY) else {}
        completed.append({"wrapper": entry["wrapper"], **mark, **defaults, **kwargs})
    return completed


def frame_stack(observation: list[Table], registry: Registry, space: spaces.Box) -> int:
    """Return how many frames observations in `space` hold, of which each step brings a new last one; 1 for no stack."""
    if not observation:
        return 1
    _, cls, kwargs = _resolve(len(observation) - 1, observation[-1], registry)
    size = kwargs.get("stack_size")
    stacks = isinstance(cls, type) and issubclass(cls, FrameStackObservation) and isinstance(size, int)
    return size if stacks and len(space.shape) > 1 and space.shape[0] == size else 1


def _resolve(i: int, entry: Any, registry: Registry) -> tuple[str, Callable[..., Env], Table]:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("wrapper"), str):
        raise ConfigError(f'observation[{i}]: expected a table with the name of a wrapper ("wrapper"), got {entry!r}.')
    mark = ", training only" if entry.get(TRAINING_ONLY) is True else ""
    place = f"observation[{i}] ({entry['wrapper']}{mark})"
    cls = _named(entry["wrapper"]) if ":" in entry["wrapper"] else registry.load("wrapper", entry["wrapper"])
    kwargs = {key: value for key, value in entry.items() if key not in ("wrapper", TRAINING_ONLY)}
    if not isinstance(entry.get(TRAINING_ONLY, False), bool):
        raise ConfigError(f"{place}.{TRAINING_ONLY}: expected true or false, got {entry[TRAINING_ONLY]!r}.")
    parameters = _parameters(cls)
    for key in kwargs:
        if key not in parameters:
            raise ConfigError(f"unknown option {place}.{key}.{did_you_mean(key, [*parameters, TRAINING_ONLY])}")
    missing = [p.name for p in parameters.values() if p.default is p.empty and p.name not in kwargs]
    if missing:
        raise ConfigError(f"{place}: expected a value for {', '.join(missing)}.")
    return place, cls, kwargs


def _named(name: str) -> Callable[..., Env]:
    """Return the wrapper that "module:Class" names."""
    module, _, attribute = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for step in attribute.split("."):
            found = getattr(found, step)
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f'wrapper "{name}" cannot be loaded: {said_by(error).rstrip(".")}. Expected "module:Class" of a module '
            f"that can be imported: one that is installed, or in a folder of PYTHONPATH."
        ) from error
    if not callable(found):
        raise ConfigError(f'wrapper "{name}": expected a class or a function, got a {type(found).__name__}.')
    wrapper: Callable[..., Env] = found
    return wrapper


def _parameters(cls: Callable[..., Env]) -> dict[str, inspect.Parameter]:
    """Return the constructor's parameters behind the environment."""
    named = list(inspect.signature(cls).parameters.values())[1:]
    return {p.name: p for p in named if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}


def _wrapped(env: Env, stage: WrapperStage) -> Env:
    place = stage.place
    try:
        wrapped: Any = stage.wrap(env)
    except CartpoleDqnError:
        raise
    except (ValueError, TypeError, AssertionError, AttributeError, ImportError, GymnasiumError) as error:
        raise ConfigError(f"{place}: {str(error) or said_by(error)}") from error
    except Exception as error:
        raise ConfigError(f"{place}: {said_by(error)}") from error
    if not isinstance(wrapped, gymnasium.Env):
        raise ConfigError(f"{place}: expected it to return a gymnasium.Env, got a {type(wrapped).__name__}.")
    if stage.training_only and wrapped.observation_space != env.observation_space:
        raise ConfigError(
            f"{place}: {TRAINING_ONLY} is for wrappers that leave the observation space as it is, since evaluation "
            f"leaves them out; this one makes {wrapped.observation_space} of {env.observation_space}."
        )
    return wrapped


def _make(env_id: str, kwargs: dict[str, Any]) -> Env:
    try:
        with warnings.catch_warnings():
            # Old versions are chosen on purpose here, and render modes are checked in words afterwards.
            warnings.filterwarnings("ignore", message=".*is out of date.*")
            warnings.filterwarnings("ignore", message=".*is not in the possible render_modes.*")
            return gymnasium.make(_imported(env_id), **kwargs)
    except DependencyNotInstalled as error:
        mend = _extra("box2d") if "box2d" in str(error).lower() else ""
        raise UnsuitableEnvError(f"{env_id} needs a package that is not installed: {error}{mend}") from None
    except ModuleNotFoundError as error:
        mend = _extra("atari") if error.name == "ale_py" else ""
        raise UnsuitableEnvError(f"cannot import what registers {env_id}: {error}.{mend}") from None
    except GymnasiumError as error:
        known = "" if ":" in env_id else did_you_mean(env_id, gymnasium.registry)
        known = known if "Did you mean" in known else " `gymnasium.pprint_registry()` lists the known ones."
        text = str(error).rstrip(".")
        raise UnsuitableEnvError(f"cannot make the environment {env_id}: {text}.{known}") from None
    except UserError:
        raise
    except Exception as error:
        if isinstance(error, TypeError) and "unexpected keyword argument 'render_mode'" in str(error):
            raise _cannot_be_seen(env_id, []) from None
        raise UnsuitableEnvError(f"cannot make the environment {env_id}: {said_by(error)}") from error


def _imported(env_id: str) -> str:
    """Return the id as `gymnasium.make` takes it: Atari games are registered by importing ale_py."""
    if env_id.startswith(("ALE/", "ale_py:")):
        ale_py = importlib.import_module("ale_py")
        # Else each game greets on stderr, in the midst of a display.
        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
        return f"ale_py:{env_id.removeprefix('ale_py:')}"
    return env_id


def _extra(name: str) -> str:
    return f" The extra {name} brings it: pip install 'cartpole-dqn[{name}]'"


def _cannot_be_seen(env_id: str, modes: Sequence[Any]) -> UnsuitableEnvError:
    offered = ", ".join(map(str, modes)) or "none"
    return UnsuitableEnvError(
        f"{env_id} cannot be seen: it has no render mode rgb_array (its modes: {offered}). Use --obs state, which "
        f"takes its own observations."
    )


def _require_discrete(env: Env, env_id: str) -> None:
    try:
        require_discrete(env.action_space, env_id)
    except UnsuitableEnvError as error:
        if "continuous" in inspect.signature(type(env.unwrapped).__init__).parameters:
            raise UnsuitableEnvError(
                f"{error} This environment has discrete actions too: --set env.kwargs.continuous=false"
            ) from None
        raise


def _as_numbers(env: Env, env_id: str) -> Env:
    """Make arrays of one shape and dtype of what is no such array; refuse what varies in shape or is no number."""
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
        mend = f"Keep what is left with --set 'observation=[{entry}]'"
    else:
        mend = 'Make such arrays in a wrapper of your own, named as wrapper = "module:Class" in [[observation]]'
    raise UnsuitableEnvError(
        f"{env_id} observes what deep Q-learning here cannot read: {', '.join(unreadable)}; it needs numbers in arrays "
        f"of one shape. {mend}, or look at the picture with --obs pixels, where it renders."
    )
