"""Samples of what an environment draws, without changing the environment.

* `sample_frame`: a frame like those that the environment's `render()` will return.
* `changes_rendering`: whether a wrapper may change what `render()` returns.
"""

from __future__ import annotations

import copy
from typing import Any

import gymnasium
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker

from cartpole_dqn.wrappers.image import wrappers_of

Env = gymnasium.Env[Any, Any]

_SEED = 0
_PASS_ON = (OrderEnforcing, PassiveEnvChecker)


def sample_frame(env: Env) -> Any:
    """Return what `env.render()` returns in some state.

    Uses the first of these that works: a copy of the unwrapped environment, reset with a fixed seed; a new one made
    from its spec, reset likewise; the environment itself, without a reset; the environment itself, reset with a fixed
    seed, after which its random generator is restored. Only wrappers that change the rendering are put around the copy.
    The `reset` of others, which may record a video, is not called.
    """
    base = env.unwrapped
    for stand_in_for in (_copied, _made_anew, lambda base: base):
        try:
            stand_in = stand_in_for(base)
            if stand_in is not base:
                stand_in.reset(seed=_SEED)
            frame = _rendered(env, stand_in)
        except Exception:  # Environments fail with any exception: try the next way.
            continue
        # Closing an environment that uses pygame ends pygame for the whole process, with the windows and fonts of other
        # environments. It holds nothing else that needs closing.
        if stand_in_for is _made_anew and not any(map(_is_pygame, vars(stand_in).values())):
            stand_in.close()
        if frame is not None:
            return frame
    generator, seed = base._np_random, base._np_random_seed
    base.reset(seed=_SEED)
    base._np_random, base._np_random_seed = generator, seed
    return _rendered(env, base)


def changes_rendering(wrapper: gymnasium.Wrapper[Any, Any, Any, Any]) -> bool:
    """Whether `wrapper.render()` may return something else than the environment inside it."""
    own = type(wrapper).render is not gymnasium.Wrapper.render or "render" in vars(wrapper)
    return own and type(wrapper) not in _PASS_ON


def _copied(base: Env) -> Env:
    # Surfaces and clocks cannot be copied. Environments create theirs if they are None.
    drawn_on = {id(value): None for value in vars(base).values() if _is_pygame(value)}
    return copy.deepcopy(base, drawn_on)


def _made_anew(base: Env) -> Env:
    if base.spec is None:
        raise LookupError("no spec")
    return gymnasium.make(base.spec, disable_env_checker=True).unwrapped


def _rendered(env: Env, stand_in: Env) -> Any:
    seen = stand_in
    for wrapper in reversed([w for w in wrappers_of(env) if changes_rendering(w)]):
        over = copy.copy(wrapper)
        over.env = seen
        seen = over
    return seen.render()


def _is_pygame(value: Any) -> bool:
    return type(value).__module__.split(".")[0] == "pygame"
