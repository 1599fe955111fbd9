"""From a configuration to environments.

* `EnvFactory`: makes one environment with its observation wrappers, or a vector of them. All commands use it.
* `find_spec`: what Gymnasium knows of an id.
* `complete_observation`: the list of wrappers with all defaults filled in.
* `parameters_of`: what a wrapper's constructor takes. `frame_stack`: how many frames an observation consists of.
* `use_env`: the id of an environment given as a function, a class or an `EnvSpec`.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import functools
import importlib
import inspect
import math
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import DependencyNotInstalled, UnregisteredEnv
from gymnasium.error import Error as GymnasiumError
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import FrameStackObservation

from cartpole_dqn.config.schema import RunConfig, Table
from cartpole_dqn.envs.guard import Guard, Resting, Tally, close_env
from cartpole_dqn.envs.statistics import Statistics
from cartpole_dqn.envs.workers import WorkerEnvs
from cartpole_dqn.errors import (
    CartpoleDqnError,
    ConfigError,
    UnsuitableEnvError,
    UserError,
    bad,
    did_you_mean,
    error_line,
    sentence,
    suggestion,
)
from cartpole_dqn.plugin.registry import (
    Registry,
    find_reference,
    how_to_bring,
    is_installed,
    reference_to,
    search_here,
    source_of,
)
from cartpole_dqn.system import require_memory
from cartpole_dqn.wrappers.checks import plain
from cartpole_dqn.wrappers.numeric import NumericObservation, is_numeric, unreadable_parts
from cartpole_dqn.wrappers.probe import close_quietly
from cartpole_dqn.wrappers.render import RenderObservation

Env = gymnasium.Env[Any, Any]


class Entry(NamedTuple):
    """A checked entry of `[[observation]]`."""

    place: str
    """Its name in messages."""
    cls: Callable[..., Env]
    kwargs: Table
    training_only: bool
    """Whether evaluation skips it, as it skips augmentation."""

    def makes(self, kind: type) -> bool:
        """Return whether it makes a wrapper of this class."""
        return isinstance(self.cls, type) and issubclass(self.cls, kind)


TRAINING_ONLY = "training_only"
"""The key that marks an entry of `[[observation]]` which evaluation skips."""
_LARGE = 10_000_000
"""Bytes of an observation whose environments take seconds to make."""
NO_LIMIT_IN_EVALUATION = 10_000
"""Maximum steps of an evaluation episode if the environment has no limit of its own."""


class EnvFactory:
    """Makes the environments that a configuration describes.

    Args:
        config: only its `env` and `observation` are read.
        registry: where wrappers are looked up.
        for_viewing: whether people will look at what the environments draw: `render()` then returns pictures, whatever
            the agent observes, and draws each moment once.
        slots: how many observations will be stored, to refuse at once those that do not fit into memory.

    Raises:
        ConfigError: an entry names no wrapper, or an option that the wrapper does not have.
    """

    def __init__(self, config: RunConfig, registry: Registry, *, for_viewing: bool = False, slots: int = 0) -> None:
        # Otherwise a pygame display takes over the process's signals.
        os.environ.setdefault("SDL_NO_SIGNAL_HANDLERS", "1")
        self._config = config.env
        self._for_viewing, self._slots = for_viewing, slots
        self._entries = [_resolve(i, entry, registry) for i, entry in enumerate(config.observation)]
        self._renders = for_viewing or any(entry.makes(RenderObservation) for entry in self._entries)
        self.skips = any(entry.training_only for entry in self._entries)
        """Whether evaluation skips some wrappers."""
        self.statistics = Statistics()
        """The running statistics of the wrappers. Environments to evaluate in follow them."""

    def __getstate__(self) -> dict[str, Any]:
        """Add the registered specs that the id may mean: a spawned process lacks those that plugins registered."""
        env_id = self._config.id
        specs = [s for s in gymnasium.registry.values() if env_id in (s.id, s.id.rpartition("-v")[0])]
        return {**self.__dict__, "_specs": [spec for spec in specs if _can_be_sent(spec)]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for spec in state.pop("_specs"):
            gymnasium.registry.setdefault(spec.id, spec)
        self.__dict__.update(state)

    def base(self, *, evaluating: bool = False) -> Env:
        """Return the environment without observation wrappers, with the time limit of training or evaluation.

        Raises:
            UnsuitableEnvError: it is unknown, cannot be made, or cannot render although it must.
        """
        env_id, time_limit = self._config.id, self._config.time_limit
        kwargs: dict[str, Any] = dict(self._config.kwargs)
        if self._renders:
            kwargs["render_mode"] = "rgb_array"
        if not evaluating and time_limit == "none":
            kwargs["max_episode_steps"] = -1
        elif not evaluating and isinstance(time_limit, int):
            kwargs["max_episode_steps"] = time_limit
        env = _make(env_id, kwargs)
        modes = env.metadata.get("render_modes") or []
        if self._renders and "rgb_array" not in modes:
            close_env(env)
            raise _cannot_be_seen(env_id, modes)
        if self._for_viewing:
            env = DrawnOnce(env)
        if evaluating and (env.spec is None or env.spec.max_episode_steps is None):
            limit = time_limit if isinstance(time_limit, int) else NO_LIMIT_IN_EVALUATION
            env = gymnasium.wrappers.TimeLimit(env, limit)
        return env

    def chain(self, *, evaluating: bool = False) -> list[tuple[str, Callable[[Env], Env]]]:
        """Return what wraps `base`, innermost first: the observation wrappers, then the conversion to numbers.

        Each is a name for messages, and a function that wraps an environment. The conversion does nothing if
        observations already are arrays of numbers.
        """
        entries = [entry for entry in self._entries if not (entry.training_only and evaluating)]
        chain = [(entry.place, functools.partial(_wrap, entry=entry, env_id=self._config.id)) for entry in entries]
        return [*chain, ("numbers", functools.partial(_as_numbers, env_id=self._config.id))]

    def make(self, *, evaluating: bool = False, lane: int = 0) -> Guard:
        """Return one guarded environment with its observation wrappers. Observations are arrays of one shape.

        Args:
            evaluating: whether to use the time limit of evaluation.
            lane: its number, for messages.

        Raises:
            UnsuitableEnvError: see `base`; or its actions are not discrete; or its observations vary in shape or are
                not numeric.
            ConfigError: a wrapper does not fit.
        """
        env: Env = Tally(self.base(evaluating=evaluating))
        try:
            *wrappers, (_, as_numbers) = self.chain(evaluating=evaluating)
            for _, wrap in wrappers:
                env = wrap(env)
            self._require_room(env.observation_space)
            env = as_numbers(env)
            _require_discrete(env, self._config.id)
            guard = Guard(env, lane)
            if guard.running and self._config.vector == "async" and not evaluating:
                raise _needs_one_process(guard, "--vector sync")
            if evaluating or lane > 0:
                guard.running.freeze()
                guard.start_from = self.statistics.state_dict
            return guard
        except BaseException:
            close_env(env)
            raise

    def _require_room(self, space: Any) -> None:
        """Raise a `UserError` if large observations do not fit into memory as often as they will be stored.

        The replay checks this too, but later, and until then each environment holds several arrays of this size.
        """
        nbytes = math.prod(space.shape) * space.dtype.itemsize if isinstance(space, spaces.Box) else 0
        if self._slots and nbytes > _LARGE:
            stack = _stack_size(self._entries[-1], space) if self._entries else 1  # each frame is stored once
            require_memory(
                self._slots * nbytes // stack,
                who=f"a replay with {self._slots} slots of {space.dtype} {list(space.shape)}",
                mend="Make observations smaller (uint8, fewer pixels), or set a smaller capacity.",
            )

    def require_no_statistics(self, collector: str) -> None:
        """Raise a `ConfigError` if wrappers have running statistics, which processes of a collector cannot share."""
        guard = self.make()
        close_quietly(guard)
        if guard.running:
            raise _needs_one_process(guard, f"--collector lockstep in place of {collector}")

    def require_another(self) -> None:
        """Raise an `UnsuitableEnvError` if none can be made for evaluation while those of training are open."""
        try:
            close_quietly(self.make(evaluating=True))
        except UnsuitableEnvError as error:
            raise UnsuitableEnvError(
                f"{self._config.id} can be made for training, but not once more to evaluate in: {sentence(str(error))} "
                f"Let several exist at once, or set evaluation.every=0, which plays no evaluations."
            ) from error

    def make_vector(self) -> VectorEnv[Any, Any, Any]:
        """Return the environments to train in, with `AutoresetMode.DISABLED`.

        Raises:
            UnsuitableEnvError, ConfigError: see `make`.
            EnvError: a worker process could not make its environment.
        """
        config = self._config
        env_fns = [functools.partial(self.make, lane=lane) for lane in range(config.num_envs)]
        if config.vector == "async":
            return WorkerEnvs(env_fns, step_timeout=config.step_timeout)
        envs = SyncVectorEnv(env_fns, autoreset_mode=AutoresetMode.DISABLED)
        first: Any = envs.envs[0]
        self.statistics.lead(first.running)
        return envs

    def make_evaluation_vector(self, num_envs: int) -> SyncVectorEnv:
        """Return environments to evaluate in, `AutoresetMode.DISABLED`, each in a `Resting`. Raises as `make`."""
        env_fns = [lambda lane=lane: Resting(self.make(evaluating=True, lane=lane)) for lane in range(num_envs)]
        return SyncVectorEnv(env_fns, autoreset_mode=AutoresetMode.DISABLED)


def use_env(env: Any, env_id: str = "") -> str:
    """Return the id of an environment. Register it with Gymnasium if needed.

    Args:
        env: an id, "module:Id", a function or a class that makes an environment, or an `EnvSpec`.
        env_id: the id for it; by default its own, or "module:name".

    Raises:
        UserError: it is something else, or Gymnasium has another spec of that id.
    """
    if isinstance(env, str):
        return env
    if isinstance(env, EnvSpec):
        if gymnasium.registry.setdefault(env_id or env.id, env) != env:
            raise UserError(f"env: {env.id} is registered with another spec: give yours another id.")
        return env_id or env.id
    if isinstance(env, gymnasium.Env) or not callable(env):
        kind = "an environment itself" if isinstance(env, gymnasium.Env) else repr(env)
        raise UserError(
            f"env: expected an id, a function or class that makes an environment, or an EnvSpec, got {kind}. "
            f"Training and evaluation need an environment each: lambda: ... makes one."
        )
    reference = reference_to(env)
    env_id = env_id or re.sub(r"[^\w:.-]", "", reference)
    while "<" in reference and env_id in gymnasium.registry and gymnasium.registry[env_id].entry_point is not env:
        env_id += "_"  # Two inner functions or lambdas may have the same name.
    gymnasium.registry[env_id] = EnvSpec(env_id, entry_point=env)
    return env_id


def env_source(env_id: str) -> str:
    """Return the file of the function or class that "module:Name" names; "" for any other id."""
    target = _import_env(env_id) if ":" in env_id and not env_id.startswith("ale_py:") else env_id
    return source_of(target.entry_point) if isinstance(target, EnvSpec) else ""


class DrawnOnce(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Renders each moment once. All who call `render` share the frame and must not change it.

    Rendering takes most of a step's time, and changes some environments (the sparks of LunarLander).
    """

    def __init__(self, env: Env) -> None:
        super().__init__(env)
        self._frame: Any = None

    def reset(self, **kwargs: Any) -> Any:
        self._frame = None
        return self.env.reset(**kwargs)

    def step(self, action: Any) -> Any:
        self._frame = None
        return self.env.step(action)

    def render(self) -> Any:
        if self._frame is None:
            self._frame = self.env.render()
        return self._frame


def find_spec(env_id: str) -> EnvSpec:
    """Return what is registered for an id. Imports the module of `module:Id`.

    Raises:
        UnsuitableEnvError: there is no such environment.
    """
    with _explained(env_id):
        target = _import_env(env_id)
        if isinstance(target, EnvSpec):
            return target
        module, _, name = target.rpartition(":")
        if module:
            importlib.import_module(module)
        return gymnasium.spec(name)


def _needs_one_process(guard: Guard, mend: str) -> ConfigError:
    return ConfigError(
        f"wrappers with running statistics ({guard.running.names}) need all environments in the run's own process, to "
        f"share them: choose {mend}."
    )


def _can_be_sent(spec: EnvSpec) -> bool:
    """Return whether another process can find its entry point by name. Lambdas and inner functions need a fork."""
    entry_point = spec.entry_point
    return isinstance(entry_point, str) or "<" not in getattr(entry_point, "__qualname__", "<")


def complete_observation(observation: list[Table], registry: Registry) -> list[Table]:
    """Return the entries with all constructor defaults that TOML can hold."""
    completed = []
    for i, entry in enumerate(observation):
        _, cls, kwargs, training_only = _resolve(i, entry, registry)
        defaults = {
            p.name: p.default
            for p in parameters_of(cls).values()
            if isinstance(p.default, bool | int | float | str | list | tuple)
        }
        mark = {TRAINING_ONLY: True} if training_only else {}
        completed.append(plain({"wrapper": entry["wrapper"], **mark, **defaults, **kwargs}))
    return completed


def frame_stack(observation: list[Table], registry: Registry, space: spaces.Box) -> int:
    """Return the number S of frames in an observation of `space` if it is a rolling stack [S, ...]; otherwise 1."""
    return _stack_size(_resolve(len(observation) - 1, observation[-1], registry), space) if observation else 1


def parameters_of(cls: Callable[..., Env]) -> dict[str, inspect.Parameter]:
    """Return the constructor's parameters after the environment."""
    parameters = list(inspect.signature(cls).parameters.values())[1:]
    return {p.name: p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}


def _stack_size(last: Entry, space: spaces.Box) -> int:
    size = last.kwargs.get("stack_size")
    stacks = last.makes(FrameStackObservation) and isinstance(size, int)
    return size if stacks and len(space.shape) > 1 and space.shape[0] == size else 1


def _resolve(i: int, entry: Any, registry: Registry) -> Entry:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("wrapper"), str):
        raise ConfigError(f'observation[{i}]: expected a table with the name of a wrapper ("wrapper"), got {entry!r}.')
    mark = ", training only" if entry.get(TRAINING_ONLY) is True else ""
    place = f"observation[{i}] ({entry['wrapper']}{mark})"
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
    return Entry(place, cls, kwargs, entry.get(TRAINING_ONLY, False))


def _wrap(env: Env, entry: Entry, env_id: str) -> Env:
    place = entry.place
    if entry.makes(RenderObservation):
        try:
            env.reset(seed=0)  # It is ours, and then it can show its first frame.
        except Exception as error:
            raise UnsuitableEnvError(f"{env_id} cannot be reset: {sentence(error_line(error))}") from error
    try:
        wrapped: Any = entry.cls(env, **entry.kwargs)
    except CartpoleDqnError:
        raise
    except Exception as error:
        readable = (ValueError, TypeError, AssertionError, AttributeError, ImportError, GymnasiumError)
        raise ConfigError(f"{place}: {(isinstance(error, readable) and str(error)) or error_line(error)}") from error
    if not isinstance(wrapped, gymnasium.Env):
        raise ConfigError(f"{place}: expected it to return a gymnasium.Env, got a {type(wrapped).__name__}.")
    if entry.training_only and wrapped.observation_space != env.observation_space:
        raise ConfigError(
            f"{place}: {TRAINING_ONLY} is for wrappers that keep the observation space, since evaluation skips them; "
            f"this one turns {env.observation_space} into {wrapped.observation_space}."
        )
    return wrapped


def _make(env_id: str, kwargs: dict[str, Any]) -> Env:
    with _explained(env_id), warnings.catch_warnings():
        # Old versions are chosen on purpose, and `base` checks render modes.
        warnings.filterwarnings("ignore", message=".*is out of date.*")
        warnings.filterwarnings("ignore", message=".*is not in the possible render_modes.*")
        target = _import_env(env_id)
        if isinstance(target, EnvSpec) and not _accepts(target.entry_point, "render_mode"):
            kwargs.pop("render_mode", None)
        return gymnasium.make(target, **kwargs)


@contextlib.contextmanager
def _explained(env_id: str) -> Iterator[None]:
    """Turn any error inside the block into an `UnsuitableEnvError` that says what to do."""
    try:
        yield
    except UserError:
        raise
    except DependencyNotInstalled as error:
        mend = _extra("box2d") if "box2d" in str(error).lower() else ""
        raise UnsuitableEnvError(
            f"{env_id} needs a package that is not installed: {sentence(str(error))}{mend}"
        ) from None
    except ModuleNotFoundError as error:
        mend = _extra("atari") if error.name == "ale_py" else ""
        raise UnsuitableEnvError(f"cannot import what registers {env_id}: {sentence(str(error))}{mend}") from None
    except UnregisteredEnv as error:
        # Gymnasium may suggest a name too, without a version.
        text = sentence(str(error).partition(" Did you mean")[0])
        raise UnsuitableEnvError(f"cannot make the environment {env_id}: {text}{_registration_hint(env_id)}") from None
    except GymnasiumError as error:
        raise UnsuitableEnvError(f"cannot make the environment {env_id}: {sentence(str(error))}") from None
    except Exception as error:
        if isinstance(error, TypeError) and "unexpected keyword argument 'render_mode'" in str(error):
            raise _cannot_be_seen(env_id, []) from None
        raise UnsuitableEnvError(f"cannot make the environment {env_id}: {error_line(error)}") from error


def _registration_hint(env_id: str) -> str:
    """Return a hint at a registered id with nearly this name, or at packages that register their own."""
    name = env_id.rpartition(":")[2]
    stem = env_id.partition(".")[0]
    if ":" not in env_id and (classes := _classes_in(Path(f"{stem}.py"))):
        choices = " or ".join(f"--env {stem}:{cls}" for cls in classes)
        return f" For a class in {stem}.py, which is in the current folder, write {choices}"
    newest = {}
    for spec in sorted(gymnasium.registry.values(), key=lambda spec: spec.version or 0):
        newest[spec.id.rpartition("-v")[0] or spec.id] = spec.id
    matches = difflib.get_close_matches(name.rpartition("-v")[0] or name, newest, n=1, cutoff=0.75)
    if matches:
        return suggestion(newest[matches[0]])
    if ":" in env_id:
        module = env_id.rpartition(":")[0]
        defined = vars(sys.modules[module]).items()
        env_classes = [key for key, value in defined if isinstance(value, type) and _makes_envs(value)]
        return f" The module {module} was imported and does not register it.{did_you_mean(name, env_classes)}"
    return f" If a package registers it, name the package too: --env PACKAGE:{env_id}"


def _classes_in(file: Path) -> list[str]:
    """Return the classes in a file that define `step`, or else all of them, without importing it."""
    try:
        classes = [node for node in ast.parse(file.read_bytes()).body if isinstance(node, ast.ClassDef)]
    except (OSError, SyntaxError, ValueError):
        return []
    stepping = [cls for cls in classes if any(getattr(node, "name", "") == "step" for node in cls.body)]
    return [cls.name for cls in stepping or classes]


def _import_env(env_id: str) -> str | EnvSpec:
    """Return what `gymnasium.make` takes, after the import that registers it.

    "module:Name" may name an environment class, or a function of the user's that makes one. Functions of installed
    packages are not called: an untrusted configuration could choose their arguments. Importing ale_py registers the
    Atari games.
    """
    if env_id.startswith(("ALE/", "ale_py:")):
        ale_py = importlib.import_module("ale_py")
        # Otherwise each game prints a banner to stderr, into the display.
        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
        return f"ale_py:{env_id.removeprefix('ale_py:')}"
    if ":" not in env_id:
        return env_id
    search_here()
    try:
        target = find_reference(env_id)
    except LookupError as error:
        spec = gymnasium.registry.get(env_id)
        if spec is None and env_id.startswith("__main__:"):
            bring = how_to_bring("env", env_id)
            raise UnsuitableEnvError(f"{env_id} cannot be found: {error.args[0]}{bring}") from None
        return spec or env_id
    except (Exception, SystemExit) as error:
        raise UnsuitableEnvError(f"cannot import what registers {env_id}: {error_line(error)}") from error
    is_registered = env_id.partition(":")[2] in gymnasium.registry
    return env_id if is_registered or not _makes_envs(target) else EnvSpec(env_id, entry_point=target)


def _makes_envs(target: Any) -> bool:
    if isinstance(target, type):
        return issubclass(target, gymnasium.Env)
    code = getattr(target, "__code__", None)
    return code is not None and not is_installed(Path(code.co_filename).resolve())


def _accepts(function: Any, keyword: str) -> bool:
    """Return whether a function takes the keyword. Entry points given as text are assumed to."""
    if isinstance(function, str) or function is None:
        return True
    parameters = inspect.signature(function).parameters
    return keyword in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def _extra(name: str) -> str:
    return f" Install the extra {name}: pip install 'cartpole-dqn[{name}]'"


def _cannot_be_seen(env_id: str, modes: Sequence[Any]) -> UnsuitableEnvError:
    offered = ", ".join(map(str, modes)) or "none"
    return UnsuitableEnvError(
        f"{env_id} cannot be drawn: it has no render mode rgb_array (its modes: {offered}). Use --obs state for its "
        f"own observations, and `cartpole-dqn evaluate` to play a run without pictures."
    )


def _require_discrete(env: Env, env_id: str) -> None:
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


def _as_numbers(env: Env, env_id: str) -> Env:
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
