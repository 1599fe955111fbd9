"""Greedy episodes on seeds that training never sees.

`Evaluator` plays a policy in environments of its own, several side by side so that the network sees batches, and
returns the undiscounted returns. Every episode is reset with a seed from one of three streams: selecting the best
model, confirming it, reporting it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

from cartpole_dqn.contracts.events import Evaluating, Evaluation
from cartpole_dqn.contracts.parts import Policy
from cartpole_dqn.contracts.seeding import Stream, episode_seed
from cartpole_dqn.envs.lanes import allowed_actions

_MAX_LANES = 10


class Evaluator:
    """Plays episodes greedily.

    Args:
        make_env: makes one environment, with the time limit that evaluation has.
        seed: where the episodes' seeds come from.
        clock: seconds, monotonic.
        should_stop: asked at every step; playing is broken off once it returns True.
        told: hears how far it is, before the first episode and at the end of each.
    """

    def __init__(
        self,
        make_env: Callable[[], gymnasium.Env[Any, Any]],
        *,
        seed: int,
        clock: Callable[[], float],
        should_stop: Callable[[], bool] = lambda: False,
        told: Callable[[Evaluating], None] = lambda event: None,
    ) -> None:
        self._make_env = make_env
        self._seed = seed
        self._clock = clock
        self._should_stop = should_stop
        self._told = told
        self._envs: list[gymnasium.Env[Any, Any]] = []

    def play(
        self, policy: Policy, *, episodes: int, stream: Stream, series: int = 0, step: int = 0
    ) -> Evaluation | None:
        """Play `episodes` and return their figures, or None if it was broken off.

        Args:
            policy: acts; its episode state is reset with each episode.
            episodes: how many.
            stream: which seeds.
            series: which run of seeds within the stream; equal series are equal episodes.
            step: environment steps trained so far, for the record.
        """
        began = self._clock()
        lanes = min(episodes, _MAX_LANES)
        while len(self._envs) < lanes:
            self._envs.append(self._make_env())
        seeds = [episode_seed(stream, self._seed, series, k) for k in range(episodes)]
        returns, lengths = [0.0] * episodes, [0] * episodes
        ended_returns: list[float] = []
        playing: list[int | None] = [None] * lanes
        upcoming = iter(range(episodes))
        first_env = self._envs[0]
        first_action = int(getattr(first_env.action_space, "start", 0))
        num_actions = int(first_env.action_space.n)  # type: ignore[attr-defined]
        space = first_env.observation_space
        obs = np.zeros((lanes, *(space.shape or ())), dtype=space.dtype)
        mask = np.ones((lanes, num_actions), dtype=np.bool_)

        def begin(lane: int) -> None:
            playing[lane] = next(upcoming, None)
            if playing[lane] is not None:
                obs[lane], info = self._envs[lane].reset(seed=seeds[playing[lane]])  # type: ignore[index]
                mask[lane] = _allowed(info, num_actions)

        def tell() -> None:
            mean = sum(ended_returns) / len(ended_returns) if ended_returns else None
            self._told(Evaluating(step, stream.name.lower(), len(ended_returns), episodes, mean))

        tell()
        for lane in range(lanes):
            begin(lane)
        policy.reset(np.ones(lanes, dtype=np.bool_))
        while any(k is not None for k in playing):
            if self._should_stop():
                return None
            actions = policy.act(obs, None if mask.all() else mask)
            ended = np.zeros(lanes, dtype=np.bool_)
            for lane, k in enumerate(playing):
                if k is None:
                    continue
                obs[lane], reward, terminated, truncated, info = self._envs[lane].step(
                    int(actions[lane]) + first_action
                )
                returns[k] += float(reward)
                lengths[k] += 1
                ended[lane] = terminated or truncated
                if ended[lane]:
                    ended_returns.append(returns[k])
                    tell()
                    begin(lane)
                else:
                    mask[lane] = _allowed(info, num_actions)
            if ended.any():
                policy.reset(ended)
        seconds = self._clock() - began
        return Evaluation(step, tuple(returns), tuple(lengths), stream.name.lower(), seconds)

    def close(self) -> None:
        """Close the environments."""
        for env in self._envs:
            env.close()
        self._envs = []


def _allowed(info: dict[str, Any], num_actions: int) -> Any:
    mask = info.get("action_mask")
    return np.ones(num_actions, dtype=np.bool_) if mask is None else allowed_actions(mask, num_actions)
