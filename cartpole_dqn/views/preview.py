"""What an agent sees: the same moment after each wrapper of an observation, as labelled pictures.

* `make_preview`: the `Preview` of a configuration, to draw with `preview_drawing`.
* `preview_stages`: plays a few random steps and returns the stages of the last moment.
* `shows_cart_motion`: whether an observation of CartPole tells a moving cart from a standing one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from cartpole_dqn.config.schema import RunConfig
from cartpole_dqn.contracts.pictures import Kept
from cartpole_dqn.envs.factory import EnvFactory
from cartpole_dqn.envs.guard import close_env
from cartpole_dqn.envs.stages import Stage, stage_of
from cartpole_dqn.errors import CartpoleDqnError, RunError, error_line
from cartpole_dqn.plugin.host import PluginHost
from cartpole_dqn.wrappers import RenderObservation
from cartpole_dqn.wrappers.image import ImageWrapper

Env = gymnasium.Env[Any, Any]

Chain = Sequence[tuple[str, Callable[[Env], Env]]]
"""(name, function env -> wrapped env), the innermost first."""

_STEPS, _PER_STEP = 8, 0.04
"""Steps before the moment that is compared, and how far the moving cart goes in each: 5 pixels of the screen."""
_PLACE = 0.002
"""Where the cart ends: a quarter of a pixel beyond the middle, away from where positions are rounded."""


@dataclass(frozen=True)
class Preview:
    """The stages of one observation. The rest is drawn above them where several previews stand side by side."""

    stages: Sequence[Stage]
    title: str = ""
    finding: str = ""
    """What was found out about it."""
    good: bool = True
    """Whether that is good, for its colour."""


def make_preview(
    config: RunConfig, host: PluginHost, title: str, *, seed: int, steps: int, with_motion: bool
) -> Preview:
    """Return the stages of a moment; if `with_motion`, with whether the last one shows the cart's motion.

    Raises `UserError` if the environment or a wrapper does not fit, and `RunError` if the environment fails.
    """
    factory = EnvFactory(config, host)
    # Not `factory.make()`: it refuses environments that cannot be learned, such as those with continuous actions.
    chain = factory.chain()
    try:
        stages = preview_stages(factory.base, chain, seed=seed, steps=steps)
        moves = shows_cart_motion(factory.base, chain) if with_motion else None
    except CartpoleDqnError:
        raise
    except Exception as error:
        problem = error_line(error)
        raise RunError(f"{config.env.id} failed within {steps} random steps of seed {seed}: {problem}") from error
    finding = "" if moves is None else f"cart's motion: {'kept' if moves else 'gone'}"
    return Preview(stages, title, finding, good=bool(moves))


def preview_stages(base: Callable[[], Env], chain: Chain, *, seed: int, steps: int = 12) -> list[Stage]:
    """Return one moment as each stage of a chain of wrappers observes it.

    Args:
        base: makes the environment without the chain.
        chain: its wrappers.
        seed: of the episode and of the random actions.
        steps: actions before the moment. If the episode ends earlier, the moment is the one before its end.

    Returns:
        The frame that `base` renders if its `render_mode` is "rgb_array", otherwise its observation; then one stage for
        each entry of the chain.
    """
    inner = base()
    env: Env = inner
    try:
        recorders: list[_Recorder] = []
        frame = inner.render_mode == "rgb_array"
        # A wrapper that renders may need the environment right below it, without a recorder between them.
        first: Chain = [] if frame else [("environment", lambda env: env)]
        for name, wrap in [*first, *chain]:
            wrapped = wrap(env)
            if wrapped is env and env is not inner:  # nothing to do
                continue
            env = _Recorder(wrapped, name)
            recorders.append(env)
        env.action_space.seed(seed)
        _, info = env.reset(seed=seed)
        for taken in range(steps):
            mask = info.get("action_mask") if isinstance(env.action_space, spaces.Discrete) else None
            masked = {} if mask is None else {"mask": np.asarray(mask, dtype=np.int8)}
            _, _, terminated, truncated, info = env.step(env.action_space.sample(**masked))
            if terminated or truncated:
                steps = taken
                break
        else:
            return _stages_of(inner if frame else None, recorders)
    finally:
        close_env(env)
    return preview_stages(base, chain, seed=seed, steps=steps)  # Once more, up to the moment before the end.


def shows_cart_motion(base: Callable[[], Env], chain: Chain) -> bool | None:
    """Return whether the last stage of a chain shows the cart's motion; None for another environment.

    Two carts with upright poles end at the same place. One came from the left, the other stood there all the time. If
    both observations are equal, the motion is gone: no policy can know it. Arguments as for `preview_stages`.
    """
    standing, moving = _after(base, chain, 0.0), _after(base, chain, _PER_STEP)
    return None if standing is None or moving is None else not np.array_equal(standing, moving)


class _Recorder(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Keeps a copy of the last observation."""

    def __init__(self, env: Env, name: str) -> None:
        super().__init__(env)
        self._name = name
        self._obs: Any = None

    def observation(self, observation: Any) -> Any:
        # A copy, because wrappers may reuse the array.
        single = isinstance(observation, np.generic | int)
        self._obs = np.array(observation) if single else copy.deepcopy(observation)
        return observation

    def stage(self) -> Stage:
        return stage_of(self.env, self._obs, self._name)

    @property
    def kept(self) -> Kept | None:
        """The part that the wrapper below kept of its last input, if it crops."""
        return self.env.window if isinstance(self.env, ImageWrapper | RenderObservation) else None


def _stages_of(rendered: Env | None, recorders: Sequence[_Recorder]) -> list[Stage]:
    """Return what the recorders hold, after the frame of an environment that is `rendered`."""
    stages = [recorder.stage() for recorder in recorders]
    if rendered is not None:
        stages.insert(0, Stage("env.render()", np.array(rendered.render()), None))
    crops = [recorder.kept for recorder in recorders[0 if rendered is not None else 1 :]]
    if rendered is not None and crops and not isinstance(recorders[0].env, RenderObservation):
        crops[0] = None  # It crops something other than the frame.
    stages[:-1] = [replace(stage, kept=part) for stage, part in zip(stages[:-1], crops, strict=True)]
    return stages


def _after(base: Callable[[], Env], chain: Chain, per_step: float) -> Any:
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
