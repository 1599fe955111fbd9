"""Finding out what an environment draws, without touching it.

* `sample_frame`: a frame such as the environment's `render()` will give.
* `changes_rendering`: whether a wrapper has a say in what `render()` gives.
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
    """Return what `env.render()` gives in some state; whatever that is.

    In this order, the first that works: a copy of the unwrapped environment, reset with a fixed seed; another one made
    from its spec, likewise; the environment itself, as it is; the environment itself, reset with a fixed seed, its
    random generator put back. Wrappers that change the rendering are laid over the stand-in, others are left out:
    their `reset` (recording a video, say) is not called.
    """
    base = env.unwrapped
    for stand_in_for in (_copied, _made_anew):
        try:
            stand_in = stand_in_for(base)
            stand_in.reset(seed=_SEED)
            frame = _rendered(env, stand_in)
        except Exception:  # An environment may refuse in any way of its own; the next way is tried.
            continue
        if stand_in_for is _made_anew:
            _close(stand_in)
        if frame is not None:
            return frame
    return _own_frame(env, base)


def changes_rendering(wrapper: gymnasium.Wrapper[Any, Any, Any, Any]) -> bool:
    """Whether `wrapper.render()` may give something else than the environment inside it."""
    own = type(wrapper).render is not gymnasium.Wrapper.render or "render" in vars(wrapper)
    return own and type(wrapper) not in _PASS_ON


def _copied(base: Env) -> Env:
    # Surfaces and clocks cannot be copied. Environments make theirs when they find None.
    drawn_on = {id(value): None for value in vars(base).values() if _is_pygame(value)}
    return copy.deepcopy(base, drawn_on)


def _made_anew(base: Env) -> Env:
    if base.spec is None:
        raise LookupError("no spec")
    return gymnasium.make(base.spec, disable_env_checker=True).unwrapped


def _close(stand_in: Env) -> None:
    # Closing an environment that pygame draws ends pygame for the whole process, and with it the windows and fonts of
    # environments that are alive; what it holds besides needs no closing.
    if not any(_is_pygame(value) for value in vars(stand_in).values()):
        stand_in.close()


def _rendered(env: Env, stand_in: Env) -> Any:
    seen = stand_in
    for wrapper in reversed([w for w in wrappers_of(env) if changes_rendering(w)]):
        over = copy.copy(wrapper)
        over.env = seen
        seen = over
    return seen.render()


def _own_frame(env: Env, base: Env) -> Any:
    try:
        frame = _rendered(env, base)
    except Exception:  # Before the first reset, rendering may fail in any way.
        frame = None
    if frame is not None:
        return frame
    generator, seed = base._np_random, base._np_random_seed
    base.reset(seed=_SEED)
    base._np_random, base._np_random_seed = generator, seed
    return _rendered(env, base)


def _is_pygame(value: Any) -> bool:
    return type(value).__module__.split(".")[0] == "pygame"
