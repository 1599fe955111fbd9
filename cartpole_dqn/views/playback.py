"""A run's model at play, moment by moment, for whoever looks.

* `Playback`: greedy episodes of a run's policy in an environment that can be seen.

Episode k of seed s is reset as `evaluate` resets it: with the k-th report seed of s, which neither training nor
selecting ever saw.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
from gymnasium.error import DependencyNotInstalled
from gymnasium.wrappers import MaxAndSkipObservation
from numpy.typing import NDArray

from cartpole_dqn.config.schema import RunConfig
from cartpole_dqn.contracts.options import changed
from cartpole_dqn.contracts.parts import Obs
from cartpole_dqn.contracts.seeding import Stream, episode_seed
from cartpole_dqn.envs.factory import EnvFactory
from cartpole_dqn.envs.lanes import Lanes
from cartpole_dqn.errors import CartpoleDqnError, RunError, UnsuitableEnvError, said_by
from cartpole_dqn.plugin.host import PluginHost
from cartpole_dqn.runs.folder import RunFolder
from cartpole_dqn.training.models import Which, load_policy
from cartpole_dqn.views.names import action_names, number_names
from cartpole_dqn.views.preview import stage_of
from cartpole_dqn.views.scene import Scene
from cartpole_dqn.wrappers.frames import as_colours, kind_of
from cartpole_dqn.wrappers.image import wrappers_of
from cartpole_dqn.wrappers.render import prepare_display

Env = gymnasium.Env[Any, Any]

_USUAL_FPS = 30
_UNBOUNDED = 1e6
"""Bounds from here on are those of the number's type."""


class Playback:
    """A run's policy in one environment of its own, drawn at each step.

    Args:
        folder: the run's folder.
        config: the run's configuration.
        host: the loaded plugins.
        which: the best model, or the last.
        seed: which report seeds.
        max_steps: where an episode is cut off; None leaves it to the environment, as evaluation does.

    Raises:
        RunFolderError, CheckpointError: the run has no such model, or it is damaged.
        UnsuitableEnvError: the environment draws nothing.
    """

    def __init__(
        self,
        folder: RunFolder,
        config: RunConfig,
        host: PluginHost,
        *,
        which: Which = "best",
        seed: int = 0,
        max_steps: int | None = None,
    ) -> None:
        prepare_display()
        self.name = folder.path.name
        self._policy, _, self.trained_steps = load_policy(folder, config, host, which)
        self._seed = seed
        self._max_steps = max_steps
        envs = _Seen(config, host).make_evaluation_vector(1)
        resting: Any = envs.envs[0]
        self._env: Env = resting.env.env  # below its guard: its actions are named as it counts them
        self._lanes = Lanes(envs, seeds=lambda lane, episode: self._episode_seed)
        self._episode_seed = 0
        self._actions = action_names(self._env)
        self._number_names = number_names(self._env)
        self._reaches = _reaches(self._env.observation_space)

    @property
    def env_id(self) -> str:
        """The environment's id."""
        return self._env.spec.id if self._env.spec is not None else type(self._env.unwrapped).__name__

    @property
    def fps(self) -> float:
        """Actions in a second of real time: what the environment says of its frames, 30 where it says nothing."""
        said = self._env.metadata.get("render_fps")
        fps = float(said) if isinstance(said, int | float) and said > 0 else float(_USUAL_FPS)
        for wrapper in wrappers_of(self._env):
            if isinstance(wrapper, MaxAndSkipObservation):
                fps /= wrapper._skip
        return max(fps, 1.0)

    def episode(self, number: int) -> Iterator[Scene]:
        """Play episode `number` (from 1); yield a scene before each action, and one at the end.

        Raises:
            RunError: the environment failed.
        """
        lanes = self._lanes
        self._episode_seed = episode_seed(Stream.REPORT, self._seed, 0, number - 1)
        total, ending = 0.0, ""
        step = 0
        try:
            lanes.begin([0])
            self._policy.reset(np.ones(1, dtype=np.bool_))
            for step in itertools.count():
                obs, mask = lanes.obs, lanes.mask
                # Values first: what a policy remembers of the episode changes when it acts.
                values = self._policy.q_values(obs)
                if not ending and step == self._max_steps:
                    ending = "cut off"
                action = None if ending else int(self._policy.act(obs, mask)[0])
                yield Scene(
                    **self._seen(obs[0]),
                    q_values=None if values is None else values[0],
                    allowed=None if mask is None or mask.all() else mask[0],
                    action=action,
                    episode=number,
                    step=step,
                    total=total,
                    ending=ending,
                )
                if action is None:
                    return
                made = lanes.step(np.array([action]))[0][0]
                total += made.reward
                ending = "terminated" if made.terminated else "truncated" if made.truncated else ""
        except CartpoleDqnError:
            raise
        except Exception as error:
            what = said_by(error)
            seed = self._episode_seed
            raise RunError(f"{self.env_id} failed after {step} steps of the episode of seed {seed}: {what}") from error

    def close(self) -> None:
        """Close the environment."""
        self._lanes.close()

    def __enter__(self) -> Playback:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _seen(self, obs: Obs) -> dict[str, Any]:
        """Return what a scene says of the environment, the agent's observation and the actions."""
        stage = stage_of(self._env, obs)
        return {
            "frame": self._env.get_wrapper_attr("drawn")(),
            "panels": stage.panels(),
            "names": self._number_names,
            "reaches": self._reaches,
            "observed": stage.observed(),
            "actions": self._actions,
        }


def _reaches(space: Any) -> NDArray[np.float64]:
    """Return how far from zero each number of an observation may be, NaN where no bound says."""
    reach = np.maximum(np.abs(space.low.astype(np.float64)), np.abs(space.high.astype(np.float64))).reshape(-1)
    return np.where((reach > 0) & (reach < _UNBOUNDED), reach, np.nan)


class _Seen(EnvFactory):
    """Makes environments that can be looked at, whatever is observed."""

    def __init__(self, config: RunConfig, host: PluginHost) -> None:
        self._host = host
        self._id = config.env.id
        host.register_environments()
        plain = EnvFactory(config, host.registry).base(evaluating=True)
        modes = plain.metadata.get("render_modes") or []
        plain.close()
        if "rgb_array" not in modes:
            raise UnsuitableEnvError(
                f"{self._id} draws nothing that could be shown: it has no render mode rgb_array (its modes: "
                f"{', '.join(map(str, modes)) or 'none'}). `cartpole-dqn evaluate` plays it unseen."
            )
        kwargs = {**config.env.kwargs, "render_mode": "rgb_array"}
        super().__init__(changed(config, env=changed(config.env, kwargs=kwargs)), host.registry)

    def base(self, *, evaluating: bool = False) -> Env:
        """See `EnvFactory.base`."""
        return _DrawnOnce(super().base(evaluating=evaluating))


class _DrawnOnce(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Draws each moment once, whoever asks: the agent's wrappers or whoever looks.

    Drawing changes some environments (LunarLander's sparks age with it), and costs most of a step's time.
    """

    def __init__(self, env: Env) -> None:
        super().__init__(env)
        self._frame: Any = None

    def reset(self, **kwargs: Any) -> Any:
        """See `gymnasium.Env`."""
        self._frame = None
        return self.env.reset(**kwargs)

    def step(self, action: Any) -> Any:
        """See `gymnasium.Env`."""
        self._frame = None
        return self.env.step(action)

    def render(self) -> Any:
        """Return the moment's frame; who changes it changes what the others see."""
        if self._frame is None:
            self._frame = self.env.render()
        return self._frame

    def drawn(self) -> NDArray[np.uint8]:
        """Return the frame [H, W, 3] for people. Raises `UnsuitableEnvError` where it is none."""
        env_id = self.spec.id if self.spec is not None else type(self.unwrapped).__name__
        try:
            frame = as_colours(self.render())
        except DependencyNotInstalled as error:
            raise UnsuitableEnvError(f"{env_id} cannot be drawn: {error}") from None
        if frame is None:
            raise UnsuitableEnvError(
                f"{env_id} cannot be shown: expected frames uint8 [H, W, 3] from render(), got {kind_of(self._frame)}."
            )
        return np.array(frame)
