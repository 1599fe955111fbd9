"""What a run tells, and who hears it.

* Events: `RunStarted`, `Progress`, `Episode`, `Evaluating`, `Evaluation`, `Checkpoint`, `RunEnded`, `RunFailed`.
* `Observer`: hears them, built as `Class(options, context)`; `ObserverContext`: what it is told of its surroundings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from cartpole_dqn.contracts.parts import State


@dataclass(frozen=True)
class RunStarted:
    """A run begins, or goes on from `step`."""

    name: str
    """What is trained on what: "dqn on CartPole-v1, pixels"."""
    folder: str | None
    steps: int | None
    """The run's total, where steps bound it."""
    episodes: int | None
    """Likewise episodes."""
    step: int
    episode: int
    num_envs: int
    replay_bytes: int = 0


@dataclass(frozen=True)
class Progress:
    """A snapshot after a step of the environments."""

    step: int
    """Environment steps so far, over all lanes."""
    episode: int
    """Episodes ended so far."""
    seconds: float
    """Training time so far: evaluation and checkpoints are not in it, earlier sessions are."""
    metrics: Mapping[str, float]
    """Latest figures of `Agent.learn`; empty before the first update."""
    status: Mapping[str, float | str]
    """`Agent.status()`."""


@dataclass(frozen=True)
class Episode:
    """An episode ended."""

    episode: int
    """Its number, from 1, in the order of endings."""
    step: int
    """Environment steps so far, over all lanes."""
    env: int
    seed: int
    """What its environment was reset with."""
    episode_return: float
    """The undiscounted sum of rewards."""
    length: int
    terminated: bool
    progress: Progress


@dataclass(frozen=True)
class Evaluating:
    """Greedy episodes are being played."""

    step: int
    """Environment steps of training so far."""
    stream: str
    """Which seeds: "select", "confirm" or "report"."""
    done: int
    """Episodes that have ended."""
    episodes: int
    """How many there will be."""
    mean: float | None
    """Mean return of those that have ended; None before the first."""


@dataclass(frozen=True)
class Evaluation:
    """Greedy episodes were played."""

    step: int
    returns: tuple[float, ...]
    lengths: tuple[int, ...]
    stream: str
    """Which seeds: "select", "confirm" or "report"."""
    seconds: float
    best: bool = False
    """Whether this model is the best of the run so far, and was kept."""

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(np.mean(self.returns))

    @property
    def std(self) -> float:
        """Standard deviation over the episodes."""
        return float(np.std(self.returns))


@dataclass(frozen=True)
class Checkpoint:
    """The run's state was written."""

    step: int
    path: str
    nbytes: int
    seconds: float


@dataclass(frozen=True)
class RunEnded:
    """The run is over, in order."""

    reason: str
    """"done", "solved", or the signal that ended it ("SIGINT")."""
    progress: Progress
    best: Evaluation | None
    evaluation_seconds: float
    checkpoint_seconds: float
    folder: str | None = None
    solved_step: int | None = None
    """Environment steps when a model was first confirmed to solve the environment."""


@dataclass(frozen=True)
class RunFailed:
    """The run was ended by an exception."""

    step: int
    error: BaseException


class Observer:
    """Hears of a run and changes nothing in it. Define what you want to hear; one that raises is switched off."""

    Options: ClassVar[type]
    needs_folder: ClassVar[bool] = False
    """Whether it can only be built where `ObserverContext.folder` is not None; else it is left out there."""

    def run_started(self, event: RunStarted) -> None:
        """The run begins or is resumed."""

    def updated(self, event: Progress) -> None:
        """The environments made a step, and what was due was learned. Called at every step: be quick."""

    def episode_ended(self, event: Episode) -> None:
        """An episode ended in some lane."""

    def evaluating(self, event: Evaluating) -> None:
        """Greedy episodes begin to be played, or one of them has ended."""

    def evaluated(self, event: Evaluation) -> None:
        """Greedy episodes were played."""

    def checkpoint_written(self, event: Checkpoint) -> None:
        """The run's state was written."""

    def run_ended(self, event: RunEnded) -> None:
        """The run is over, in order."""

    def run_failed(self, event: RunFailed) -> None:
        """The run was ended by an exception."""

    def state_dict(self) -> State:
        """Histories that a resumed run goes on with."""
        return {}

    def load_state_dict(self, state: State) -> None:
        """Take over what `state_dict` returned."""


@dataclass(frozen=True, kw_only=True)
class ObserverContext:
    """What an observer is told when it is built as `Class(options, context)`."""

    folder: str | None
    """The run's folder; None where nothing is kept."""
    console: Any
    """A `rich.console.Console` on stderr."""
    clock: Callable[[], float]
    """Seconds, monotonic."""
    plain: bool = False
    """Whether lines are wanted instead of a live display."""
