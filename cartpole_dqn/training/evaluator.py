"""`Evaluator`: plays greedy episodes on held-out seeds, several side by side and in several processes."""

from __future__ import annotations

import math
import pickle
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from multiprocessing import connection

from cartpole_dqn.contracts.collector import Ending
from cartpole_dqn.contracts.events import Evaluating, Evaluation
from cartpole_dqn.contracts.parts import Policy
from cartpole_dqn.contracts.seeding import Stream, episode_seed
from cartpole_dqn.training.rounds import Helper, MakeEnvs, Player

_MAX_LANES = 10
_LOOK_EVERY = 20
"""Steps of a round between two looks at the helpers."""
_SLICE = 0.1
"""Seconds of one wait for helpers."""
_GRACE, _SLOWER = 5.0, 3.0
"""A helper hangs if it takes these seconds longer than this multiple of the longest round here."""


class Evaluator:
    """Plays greedy episodes on held-out seeds: those for selecting, confirming or reporting a model.

    The episodes are played in rounds. Which process plays a round makes no difference to its results.

    Args:
        make_envs: makes that many environments: see `EnvFactory.make_evaluation_vector`.
        seed: of the run.
        clock: seconds, monotonic.
        should_stop: called at every step; if it returns True, `play` stops.
        on_progress: called before the first episode and after each one.
        helpers: processes that play rounds too.
    """

    def __init__(
        self,
        make_envs: MakeEnvs,
        *,
        seed: int,
        clock: Callable[[], float],
        should_stop: Callable[[], bool] = lambda: False,
        on_progress: Callable[[Evaluating], None] = lambda event: None,
        helpers: Sequence[Helper] = (),
    ) -> None:
        self._player = Player(make_envs)
        self._seed = seed
        self._clock = clock
        self._should_stop = should_stop
        self._on_progress = on_progress
        self._helpers = list(helpers)

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
        seeds = [episode_seed(stream, self._seed, series, number) for number in range(episodes)]
        results: dict[int, Ending] = {}

        def note(first: int, endings: Iterable[Ending]) -> None:
            for ending in endings:
                results[first + ending.env] = ending
                report_progress()

        def report_progress() -> None:
            mean = sum(ending.episode_return for ending in results.values()) / len(results) if results else None
            self._on_progress(Evaluating(step, stream.name.lower(), len(results), episodes, mean))

        report_progress()
        if not self._play_rounds(policy, seeds, note):
            return None
        returns = tuple(results[number].episode_return for number in range(episodes))
        lengths = tuple(results[number].length for number in range(episodes))
        return Evaluation(step, returns, lengths, stream.name.lower(), self._clock() - began)

    def close(self) -> None:
        """Close the environments and end the helpers."""
        self._player.close()
        for helper in self._helpers:
            helper.end()

    def _play_rounds(self, policy: Policy, seeds: list[int], note: Callable[[int, Iterable[Ending]], None]) -> bool:
        """Play an episode for each of the `seeds`; return False if it was stopped.

        Calls `note` with the number of a round's first episode, and with endings whose `env` counts from there.
        """
        size = min(_MAX_LANES, math.ceil(len(seeds) / 2))  # at least two rounds, for two processes
        waiting = deque(range(0, len(seeds), size))  # rounds, each by its first episode
        assigned: dict[Helper, int] = {}  # rounds that helpers play
        helpers = self._helpers if len(waiting) > 1 else []
        model = pickle.dumps(policy.state_dict()) if helpers else b""

        def look() -> None:
            """Take what helpers have played, and give rounds to those that are idle."""
            for helper in helpers:
                endings = helper.endings()
                if helper in assigned:
                    note(assigned[helper], endings)
                    if helper.gone:
                        waiting.append(assigned[helper])
                    if helper.gone or helper.idle:
                        del assigned[helper]
                if helper.idle and waiting:
                    assigned[helper] = waiting.popleft()
                    helper.begin(model, seeds[assigned[helper] : assigned[helper] + size])

        for helper in helpers:
            helper.wake()
        longest, patience = 0.0, math.inf
        try:
            while waiting or assigned:
                if waiting:
                    first, began = waiting.popleft(), time.monotonic()
                    for t, endings in enumerate(self._player.play(policy, seeds[first : first + size])):
                        note(first, endings)
                        if self._should_stop():
                            return False
                        if t % _LOOK_EVERY == 0:
                            look()
                    longest = max(longest, time.monotonic() - began)
                    patience = time.monotonic() + _GRACE + _SLOWER * longest
                elif self._should_stop():
                    return False
                elif not connection.wait([helper.pipe for helper in assigned], _SLICE) and time.monotonic() > patience:
                    for helper in assigned:
                        helper.end()
                look()
            return True
        finally:
            for helper in assigned:  # in the middle of a round
                helper.end()
