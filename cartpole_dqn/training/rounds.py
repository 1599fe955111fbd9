"""Rounds of episodes that are played side by side, in this process or in another.

* `Player`: plays rounds in this process.
* `Helper`: a fork of this process with a player of its own.
* `free_processes`: how many helpers there is room for.

A round is the same wherever it is played: the same seeds in the same lanes, in batches of the same size.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv

from cartpole_dqn.contracts.collector import Ending
from cartpole_dqn.contracts.parts import Policy
from cartpole_dqn.envs.lanes import Lanes
from cartpole_dqn.envs.workers import end_with_parent, kill
from cartpole_dqn.system import usable_cores

MakeEnvs = Callable[[int], VectorEnv[Any, Any, Any]]

_MAX_HELPERS = 3
_CLOSING = 2.0
"""Seconds that an idle helper has to close its environments."""


class Player:
    """Plays rounds in this process.

    Args:
        make_envs: makes that many environments: see `EnvFactory.make_evaluation_vector`.
    """

    def __init__(self, make_envs: MakeEnvs) -> None:
        self._make_envs = make_envs
        self._envs: dict[int, VectorEnv[Any, Any, Any]] = {}  # by number of lanes

    def play(self, policy: Policy, seeds: Sequence[int]) -> Iterator[list[Ending]]:
        """Play one episode for each seed, and yield after each step the episodes that ended with it.

        `Ending.env` is the episode's place in `seeds`.

        Raises:
            EnvError: an environment failed.
        """
        num_lanes = len(seeds)
        if num_lanes not in self._envs:
            self._envs[num_lanes] = self._make_envs(num_lanes)
        # A lane whose episode has ended rests.
        lanes = Lanes(self._envs[num_lanes], seeds=lambda lane, episode: None if episode else seeds[lane])
        lanes.start()
        policy.reset(np.ones(num_lanes, dtype=np.bool_))
        remaining = num_lanes
        while remaining:
            _, endings = lanes.step(policy.act(lanes.obs, lanes.mask))
            yield endings
            if endings:
                remaining -= len(endings)
                lanes.begin([ending.env for ending in endings])

    def close(self) -> None:
        """Close the environments."""
        for envs in self._envs.values():
            envs.close()
        self._envs = {}


class Helper:
    """A fork of this process that plays rounds. It ends with this process, and leaves signals to it.

    If it fails in any way, it is `gone`. Then play its round in this process: an error appears there again.

    Args:
        make_policy: called in the fork, makes a policy to load weights into.
        make_envs: called in the fork, as for `Player`.
    """

    def __init__(self, make_policy: Callable[[], Policy], make_envs: MakeEnvs) -> None:
        context: Any = multiprocessing.get_context("fork")
        self.pipe: Connection
        """Readable when there are answers, for `multiprocessing.connection.wait`."""
        self.pipe, child_pipe = context.Pipe()
        self.idle = False
        """Whether it waits for a round."""
        self.gone = False
        self._awake = False
        self._process = context.Process(target=_help, args=(make_policy, make_envs, child_pipe), daemon=True)
        self._process.start()
        child_pipe.close()
        # If nobody calls `end`, the interpreter would wait for it at exit.
        self._end = Finalize(self, kill, args=([self._process],), exitpriority=10)

    def wake(self) -> None:
        """Let it make its policy and environments, if it has not. Then it is idle."""
        if not self._awake:
            self._awake = True
            self._send(None)

    def begin(self, model: bytes, seeds: Sequence[int]) -> None:
        """Give it a round to play. `model` is a policy's `state_dict()`, pickled."""
        self.idle = False
        self._send((model, seeds))

    def endings(self) -> list[Ending]:
        """Return the episodes that ended since the last call. Does not wait."""
        ended_episodes: list[Ending] = []
        try:
            while not self.gone and self.pipe.poll():
                answer = self.pipe.recv()
                if answer is None:
                    self.idle = True
                else:
                    ended_episodes += answer
        except (EOFError, OSError):
            self.end()
        return ended_episodes

    def end(self) -> None:
        """End the process. An idle one closes its environments first."""
        if self.gone:
            return
        if self.idle:
            self._send("close")
            self._process.join(_CLOSING)
        self.gone, self.idle = True, False
        self._end()
        self.pipe.close()

    def _send(self, message: Any) -> None:
        with contextlib.suppress(OSError):  # Reading tells that it is gone.
            self.pipe.send(message)


def free_processes(threads: int, device: str) -> int:
    """Return how many helpers to start beside a run with so many torch threads.

    There are none if torch may use threads or a GPU, which do not survive a fork; on systems where other libraries do
    not either; and in a process that itself is one of several, such as a sweep's trial.
    """
    forks = sys.platform == "linux" and threads == 1 and device == "cpu"
    if not forks or multiprocessing.parent_process() is not None:
        return 0
    return min(usable_cores() - 1, _MAX_HELPERS)


# In a helper ----------------------------------------------------------------------------------------------------------


def _help(make_policy: Callable[[], Policy], make_envs: MakeEnvs, pipe: Connection) -> None:
    """Play rounds until asked to close."""
    try:
        end_with_parent()
        # What it prints would appear twice, and in the middle of a live display.
        sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
        _serve(make_policy, Player(make_envs), pipe)
    finally:
        # Without the ends of the process that it was copied from: its buffers, locks and handlers.
        os._exit(0)


def _serve(make_policy: Callable[[], Policy], player: Player, pipe: Connection) -> None:
    policy: Policy | None = None
    while (message := pipe.recv()) != "close":
        if policy is None:
            policy = make_policy()
        if message is not None:
            model, seeds = message
            policy.load_state_dict(pickle.loads(model))  # from this program, through a pipe
            for endings in player.play(policy, seeds):
                if endings:
                    pipe.send(endings)
        pipe.send(None)
    player.close()
