"""Greedy episodes on seeds that training never sees.

`Evaluator` plays a policy in environments of its own, several side by side so that the network sees batches, and
returns the undiscounted returns. Every episode is reset with a seed from one of three streams: selecting the best
model, confirming it, reporting it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv

from cartpole_dqn.contracts.events import Evaluating, Evaluation
from cartpole_dqn.contracts.parts import Policy
from cartpole_dqn.contracts.seeding import Stream, episode_seed
from cartpole_dqn.envs.lanes import Lanes

_MAX_LANES = 10


class Evaluator:
    """Plays episodes greedily.

    Args:
        make_envs: makes that many environments which can rest: see `EnvFactory.make_evaluation_vector`.
        seed: where the episodes' seeds come from.
        clock: seconds, monotonic.
        should_stop: asked at every step; playing is broken off once it returns True.
        told: hears how far it is, before the first episode and at the end of each.
    """

    def __init__(
        self,
        make_envs: Callable[[int], VectorEnv[Any, Any, Any]],
        *,
        seed: int,
        clock: Callable[[], float],
        should_stop: Callable[[], bool] = lambda: False,
        told: Callable[[Evaluating], None] = lambda event: None,
    ) -> None:
        self._make_envs = make_envs
        self._seed = seed
        self._clock = clock
        self._should_stop = should_stop
        self._told = told
        self._envs: dict[int, VectorEnv[Any, Any, Any]] = {}  # by their number

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

        Raises:
            EnvError: an environment broke its contract.
        """
        began = self._clock()
        num_lanes = min(episodes, _MAX_LANES)
        upcoming = iter(range(episodes))
        playing: dict[int, int] = {}  # the number of the episode in each lane
        returns, lengths = [0.0] * episodes, [0] * episodes
        ended_returns: list[float] = []

        def next_seed(lane: int, _: int) -> int | None:
            number = next(upcoming, None)
            if number is None:
                return None
            playing[lane] = number
            return episode_seed(stream, self._seed, series, number)

        def tell() -> None:
            mean = sum(ended_returns) / len(ended_returns) if ended_returns else None
            self._told(Evaluating(step, stream.name.lower(), len(ended_returns), episodes, mean))

        if num_lanes not in self._envs:
            self._envs[num_lanes] = self._make_envs(num_lanes)
        lanes = Lanes(self._envs[num_lanes], seeds=next_seed)
        tell()
        lanes.start()
        policy.reset(np.ones(num_lanes, dtype=np.bool_))
        while len(ended_returns) < episodes:
            if self._should_stop():
                return None
            _, endings = lanes.step(policy.act(lanes.obs, lanes.mask))
            if not endings:
                continue
            for ending in endings:
                number = playing[ending.env]
                returns[number], lengths[number] = ending.episode_return, ending.length
                ended_returns.append(ending.episode_return)
                tell()
            ended = [ending.env for ending in endings]
            lanes.begin(ended)
            which = np.zeros(num_lanes, dtype=np.bool_)
            which[ended] = True
            policy.reset(which)
        seconds = self._clock() - began
        return Evaluation(step, tuple(returns), tuple(lengths), stream.name.lower(), seconds)

    def close(self) -> None:
        """Close the environments."""
        for envs in self._envs.values():
            envs.close()
        self._envs = {}
