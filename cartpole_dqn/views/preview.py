"""What an agent sees: the same moment after each wrapper of an observation, as labelled pictures.

* `preview_stages`: plays a few random steps and returns the stages of the last moment.

`views.preview_drawing` draws them as one picture.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from cartpole_dqn.contracts.pictures import Kept
from cartpole_dqn.envs.guard import close_env
from cartpole_dqn.envs.stages import Stage, stage_of
from cartpole_dqn.wrappers import RenderObservation
from cartpole_dqn.wrappers.image import ImageWrapper

Env = gymnasium.Env[Any, Any]

_ATTEMPTS = 20


def preview_stages(
    base: Callable[[], Env], chain: Sequence[tuple[str, Callable[[Env], Env]]], *, seed: int, steps: int = 12
) -> list[Stage]:
    """Return one moment as each stage of a chain of wrappers observes it.

    Args:
        base: makes the environment without the chain.
        chain: (name, function env -> wrapped env), the innermost first.
        seed: of the episode and of the random actions.
        steps: actions before the moment. If the episode ends earlier, the moment is the one before its end.

    Returns:
        The frame that `base` renders if its `render_mode` is "rgb_array", otherwise its observation; then one stage for
        each entry of the chain.
    """
    taken, ended, stages = _look(base, chain, seed, steps)
    for _ in range(_ATTEMPTS):
        if not ended or taken == 0:
            break
        taken, ended, stages = _look(base, chain, seed, taken - 1)
    return stages


# Looking --------------------------------------------------------------------------------------------------------------


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


def _look(
    base: Callable[[], Env], chain: Sequence[tuple[str, Callable[[Env], Env]]], seed: int, steps: int
) -> tuple[int, bool, list[Stage]]:
    """Take up to `steps` random actions. Return their number, whether the episode ended, and the stages."""
    inner = base()
    env: Env = inner
    try:
        recorders: list[_Recorder] = []
        frame = inner.render_mode == "rgb_array"
        # A wrapper that renders may need the environment right below it, without a recorder between them.
        first: list[tuple[str, Callable[[Env], Env]]] = [] if frame else [("environment", lambda env: env)]
        for name, wrap in [*first, *chain]:
            wrapped = wrap(env)
            if wrapped is env and env is not inner:  # nothing to do
                continue
            env = _Recorder(wrapped, name)
            recorders.append(env)
        env.action_space.seed(seed)
        _, info = env.reset(seed=seed)
        taken, ended = 0, False
        while taken < steps and not ended:
            mask = info.get("action_mask") if isinstance(env.action_space, spaces.Discrete) else None
            masked = {} if mask is None else {"mask": np.asarray(mask, dtype=np.int8)}
            _, _, terminated, truncated, info = env.step(env.action_space.sample(**masked))
            ended = terminated or truncated
            taken += 1
        stages = [recorder.stage() for recorder in recorders]
        if frame:
            stages.insert(0, Stage("env.render()", np.array(inner.render()), None))
        kept = [recorder.kept for recorder in recorders[0 if frame else 1 :]]
        if frame and kept and not isinstance(recorders[0].env, RenderObservation):
            kept[0] = None  # It crops something other than the frame.
        stages[:-1] = [replace(stage, kept=part) for stage, part in zip(stages[:-1], kept, strict=True)]
        return taken, ended, stages
    finally:
        close_env(env)
