"""The events of a run, from `RunStarted` to `RunEnded`, and the `Observer`s that receive them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cartpole_dqn.contracts.pictures import Panel

if TYPE_CHECKING:  # The first screen of a run is drawn before torch is imported.
    from cartpole_dqn.contracts.parts import State


@dataclass(frozen=True)
class RunStarted:
    """A run starts, or resumes from `step`."""

    name: str
    """Agent and environment: "dqn on CartPole-v1, pixels"."""
    folder: str | None
    """The run's folder; None if the run saves nothing."""
    steps: int | None
    """The budget in environment steps, if there is one."""
    episodes: int | None
    """The budget in episodes, if there is one."""
    step: int
    """Environment steps before this session; 0 for a new run."""
    episode: int
    """Episodes that ended before this session."""
    num_envs: int
    replay_bytes: int = 0
    """Bytes that the replay takes when it is full."""
    solved_at: float | None = None
    """The mean return that counts as solved, if one is known."""
    evaluate_every: int = 0
    """Environment steps between evaluations; 0 for none."""


@dataclass(frozen=True)
class Progress:
    """A snapshot after each step of the environments."""

    step: int
    """Environment steps so far, over all lanes."""
    episode: int
    """Episodes ended so far."""
    seconds: float
    """Training time so far, with earlier sessions, without evaluations and checkpoints."""
    metrics: Mapping[str, float]
    """The latest metrics from `Agent.learn`; empty before the first update."""
    status: Mapping[str, float | str]
    """`Agent.status()`."""


@dataclass(frozen=True, kw_only=True)
class Glimpse:
    """One step of the first lane: the observation, the value of each action, and the action taken."""

    step: int
    """Environment steps so far, over all lanes."""
    panels: Sequence[Panel]
    """The observation before the action, as pictures or numbers."""
    observed: str = ""
    """Shape and dtype of the observation."""
    actions: Sequence[str] = ()
    """The names of the actions [A]."""
    q_values: NDArray[np.float32] | None = None
    """The policy's values of the actions [A]; None if it has none."""
    action: int | None = None
    """The action that was taken."""


@dataclass(frozen=True)
class Episode:
    """An episode ended."""

    episode: int
    """Counts from 1, in the order in which episodes end."""
    step: int
    """Environment steps so far, over all lanes."""
    env: int
    """The lane."""
    seed: int
    """The seed that the environment was reset with."""
    episode_return: float
    """The undiscounted sum of the environment's own rewards, before wrappers changed them."""
    length: int
    """Environment steps of the episode."""
    terminated: bool
    """False if the episode was only truncated."""
    progress: Progress


@dataclass(frozen=True)
class Evaluating:
    """An evaluation is running."""

    step: int
    """Environment steps of training so far."""
    stream: str
    """What the held-out seeds are for: "select" the best model, "confirm" that it solves, or "report" its score."""
    done: int
    """Episodes finished so far."""
    episodes: int
    """Episodes in total."""
    mean: float | None
    """Mean return so far; None before the first episode has ended."""


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation: greedy episodes on held-out seeds."""

    step: int
    """Environment steps that the model was trained for."""
    returns: tuple[float, ...]
    """The return of each episode."""
    lengths: tuple[int, ...]
    """The environment steps of each episode."""
    stream: str
    """As in `Evaluating`."""
    seconds: float
    best: bool = False
    """True if this model is the best so far and was saved."""

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(np.mean(self.returns))

    @property
    def std(self) -> float:
        """Standard deviation of the returns."""
        return float(np.std(self.returns))


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint was written."""

    step: int
    path: str
    nbytes: int
    seconds: float


@dataclass(frozen=True)
class RunEnded:
    """The run finished, or stopped cleanly."""

    reason: str
    """"done", "solved", or the name of the signal ("SIGINT")."""
    progress: Progress
    best: Evaluation | None
    evaluation_seconds: float
    checkpoint_seconds: float
    folder: str | None = None
    solved_step: int | None = None
    """Environment steps of the first model that solved the environment."""


@dataclass(frozen=True)
class RunFailed:
    """An exception ended the run."""

    step: int
    error: BaseException


class Observer:
    """Receives the events of a run. Override the methods you need. An observer that raises is switched off."""

    Options: ClassVar[type]
    needs_folder: ClassVar[bool] = False
    """True to leave the observer out of runs that have no folder."""

    def __init__(self, options: Any = None, context: ObserverContext | None = None) -> None:
        """Override this to use the options and the context."""

    @property
    def wants_glimpses(self) -> bool:
        """Whether the observer wants `glimpsed` calls now. The run reads this about twice a second."""
        return False

    def run_started(self, event: RunStarted) -> None:
        """Called when the run starts or resumes."""

    def updated(self, event: Progress) -> None:
        """Called after every step of the environments and the updates that followed it. Keep it fast."""

    def glimpsed(self, event: Glimpse) -> None:
        """Called about twice a second while `wants_glimpses` is True."""

    def episode_ended(self, event: Episode) -> None:
        """Called when an episode ends in any lane."""

    def evaluating(self, event: Evaluating) -> None:
        """Called when an evaluation starts, and after each of its episodes."""

    def evaluated(self, event: Evaluation) -> None:
        """Called after each evaluation."""

    def checkpoint_written(self, event: Checkpoint) -> None:
        """Called after each checkpoint."""

    def run_ended(self, event: RunEnded) -> None:
        """Called when the run has finished or stopped cleanly."""

    def run_failed(self, event: RunFailed) -> None:
        """Called when an exception ends the run."""

    def state_dict(self) -> State:
        """Return what a resumed run needs, such as histories."""
        return {}

    def load_state_dict(self, state: State) -> None:
        """Restore what `state_dict` returned."""


@dataclass(frozen=True, kw_only=True)
class ObserverContext:
    """The second argument of an observer's constructor, `Class(options, context)`."""

    folder: str | None
    """The run's folder; None if the run saves nothing."""
    console: Any
    """A `rich.console.Console` on stderr."""
    clock: Callable[[], float]
    """Seconds, monotonic."""
    plain: bool = False
    """True to print lines instead of a live display."""


_METHODS = [name for name, value in vars(Observer).items() if callable(value) and "event" in value.__annotations__]
"""Those that take an event."""


def as_observer_class(observer: Any) -> Callable[[Any, ObserverContext], Observer]:
    """Return a class, or a function, that takes (options, context) and returns an observer.

    Args:
        observer: a class of observers, an observer, or a function that takes one event.
    """
    if isinstance(observer, type):
        return observer
    if isinstance(observer, Observer):
        return lambda options, context: observer
    callback = Observer()
    for method in _METHODS:
        setattr(callback, method, observer)
    return lambda options, context: callback
