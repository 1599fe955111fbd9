"""`Playback`: greedy episodes of a run's policy, as scenes to draw.

Episode k of `--seed s` starts as in `evaluate`: from the k-th of the held-out seeds that s selects.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
from gymnasium.error import DependencyNotInstalled
from gymnasium.wrappers import MaxAndSkipObservation
from numpy.typing import NDArray

from cartpole_dqn.contracts.seeding import Stream, episode_seed
from cartpole_dqn.envs.factory import NO_LIMIT_IN_EVALUATION, EnvFactory
from cartpole_dqn.envs.lanes import Lanes
from cartpole_dqn.envs.names import action_names, failure_name, number_names, rows_worth_showing
from cartpole_dqn.envs.stages import Stage, stage_of
from cartpole_dqn.errors import CartpoleDqnError, RunError, UnsuitableEnvError, UserError, error_line
from cartpole_dqn.training.models import Model, SavedRun, Which, load_policy
from cartpole_dqn.views.attribution import Attribution, background_of, occlusion, place_in_frame
from cartpole_dqn.views.scene import CUT_OFF, Scene
from cartpole_dqn.wrappers.frames import as_colours, kind_of, mend, remedy
from cartpole_dqn.wrappers.image import wrappers_of
from cartpole_dqn.wrappers.render import prepare_display

Env = gymnasium.Env[Any, Any]

_UNBOUNDED = 1e6
"""Larger bounds are treated as unbounded."""


class Playback(contextlib.AbstractContextManager["Playback"]):
    """A run's policy in an environment of its own, rendered at each step. As a context manager it closes at the end.

    Args:
        run: whose model plays.
        which: the best model, the last, or one that was loaded.
        seed: selects the held-out seeds, as in `evaluate`.
        max_steps: limit of each episode; None for the environment's own limit, as in evaluation.
        attribution: find out where the value of each chosen action comes from. That computes some hundred values.

    Raises:
        UserError: there is no attribution for this policy or these observations.
        RunFolderError, CheckpointError: there is no such model, or it is damaged.
        UnsuitableEnvError: the environment renders no pictures.
    """

    def __init__(
        self,
        run: SavedRun,
        *,
        which: Which | Model = "best",
        seed: int = 0,
        max_steps: int | None = None,
        attribution: bool = False,
    ) -> None:
        prepare_display()
        self.name = run.folder.path.name
        self._policy, loaded, _ = load_policy(run, which)
        self._seed = seed
        self.max_steps = max_steps
        self._attribution = attribution
        run.host.register_environments()
        factory = EnvFactory(run.config, run.host.registry, for_viewing=True)
        factory.statistics = loaded.statistics
        envs = factory.make_evaluation_vector(1)
        resting: Any = envs.envs[0]
        self._env: Env = resting.env.env  # Below its guard, which renumbers actions.
        self._lanes = Lanes(envs, seeds=lambda lane, episode: self._episode_seed)
        self._episode_seed = 0
        self._actions = action_names(self._env)
        self._number_names = number_names(self._env)
        self._reaches = _reaches(self._env.observation_space)

    @property
    def env_id(self) -> str:
        return self._env.spec.id if self._env.spec is not None else type(self._env.unwrapped).__name__

    @property
    def fps(self) -> float:
        """Actions per second of real time, from the environment's `render_fps`; by default 30."""
        render_fps = self._env.metadata.get("render_fps")
        fps = float(render_fps) if isinstance(render_fps, int | float) and render_fps > 0 else 30.0
        for wrapper in wrappers_of(self._env):
            if isinstance(wrapper, MaxAndSkipObservation):
                fps /= wrapper._skip
        return max(fps, 1.0)

    @property
    def has_limit(self) -> bool:
        """Whether the configuration or the environment limits the length of episodes."""
        limit = self._env.spec.max_episode_steps if self._env.spec is not None else None
        return limit is not None and limit != NO_LIMIT_IN_EVALUATION

    def episode(self, number: int) -> Iterator[Scene]:
        """Play episode `number` (from 1). Yield a scene before each action, and one at the end.

        Raises:
            RunError: the environment failed.
        """
        lanes = self._lanes
        self._episode_seed = episode_seed(Stream.REPORT, self._seed, 0, number - 1)
        total, ending, step = 0.0, "", 0
        rows: slice | None = None
        try:
            lanes.begin([0])
            self._policy.reset(np.ones(1, dtype=np.bool_))
            for step in itertools.count():
                obs, mask = lanes.obs, lanes.mask
                # Values first: acting changes the state of a recurrent policy.
                values = self._policy.q_values(obs)
                if not ending and step == self.max_steps:
                    ending = CUT_OFF
                action = None if ending else int(self._policy.act(obs, mask)[0])
                stage = stage_of(self._env, obs[0])
                frame = self._render_frame()
                rows = rows_worth_showing(self._env, frame) if rows is None else rows
                attribution = None if action is None or not self._attribution else self._attribute(stage, action)
                yield Scene(
                    frame=frame,
                    shown=rows,
                    panels=stage.panels(),
                    names=self._number_names,
                    reaches=self._reaches,
                    observed=stage.observed(),
                    actions=self._actions,
                    q_values=None if values is None else values[0],
                    allowed=None if mask is None or mask.all() else mask[0],
                    action=action,
                    episode=number,
                    step=step,
                    total=total,
                    ending=ending,
                    limit=None if self._env.spec is None else self._env.spec.max_episode_steps,
                    terminated_is=failure_name(self._env),
                    attribution=attribution,
                )
                if action is None:
                    return
                transition = lanes.step(np.array([action]))[0][0]
                total = lanes.returns[0]
                ending = "terminated" if transition.terminated else "truncated" if transition.truncated else ""
        except CartpoleDqnError:
            raise
        except Exception as error:
            text = error_line(error)
            seed = self._episode_seed
            raise RunError(f"{self.env_id} failed after {step} steps of the episode of seed {seed}: {text}") from error

    def _attribute(self, stage: Stage, action: int) -> Attribution:
        """Return where the value of `action` comes from."""
        if not stage.pictorial:
            raise UserError(f"there is no picture to show it in: {self.env_id} is observed as numbers.")
        obs, policy = stage.obs, self._policy

        def values(several: NDArray[Any]) -> NDArray[np.float32]:
            q_values = policy.q_values(several)
            if q_values is None:
                raise UserError(f"{type(policy).__name__} gives no values of actions, so nothing tells their source.")
            return q_values

        axis = int(stage.stacked)
        channelled = obs.ndim - axis == 3
        background = background_of(obs, stage.shows_now, rows_axis=axis, channelled=channelled)
        change = occlusion(values, obs, action, background, rows_axis=axis)
        return Attribution(change, place_in_frame(self._env, *change.shape))

    def _render_frame(self) -> NDArray[np.uint8]:
        """Return a copy of the moment's frame [H, W, 3], as the outermost wrapper draws it."""
        try:
            image = self._env.render()
        except DependencyNotInstalled as error:
            raise UnsuitableEnvError(f"{self.env_id} cannot be drawn: {error}") from None
        frame = as_colours(image)
        if frame is None:
            raise UnsuitableEnvError(
                f"{self.env_id} cannot be shown: expected frames uint8 [H, W, 3] from render(), got {kind_of(image)}. "
                f"To fix that, {mend(remedy(image))}"
            )
        return np.array(frame)

    def __exit__(self, *_: object) -> None:
        self._lanes.close()


def _reaches(space: Any) -> NDArray[np.float64]:
    """Return the greatest absolute value of each number of an observation, NaN without a bound."""
    reach = np.maximum(np.abs(space.low.astype(np.float64)), np.abs(space.high.astype(np.float64))).reshape(-1)
    return np.where((reach > 0) & (reach < _UNBOUNDED), reach, np.nan)
