"""Checks on what an environment returns, before anything learns from it.

Environments that are stepped have a `Guard` as their outermost wrapper, and a `Tally` as their innermost. `Resting`
lets a lane pause.
"""

from __future__ import annotations

import contextlib
import math
import traceback
import warnings
from collections.abc import Callable
from pathlib import PurePath
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from cartpole_dqn.contracts.parts import Obs, State
from cartpole_dqn.envs.statistics import Running
from cartpole_dqn.errors import Notice, RunError, message_of, place_of
from cartpole_dqn.wrappers.image import wrappers_of
from cartpole_dqn.wrappers.moments import Moments

StepResult = tuple[Obs, float, bool, bool, dict[str, Any]]

_NUMBERS = (int, float, np.integer, np.floating, np.bool_)
_FLAGS = (bool, np.bool_, int, np.integer)
_WRAPPED = (("gymnasium", "utils"), ("gymnasium", "wrappers"))
"""The folders of the wrappers that `gymnasium.make` adds."""
_WARNED: set[str] = set()
"""Warnings of this process. Python's own filter forgets them."""
EARNED = "reward_below_wrappers"
"""The reward of the environment below the wrappers, in `info`."""
REST = 2**62
"""The action with which a `Guard` repeats its last observation and does not step its environment."""


class EnvError(RunError):
    """Environment number `env` did `problem`. `place` is set later and gives the episode and step."""

    def __init__(self, env: int, problem: str) -> None:
        super().__init__(env, problem)
        self.env = env
        self.problem = problem
        self.place = ""

    def pieces(self) -> list[tuple[str, str]]:
        place = f" ({self.place})" if self.place else ""
        return [("", f"environment {self.env}{place} {self.problem}")]


class EnvTimeoutError(EnvError):
    """An environment did not answer in time."""


class Tally(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Adds up the rewards of an environment, whatever the wrappers around it make of them."""

    earned = 0.0
    """Since it was last set to 0."""

    def step(self, action: Any) -> Any:
        result = self.env.step(action)
        with contextlib.suppress(TypeError, ValueError, LookupError):  # The guard reports it.
            self.earned += float(result[1])
        return result

    def as_torch(self, moments: Moments) -> Any:
        """See `cartpole_dqn.wrappers.moments`: observations pass unchanged."""
        return moments.observation()


class Guard(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Checks an environment's results and returns them in plain types, or raises an `EnvError`.

    Observations must be arrays of the shape and dtype of `env.observation_space` (a `Box`) without NaN or infinity.
    Rewards must be finite numbers, and flags booleans. An exception in the environment becomes an `EnvError` too.

    Actions count from 0, whatever `Discrete.start` is, and others are refused, except `REST`. `info["action_mask"]` is
    bool [A], and all True if the environment allows no action. It is absent if the environment gives none.

    Above a `Tally`, `info[EARNED]` is what the environment gave in this step if wrappers changed it.

    Where wrappers have running statistics, each episode starts with those of `start_from()`, which `begun` keeps.

    Args:
        env: one lane's environment with all its wrappers and `Discrete` actions.
        lane: its number, for messages.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], lane: int = 0) -> None:
        super().__init__(env)
        self._lane = lane
        actions: Any = env.action_space
        self._num_actions = int(actions.n)
        self.first_action = int(actions.start)
        """The environment's own number for action 0."""
        if self.first_action:
            self.action_space = spaces.Discrete(self._num_actions)
        self._shape = env.observation_space.shape
        self._dtype = env.observation_space.dtype
        self._tally = next((wrapper for wrapper in wrappers_of(env) if isinstance(wrapper, Tally)), None)
        self.running = Running(env)
        self.start_from: Callable[[], State] = self.running.state_dict
        self.begun: State = {}
        self._obs: Obs = np.empty(0)  # the last one
        self._is_floating = self._dtype is not None and np.issubdtype(self._dtype, np.inexact)

    def as_torch(self, moments: Moments) -> Any:
        """See `cartpole_dqn.wrappers.moments`: observations pass unchanged."""
        return moments.observation()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Obs, dict[str, Any]]:
        if self.running:
            self.begun = self.start_from()
            self.running.load_state_dict(self.begun)
        try:
            result = self.env.reset(seed=seed, options=options)
        except (Exception, SystemExit) as error:
            raise self._error_from(error) from error
        try:
            obs, info = result
        except (TypeError, ValueError):
            raise self._fault(f"{_short(result)} from reset, expected an observation and an info") from None
        return self._check_obs(obs), self._check_info(info)

    def step(self, action: Any) -> StepResult:
        if not 0 <= action < self._num_actions:
            if action == REST:
                return self._obs, 0.0, False, False, {}
            raise EnvError(self._lane, f"was given the action {_short(action)}, expected 0 to {self._num_actions - 1}.")
        tally = self._tally
        if tally is not None:
            tally.earned = 0.0
        try:
            result = self.env.step(action + self.first_action)
        except (Exception, SystemExit) as error:
            raise self._error_from(error) from error
        try:
            obs, reward, terminated, truncated, info = result
        except (TypeError, ValueError):
            raise self._fault(
                f"{_short(result)} from step, expected an observation, a reward, terminated, truncated and an info"
            ) from None
        obs = self._check_obs(obs)
        if not isinstance(reward, _NUMBERS) or not _is_finite(reward):
            raise self._fault(f"the reward {_short(reward)}, expected a finite number")
        for name, flag in (("terminated", terminated), ("truncated", truncated)):
            if not isinstance(flag, _FLAGS):
                raise self._fault(f"{name} as {_short(flag)}, expected True or False")
        info = self._check_info(info)
        if tally is not None and tally.earned != reward:
            if not _is_finite(tally.earned):
                raise self._fault(f"the reward {tally.earned} below its wrappers, expected a finite number")
            info = {**info, EARNED: tally.earned}
        return obs, float(reward), bool(terminated), bool(truncated), info

    def close(self) -> None:
        close_env(self.env)

    def _check_obs(self, obs: Any) -> Obs:
        if isinstance(obs, np.generic):
            obs = np.asarray(obs)
        if not isinstance(obs, np.ndarray) or obs.shape != self._shape or obs.dtype != self._dtype:
            actual = f"{obs.dtype} {list(obs.shape)}" if isinstance(obs, np.ndarray) else _short(obs)
            expected = f"{self._dtype} {list(self._shape or ())}"
            mend = "Let it return what its observation_space declares."
            raise self._fault(f"the observation {actual}, expected an array {expected}. {mend}")
        if self._is_floating and not np.isfinite(obs).all():
            bad = ~np.isfinite(obs)
            first = tuple(int(i) for i in np.argwhere(bad)[0])
            raise self._fault(
                f"an observation in which {np.count_nonzero(bad)} of {obs.size} numbers are not finite; "
                f"the first is {obs[first]} at {list(first)}"
            )
        self._obs = obs
        return obs

    def _check_info(self, info: Any) -> dict[str, Any]:
        if not isinstance(info, dict):
            raise self._fault(f"the info {_short(info)}, expected a dict")
        if "action_mask" not in info:
            return info
        rest = {key: value for key, value in info.items() if key != "action_mask"}
        mask = info["action_mask"]
        return rest if mask is None else {**rest, "action_mask": self._check_mask(mask)}

    def _check_mask(self, mask: Any) -> NDArray[np.bool_]:
        try:
            allowed = np.asarray(mask, dtype=np.bool_)
        except (TypeError, ValueError):
            allowed = np.empty(0, dtype=np.bool_)
        if allowed.shape != (self._num_actions,):
            raise self._fault(f"the action_mask {mask!r}, expected one number for each of {self._num_actions} actions")
        return allowed if allowed.any() else np.ones_like(allowed)

    def _fault(self, problem: str) -> EnvError:
        return EnvError(self._lane, f"gave {problem.rstrip('.')}.")

    def _error_from(self, error: BaseException) -> EnvError:
        problem = f"raised {describe(error)}"
        frames = traceback.extract_tb(error.__traceback__)
        # `gymnasium.make` adds wrappers, which see a wrong answer before the guard does.
        if frames and PurePath(frames[-1].filename).parent.parts[-2:] in _WRAPPED:
            problem += ". To see where it departs from Gymnasium's API: gymnasium.utils.env_checker.check_env(env)"
        # The traceback names the plugin or package that raised.
        return EnvError(self._lane, problem).with_traceback(error.__traceback__)


class Resting(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Rests after a reset without a seed, until the next one with a seed: takes the action `REST` at every step."""

    env: Guard

    def __init__(self, env: Guard) -> None:
        super().__init__(env)
        self._rests = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Obs, dict[str, Any]]:
        """Reset or, if `seed` is None, rest. The first reset needs a seed."""
        self._rests = seed is None
        return (self.env.step(REST)[0], {}) if self._rests else self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> StepResult:
        return self.env.step(REST if self._rests else action)


def close_env(env: gymnasium.Env[Any, Any]) -> None:
    """Close `env`. If that raises, warn once and continue."""
    try:
        env.close()
    except (Exception, SystemExit) as error:
        text = f"an environment could not be closed: it raised {describe(error)}"
        if text not in _WARNED:
            _WARNED.add(text)
            warnings.warn(text, Notice, stacklevel=1)


def describe(error: BaseException) -> str:
    """Return an exception in one line: its type, its message, and the file and line that raised it."""
    text = message_of(error)[:500]
    message = f"{type(error).__name__}: {text}" if text else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    place = place_of(error) or (f"{PurePath(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else "")
    return f"{message} ({place})" if place else message


def _is_finite(number: Any) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:
        return False


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:
        text = "something"
    text = text if len(text) <= 60 else f"{text[:57]}..."
    return f"{text} ({type(value).__name__})"
