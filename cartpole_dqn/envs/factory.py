"""From a configuration to environments.

* `EnvFactory`: makes one environment with its observation wrappers, or several side by side. All commands use it.
* `own_limit`: the longest episode of one of them.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable
from typing import Any

import gymnasium
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import FrameStackObservation, TimeLimit

from cartpole_dqn.config.schema import RunConfig
from cartpole_dqn.envs.chain import as_numbers, read_entries, require_discrete
from cartpole_dqn.envs.guard import Guard, Resting, Tally, close_env
from cartpole_dqn.envs.ids import make_env, specs_to_send
from cartpole_dqn.envs.statistics import Statistics
from cartpole_dqn.envs.workers import WorkerEnvs
from cartpole_dqn.errors import ConfigError, UnsuitableEnvError, sentence
from cartpole_dqn.plugin.host import PluginHost
from cartpole_dqn.system import require_memory
from cartpole_dqn.wrappers.image import wrappers_of
from cartpole_dqn.wrappers.numeric import NumericObservation
from cartpole_dqn.wrappers.probe import close_quietly

Env = gymnasium.Env[Any, Any]

_LARGE = 10_000_000
"""Bytes of an observation whose environments take seconds to make."""
_NO_LIMIT = 10_000
"""Maximum steps of an evaluation episode if the environment has no limit of its own."""


class EnvFactory:
    """Makes the environments that a configuration describes.

    Args:
        config: only its `env` and `observation` are read.
        host: the loaded plugins, with the wrappers. Their environments are registered now.
        for_viewing: whether people will look at what the environments draw: `render()` then returns pictures, whatever
            the agent observes, and draws each moment once.
        slots: how many observations will be stored, to refuse at once those that do not fit into memory.

    Raises:
        ConfigError: an entry names no wrapper, or an option that the wrapper does not have.
    """

    def __init__(self, config: RunConfig, host: PluginHost, *, for_viewing: bool = False, slots: int = 0) -> None:
        host.register_environments()
        # Otherwise a pygame display takes over the process's signals.
        os.environ.setdefault("SDL_NO_SIGNAL_HANDLERS", "1")
        self._config = config.env
        self._for_viewing, self._slots = for_viewing, slots
        self._entries = read_entries(config.observation, host.registry)
        self._renders = for_viewing or any(entry.renders for entry in self._entries)
        self.skips = any(entry.training_only for entry in self._entries)
        """Whether evaluation skips some wrappers."""
        self.statistics = Statistics()
        """The running statistics of the wrappers. Environments to evaluate in follow them."""

    def __getstate__(self) -> dict[str, Any]:
        """Add the registered specs that the id may mean: a spawned process lacks those that plugins registered."""
        return {**self.__dict__, "_specs": specs_to_send(self._config.id)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for spec in state.pop("_specs"):
            gymnasium.registry.setdefault(spec.id, spec)
        self.__dict__.update(state)

    def base(self, *, evaluating: bool = False) -> Env:
        """Return the environment without observation wrappers, with the time limit of training or evaluation.

        Raises:
            UnsuitableEnvError: it is unknown, cannot be made, or cannot render although it must.
        """
        time_limit = self._config.time_limit
        kwargs: dict[str, Any] = dict(self._config.kwargs)
        if not evaluating and time_limit == "none":
            kwargs["max_episode_steps"] = -1
        elif not evaluating and isinstance(time_limit, int):
            kwargs["max_episode_steps"] = time_limit
        env = make_env(self._config.id, kwargs, renders=self._renders)
        if self._for_viewing:
            env = DrawnOnce(env)
        if evaluating and (env.spec is None or env.spec.max_episode_steps is None):
            limit = time_limit if isinstance(time_limit, int) else _NO_LIMIT
            env = TimeLimit(env, limit)
        return env

    def chain(self, *, evaluating: bool = False) -> list[tuple[str, Callable[[Env], Env]]]:
        """Return what wraps `base`, innermost first: the observation wrappers, then the conversion to numbers.

        Each is a name to show, and a function that wraps an environment. The conversion does nothing if observations
        already are arrays of numbers.
        """
        entries = [entry for entry in self._entries if not (entry.training_only and evaluating)]
        wraps = [*((entry.title, entry.wrap) for entry in entries), ("numbers", as_numbers)]
        return [(title, functools.partial(wrap, env_id=self._config.id)) for title, wrap in wraps]

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
            for _, wrap in self.chain(evaluating=evaluating):
                env = wrap(env)
            self._require_room(env)
            require_discrete(env, self._config.id)
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

    def _require_room(self, env: Env) -> None:
        """Raise a `UserError` if large observations do not fit into memory as often as they will be stored.

        The replay checks this too, but later, and until then each environment holds several arrays of this size.
        """
        space: Any = env.observation_space
        nbytes = math.prod(space.shape) * space.dtype.itemsize if isinstance(space, spaces.Box) else 0
        if self._slots and nbytes > _LARGE:
            last = next(wrapper for wrapper in wrappers_of(env) if not isinstance(wrapper, NumericObservation))
            stack = last.stack_size if isinstance(last, FrameStackObservation) else 1  # each frame is stored once
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


def own_limit(env: gymnasium.Env[Any, Any]) -> int | None:
    """Return the limit of steps that the environment or the configuration sets; None without any."""
    limit = env.spec.max_episode_steps if env.spec is not None else None
    return None if limit == _NO_LIMIT else limit


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


def _needs_one_process(guard: Guard, mend: str) -> ConfigError:
    return ConfigError(
        f"wrappers with running statistics ({guard.running.names}) need all environments in the run's own process, to "
        f"share them: choose {mend}."
    )
