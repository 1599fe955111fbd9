"""`Evaluator`: plays greedy episodes on held-out seeds, several side by side."""

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
    """Plays greedy episodes on held-out seeds: those for selecting, confirming or reporting a model.

    Args:
        make_envs: makes that many environments: see `EnvFactory.make_evaluation_vector`.
        seed: of the run.
        clock: seconds, monotonic.
        should_stop: called at every step; if it returns True, `play` stops.
        told: called before the first episode and after each one.
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
        self._envs: dict[int, VectorEnv[Any, Any, Any]] = {}  # by number of lanes

    def play(
        self, policy: Policy, *, episodes: int, stream: Stream, series: int = 0, step: int = 0
    ) -> Evaluation | None:
        """Play `episodes` and return undiscounted returns and lengths, or None if it was stopped.

        Args:
            policy: acts; it is reset at the start of each episode.
            episodes: how many.
            stream: the kind of held-out seeds.
            series: selects seeds within the stream; the same series gives the same episodes.
            step: environment steps of training so far, for the record.

        Raises:
            EnvError: an environment failed.
        """
        began = self._clock()
        num_lanes = min(episodes, _MAX_LANES)
        upcoming = iter(range(episodes))
        playing: dict[int, int] = {}  # lane -> episode
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
