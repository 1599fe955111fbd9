"""`Playback`: greedy episodes of a run's policy, as scenes to draw.

Episode k of `--seed s` starts as in `evaluate`: from the k-th of the held-out seeds that s selects.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from gymnasium.error import DependencyNotInstalled
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

from cartpole_dqn.contracts.seeding import Stream, episode_seed
from cartpole_dqn.envs.factory import own_limit
from cartpole_dqn.envs.lanes import Lanes
from cartpole_dqn.envs.names import action_names, failure_name, rows_worth_showing, steps_per_second
from cartpole_dqn.envs.stages import Stage, stage_of
from cartpole_dqn.errors import CartpoleDqnError, RunError, UnsuitableEnvError, UserError, error_line
from cartpole_dqn.training.models import Model, SavedRun, Which, load_policy
from cartpole_dqn.views.attribution import Attribution, occlusion, place_in_frame
from cartpole_dqn.views.scene import CUT_OFF, Scene
from cartpole_dqn.wrappers.frames import as_colours, kind_of, mend, remedy
from cartpole_dqn.wrappers.render import prepare_display

_UNBOUNDED = 1e6
"""Larger bounds are treated as unbounded."""


class Playback(contextlib.AbstractContextManager["Playback"]):
    """A run's policy in an environment of its own, rendered at each step. As a context manager it closes at the end.

    Args:
        run: whose model plays.
        which: the best model, the last, or one that was loaded.
        seed: selects the held-out seeds, as in `evaluate`.
        max_steps: limit of each episode; None for the environment's own limit, as in evaluation.
        longest: limit of each episode if there is no other one.
        attribution: find out where the value of each chosen action comes from. That computes some hundred values.

    Raises:
        UserError: `max_steps` is below 1, or there is no attribution for this policy or these observations.
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
        longest: int | None = None,
        attribution: bool = False,
    ) -> None:
        if max_steps is not None and max_steps < 1:
            raise UserError(f"max_steps: expected 1 or more, got {max_steps}.")
        prepare_display()
        self._env_id = run.config.env.id
        self._policy, factory, _ = load_policy(run, which, for_viewing=True)
        self._seed = seed
        self._attribution = attribution
        guard = factory.make(evaluating=True)
        self._envs = SyncVectorEnv([lambda: guard], autoreset_mode=AutoresetMode.DISABLED)
        self._env = guard.env  # It has the environment's own numbers of actions.
        self.fps = steps_per_second(self._env)
        """Actions per second of real time."""
        self.limit = own_limit(self._env)
        """The limit of steps of the configuration or the environment, if there is one."""
        self.bound = longest if max_steps is None and self.limit is None else None
        """`longest`, if it limits the episodes."""
        self._max_steps = self.bound if max_steps is None else max_steps

    def episode(self, number: int) -> Iterator[Scene]:
        """Play episode `number` (from 1). Yield a scene before each action, and one at the end.

        Raises:
            RunError: the environment failed.
        """
        env, seed = self._env, episode_seed(Stream.REPORT, self._seed, 0, number - 1)
        lanes = Lanes(self._envs, seeds=lambda lane, episode: seed)
        ending, step = "", 0
        rows: slice | None = None
        scene_of = functools.partial(
            Scene,
            reaches=_reaches(env.observation_space),
            actions=action_names(env),
            episode=number,
            limit=self.limit,
            terminated_is=failure_name(env),
        )
        try:
            lanes.start()
            self._policy.reset(np.ones(1, dtype=np.bool_))
            for step in itertools.count():
                obs, mask = lanes.obs, lanes.mask
                # Values first: acting changes the state of a recurrent policy.
                values = self._policy.q_values(obs)
                if not ending and step == self._max_steps:
                    ending = CUT_OFF
                action = None if ending else int(self._policy.act(obs, mask)[0])
                stage = stage_of(env, obs[0])
                frame = self._render_frame()
                rows = rows_worth_showing(env, frame) if rows is None else rows
                attribution = None if action is None or not self._attribution else self._attribute(stage, action)
                yield scene_of(
                    frame=frame,
                    shown=rows,
                    panels=stage.panels(),
                    observed=stage.observed(),
                    q_values=None if values is None else values[0],
                    allowed=None if mask is None or mask.all() else mask[0],
                    action=action,
                    step=step,
                    total=lanes.returns[0],
                    ending=ending,
                    attribution=attribution,
                )
                if action is None:
                    return
                transition = lanes.step(np.array([action]))[0][0]
                ending = "terminated" if transition.terminated else "truncated" if transition.truncated else ""
        except CartpoleDqnError:
            raise
        except Exception as error:
            text = error_line(error)
            raise RunError(f"{self._env_id} failed after {step} steps of the episode of seed {seed}: {text}") from error

    def _attribute(self, stage: Stage, action: int) -> Attribution:
        """Return where the value of `action` comes from."""
        if not stage.pictorial:
            raise UserError(f"attribution needs observed pictures, and {self._env_id} is observed as numbers.")
        values: Any = self._policy.q_values
        if values(stage.obs[None]) is None:
            name = type(self._policy).__name__
            raise UserError(f"attribution needs the values of actions, and {name} has none.")
        change = occlusion(values, stage.obs, action, stage.background(), rows_axis=int(stage.stacked))
        return Attribution(change, place_in_frame(self._env, *change.shape))

    def _render_frame(self) -> NDArray[np.uint8]:
        """Return a copy of the moment's frame [H, W, 3], as the outermost wrapper draws it."""
        try:
            image = self._env.render()
        except DependencyNotInstalled as error:
            raise UnsuitableEnvError(f"{self._env_id} cannot be drawn: {error}") from None
        frame = as_colours(image)
        if frame is None:
            raise UnsuitableEnvError(
                f"{self._env_id} cannot be shown: expected frames uint8 [H, W, 3] from render(), got {kind_of(image)}. "
                f"To fix that, {mend(remedy(image))}"
            )
        return np.array(frame)

    def __exit__(self, *_: object) -> None:
        self._envs.close()


def _reaches(space: Any) -> NDArray[np.float64]:
    """Return the greatest absolute value of each number of an observation, NaN without a bound."""
    reach = np.maximum(np.abs(space.low.astype(np.float64)), np.abs(space.high.astype(np.float64))).reshape(-1)
    return np.where((reach > 0) & (reach < _UNBOUNDED), reach, np.nan)
