"""A frame of an environment, before anybody steps it.

* `sample_frame`: a frame like those that the environment's `render()` will return.
* `NotResetError`: the environment must be reset first.
* `changes_rendering`: whether a wrapper may change what `render()` returns.
* `close_quietly`: closes an environment that was made to be looked at.
"""

from __future__ import annotations

import contextlib
import inspect
from typing import Any

import gymnasium
from gymnasium.utils import RecordConstructorArgs
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, RecordVideo

from cartpole_dqn.wrappers.image import wrappers_of

Env = gymnasium.Env[Any, Any]
Wrapper = gymnasium.Wrapper[Any, Any, Any, Any]

_SEED = 0
_PASS_ON = (OrderEnforcing, PassiveEnvChecker, RecordVideo)


class NotResetError(Exception):
    """The environment has no frame before its first reset, and a second one cannot be made. The message says why."""


def sample_frame(env: Env) -> Any:
    """Return what `env.render()` returns in some state. `env` is neither copied, nor reset, nor stepped.

    An environment that was reset is rendered as it is, and so is one without a spec. Otherwise a second one is made
    from its spec, with the wrappers that change the rendering. It is reset with a fixed seed, rendered and closed.

    Rendering is never tried twice: a native renderer may end the process when it is called after it failed.

    Raises:
        NotResetError: a second environment is needed, but cannot be made or reset.
        Exception: `render` failed.
    """
    began = any(isinstance(wrapper, OrderEnforcing) and wrapper.has_reset for wrapper in wrappers_of(env))
    if began or env.unwrapped.spec is None:
        return env.render()
    second: Env | None = None
    try:
        try:
            # The base's spec, without wrappers: a second `RecordVideo` would overwrite the files of the first.
            second = gymnasium.make(env.unwrapped.spec, disable_env_checker=True)
            registered = {type(wrapper) for wrapper in wrappers_of(second)}
            for wrapper in reversed([w for w in wrappers_of(env) if changes_rendering(w)]):
                if type(wrapper) not in registered:
                    second = _around(second, wrapper)
            second.reset(seed=_SEED)
        except Exception as error:  # Environments fail with any exception.
            raise NotResetError(f"{type(error).__name__}: {error}") from error
        return second.render()
    finally:
        if second is not None:
            close_quietly(second)


def changes_rendering(wrapper: Wrapper) -> bool:
    """Whether `wrapper.render()` may return something else than the environment inside it."""
    own = type(wrapper).render is not gymnasium.Wrapper.render or "render" in vars(wrapper)
    return own and type(wrapper) not in _PASS_ON


def close_quietly(env: Env) -> None:
    """Close an environment without harm to others of the process, and ignore errors.

    One that uses pygame stays open: its `close` ends pygame for the whole process, with the windows and fonts of other
    environments. It holds nothing else that needs closing.
    """
    if not any(type(value).__module__.split(".")[0] == "pygame" for value in vars(env.unwrapped).values()):
        with contextlib.suppress(Exception):
            env.close()


def _around(second: Env, wrapper: Wrapper) -> Env:
    """Wrap `second` like `wrapper`, if it tells its arguments or has none."""
    cls = type(wrapper)
    if isinstance(wrapper, RecordConstructorArgs):
        assert wrapper.spec is not None
        return cls(second, **(wrapper.spec.additional_wrappers[-1].kwargs or {}))
    if "render" in vars(wrapper) or len(inspect.signature(cls).parameters) > 1:
        raise TypeError(f"{cls.__name__} does not inherit gymnasium.utils.RecordConstructorArgs")
    return cls(second)
