"""The data of a display: events go in, immutable snapshots come out.

* `Tracker`: the observer that displays derive from. Another thread may call `snapshot`.
* `Snapshot`: a run at one moment: the figures in `Returns`, the curves in `Trail`.
* `Folded`: a curve of bounded size.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite, nan
from statistics import fmean
from typing import TYPE_CHECKING, Any

from cartpole_dqn.contracts import events

if TYPE_CHECKING:
    from cartpole_dqn.contracts.parts import State

POINTS = 256
_MOST_EVALUATIONS = 300
_SAMPLE_SECONDS = 0.5
_EVALUATIONS = ("evaluation", "previous", "best", "solved")
"""The fields of a snapshot that are evaluations."""
_RATE_SAMPLES = 21  # The rate is taken from the first to the last of them: over ten seconds.


@dataclass(frozen=True)
class Returns:
    """The undiscounted returns so far; None before the first episode. `mean_N` is over the last N or fewer."""

    last: float | None = None
    mean_20: float | None = None
    mean_100: float | None = None
    best: float | None = None
    mean_length_20: float | None = None


@dataclass(frozen=True)
class Trail:
    """The curves of the whole run so far: at most `POINTS` points, each the mean of equally many episodes."""

    steps: tuple[float, ...] = ()
    """Environment steps at the episodes' ends."""
    returns: tuple[float, ...] = ()
    means_20: tuple[float, ...] = ()
    means_100: tuple[float, ...] = ()
    epsilon: tuple[float, ...] = ()
    """NaN where the agent has none."""
    evaluations: tuple[tuple[float, float], ...] = ()
    """(step, mean) of the evaluations that choose the best model, at most the last 300."""

    def points(self, values: Sequence[float]) -> tuple[tuple[float, float], ...]:
        """Return (step, value) of each of the `values` that is finite."""
        return tuple((step, value) for step, value in zip(self.steps, values, strict=True) if isfinite(value))


@dataclass
class Snapshot:
    """A run at one moment, for drawing."""

    started: events.RunStarted
    progress: events.Progress | None = None
    """None before the first step."""
    elapsed: float = 0.0
    """Seconds by the clock, over all sessions, including evaluation and checkpoints."""
    remaining: float | None = None
    """Estimated seconds until the budget is spent; None while unknown."""
    rate: float | None = None
    """Recent environment steps per second of training."""
    idle: float = 0.0
    """Seconds since the last step, evaluation or checkpoint."""
    returns: Returns = Returns()
    trail: Trail = Trail()
    evaluating: events.Evaluating | None = None
    """The evaluation in progress, if any."""
    evaluation: events.Evaluation | None = None
    """The last one that chooses the best model."""
    previous: events.Evaluation | None = None
    """The one before."""
    best: events.Evaluation | None = None
    """Of the best model: its confirmation if it has one, else its evaluation."""
    solved: events.Evaluation | None = None
    """The highest confirmation that reached the threshold."""
    checkpoint: events.Checkpoint | None = None
    glimpse: events.Glimpse | None = None
    to_confirm: events.Evaluating | None = None
    """The finished evaluation of a model that is being confirmed. Its `Evaluation` comes after the confirmation."""
    ended: events.RunEnded | None = None
    failed: str = ""
    """How an exception ended the run, if one did."""

    @property
    def running(self) -> bool:
        return self.ended is None and not self.failed

    @property
    def over(self) -> bool:
        """Whether the run ended because nothing is left to do."""
        return self.ended is not None and self.ended.reason in ("done", "solved")

    @property
    def next_evaluation(self) -> int | None:
        """The step of the next evaluation, if there will be one."""
        every, step, steps = self.started.evaluate_every, (self.progress or self.started).step, self.started.steps
        if not every or not self.running or step == steps:
            return None
        upcoming = (step // every + 1) * every
        return upcoming if steps is None else min(upcoming, steps)

    @property
    def done(self) -> int:
        """Steps or episodes so far, in the unit of the budget."""
        now = self.progress or self.started
        return now.episode if self.counts_episodes else now.step

    @property
    def total(self) -> int | None:
        """The budget in steps or episodes; None for an unlimited run."""
        return self.started.episodes if self.counts_episodes else self.started.steps

    @property
    def counts_episodes(self) -> bool:
        return self.started.steps is None and self.started.episodes is not None


class Folded:
    """A curve of any length in at most `points` points, each the mean of equally many values (the last: of fewer).

    When there are `points` of them, neighbours are merged.

    >>> curve = Folded(points=4)
    >>> for value in range(9):
    ...     curve.add(value)
    >>> curve.points()
    (1.5, 5.5, 8.0)
    """

    def __init__(self, points: int = POINTS) -> None:
        self._most = points
        self._stride = 1
        self._full: list[float] = []
        self._rest: list[float] = []

    def add(self, value: float) -> None:
        self._rest.append(value)
        if len(self._rest) < self._stride:
            return
        self._full.append(fmean(self._rest))
        self._rest = []
        if len(self._full) >= self._most:
            self._full = [fmean(pair) for pair in zip(self._full[::2], self._full[1::2], strict=True)]
            self._stride *= 2

    def points(self) -> tuple[float, ...]:
        return (*self._full, fmean(self._rest)) if self._rest else tuple(self._full)

    def state_dict(self) -> State:
        return {"stride": self._stride, "full": list(self._full), "rest": list(self._rest)}

    def load_state_dict(self, state: State) -> None:
        self._stride = int(state["stride"])
        self._full = [float(v) for v in state["full"]]
        self._rest = [float(v) for v in state["rest"]]


class Tracker(events.Observer):
    """Collects the events of a run; `clock` returns monotonic seconds.

    `run` is the run so far. Each of its fields is immutable and replaced as a whole, so another thread may call
    `snapshot`.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.now = clock
        self.run = Snapshot(events.RunStarted("", None, None, None, step=0, episode=0, num_envs=1))
        self._began = self._last_event = clock()
        self._end_time: float | None = None
        self._earlier = 0.0  # Seconds of earlier sessions.
        self._next_sample = 0.0
        self._samples: deque[tuple[float, int]] = deque(maxlen=_RATE_SAMPLES)
        self._recent: deque[tuple[float, int]] = deque(maxlen=100)  # (return, length)
        self._columns = {name: Folded() for name in ("steps", "returns", "means_20", "means_100", "epsilon")}

    def run_started(self, event: events.RunStarted) -> None:
        self.run.started = event
        self._began = self._last_event = self.now()

    def updated(self, event: events.Progress) -> None:
        self.run.progress = event
        self.run.evaluating = self.run.to_confirm = None  # An evaluation may have been interrupted.
        self._last_event = now = self.now()
        if now >= self._next_sample:
            self._next_sample = now + _SAMPLE_SECONDS
            self._samples.append((event.seconds, event.step))
            seconds, steps = (last - first for last, first in zip(self._samples[-1], self._samples[0], strict=True))
            if seconds > 0:
                self.run.rate = steps / seconds

    def glimpsed(self, event: events.Glimpse) -> None:
        self.run.glimpse = event

    def episode_ended(self, event: events.Episode) -> None:
        self.run.progress = event.progress
        self._recent.append((event.episode_return, event.length))
        best = self.run.returns.best
        returns = self._figures(event.episode_return if best is None else max(best, event.episode_return))
        epsilon = event.progress.status.get("epsilon")
        row = {
            "steps": float(event.step),
            "returns": event.episode_return,
            "means_20": returns.mean_20 or 0.0,
            "means_100": returns.mean_100 or 0.0,
            "epsilon": float(epsilon) if isinstance(epsilon, int | float) else nan,
        }
        for name, value in row.items():
            self._columns[name].add(value)
        self.run.returns = returns
        self._follow(self.run.trail.evaluations)

    def evaluating(self, event: events.Evaluating) -> None:
        before, self.run.evaluating = self.run.evaluating, event
        if event.stream != "confirm":
            self.run.to_confirm = None
        elif before is not None and before.stream != "confirm":
            self.run.to_confirm = before

    def evaluated(self, event: events.Evaluation) -> None:
        run = self.run
        run.evaluating = run.to_confirm = None
        if event.stream == "confirm":
            needed = run.started.solved_at
            if needed is not None and event.mean >= needed and (run.solved is None or event.mean > run.solved.mean):
                run.solved = event
            if run.best is not None and run.best.step == event.step:
                run.best = event
        else:
            run.previous, run.evaluation = run.evaluation, event
            if event.best:
                run.best = event
            point = (float(event.step), event.mean)
            run.trail = replace(run.trail, evaluations=(*run.trail.evaluations[1 - _MOST_EVALUATIONS :], point))
        self._last_event = self.now()

    def checkpoint_written(self, event: events.Checkpoint) -> None:
        self.run.checkpoint = event
        self._last_event = self.now()

    def run_ended(self, event: events.RunEnded) -> None:
        self.run.progress, self.run.ended = event.progress, event
        if event.best is not None and (self.run.best is None or self.run.best.step != event.best.step):
            self.run.best = event.best
        self._stop_clock()

    def run_failed(self, event: events.RunFailed) -> None:
        self.run.failed = "stopped at once (Ctrl-C)" if isinstance(event.error, KeyboardInterrupt) else "failed"
        self._stop_clock()

    def snapshot(self) -> Snapshot:
        """Return a copy of the run's current state, with the times."""
        now = self.now() if self._end_time is None else self._end_time
        result = replace(self.run, elapsed=self._earlier + now - self._began, idle=max(0.0, now - self._last_event))
        result.remaining = _remaining(result)
        return result

    def state_dict(self) -> State:
        run = self.run
        return {
            "elapsed": self.snapshot().elapsed,
            "recent": [list(pair) for pair in self._recent],
            "best_return": run.returns.best,
            "columns": {name: column.state_dict() for name, column in self._columns.items()},
            "evaluations": [list(pair) for pair in run.trail.evaluations],
            **{name: _plain(getattr(run, name)) for name in _EVALUATIONS},
        }

    def load_state_dict(self, state: State) -> None:
        self._earlier = float(state["elapsed"])
        self._recent.clear()
        self._recent.extend((float(value), int(length)) for value, length in state["recent"])
        for name, column in self._columns.items():
            column.load_state_dict(state["columns"][name])
        for name in _EVALUATIONS:
            setattr(self.run, name, _evaluation(state.get(name)))  # Earlier versions saved fewer.
        self._follow(tuple((float(step), float(mean)) for step, mean in state["evaluations"]))
        if self._recent:
            self.run.returns = self._figures(float(state["best_return"]))

    def _figures(self, best: float) -> Returns:
        returns, lengths = zip(*self._recent, strict=True)
        return Returns(returns[-1], fmean(returns[-20:]), fmean(returns), best, fmean(lengths[-20:]))

    def _follow(self, evaluations: tuple[tuple[float, float], ...]) -> None:
        self.run.trail = Trail(**{name: c.points() for name, c in self._columns.items()}, evaluations=evaluations)

    def _stop_clock(self) -> None:
        self.run.evaluating = None
        self._end_time = self._last_event = self.now()


def _remaining(run: Snapshot) -> float | None:
    if run.total is None or not run.rate:
        return None
    steps: float = max(0, run.total - run.done)
    if run.counts_episodes:
        if run.returns.mean_length_20 is None:
            return None
        steps *= run.returns.mean_length_20
    # Evaluations are expected to take as long as the last one. A confirmation is not expected again.
    every, last = run.started.evaluate_every, run.evaluation
    return steps / run.rate + (steps / every * last.seconds if every and last is not None else 0.0)


def _plain(evaluation: events.Evaluation | None) -> State | None:
    return None if evaluation is None else asdict(evaluation)


def _evaluation(state: dict[str, Any] | None) -> events.Evaluation | None:
    if state is None:
        return None
    returns, lengths = tuple(map(float, state["returns"])), tuple(map(int, state["lengths"]))
    return events.Evaluation(**{**state, "returns": returns, "lengths": lengths})
