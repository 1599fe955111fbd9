"""`shows_cart_motion`: whether an observation of CartPole tells a moving cart from a standing one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np

Env = gymnasium.Env[Any, Any]

_STEPS, _PER_STEP = 8, 0.04
"""Steps before the moment that is compared, and how far the moving cart goes in each: 5 pixels of the screen."""
_PLACE = 0.002
"""Where the cart ends: a quarter of a pixel beyond the middle, away from where positions are rounded."""


def shows_cart_motion(base: Callable[[], Env], chain: Sequence[tuple[str, Callable[[Env], Env]]]) -> bool | None:
    """Return whether the last stage of a chain shows the cart's motion; None for another environment.

    Two carts with upright poles end at the same place. One came from the left, the other stood there all the time. If
    both observations are equal, the motion is gone: no policy can know it.

    Args:
        base: makes the environment without the chain.
        chain: (name, function env -> wrapped env), the innermost first.
    """
    standing, moving = _after(base, chain, 0.0), _after(base, chain, _PER_STEP)
    return None if standing is None or moving is None else not np.array_equal(standing, moving)


def _after(base: Callable[[], Env], chain: Sequence[tuple[str, Callable[[Env], Env]]], per_step: float) -> Any:
    """Return the observation after a cart went `per_step` a step to its place, with its pole upright."""
    env = base()
    try:
        if env.spec is None or env.spec.name != "CartPole":
            return None
        for _, wrap in chain:
            env = wrap(env)
        inner: Any = env.unwrapped
        env.reset(seed=0)
        obs: Any = None
        for step in range(1 - _STEPS, 1):
            # A step moves the cart by its velocity first, and turns a pole that stands still not at all.
            inner.state = np.array([_PLACE + per_step * (step - 1), per_step / inner.tau, 0.0, 0.0])
            obs = env.step(env.action_space.sample() if step < 0 else 0)[0]
        return np.array(obs)
    finally:
        env.close()
