"""`read_metrics`: a run's `metrics.jsonl` as arrays, a `RunHistory`. `trailing_mean` smooths them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cartpole_dqn.runs.metrics import Event, read_events, training_seconds

MEAN_OVER = 100
"""Episodes that the mean of returns is taken over, in every chart."""

Floats = NDArray[np.float64]
ReturnsByEvaluation = tuple[tuple[float, ...], ...]


def _nothing() -> Floats:
    return np.empty(0)


@dataclass(frozen=True)
class RunHistory:
    """A run's metrics. Arrays are [E] over episodes or [V] over evaluations; unknown values are NaN."""

    name: str
    """The folder's name, for legends."""
    title: str = ""
    """Agent and environment, for titles."""
    episode: Floats = field(default_factory=_nothing)
    step: Floats = field(default_factory=_nothing)
    """[E] environment steps at each episode's end."""
    seconds: Floats = field(default_factory=_nothing)
    """[E] training seconds."""
    returns: Floats = field(default_factory=_nothing)
    lengths: Floats = field(default_factory=_nothing)
    epsilon: Floats = field(default_factory=_nothing)
    loss: Floats = field(default_factory=_nothing)
    evaluation_step: Floats = field(default_factory=_nothing)
    """[V] environment steps of the evaluations that select `best/`."""
    evaluation_returns: ReturnsByEvaluation = ()
    """V evaluations, with the returns of their episodes."""
    confirmation_step: Floats = field(default_factory=_nothing)
    """[C] environment steps of confirmations: more episodes for models that reached the threshold."""
    confirmation_returns: ReturnsByEvaluation = ()
    """C confirmations, with the returns of their episodes."""
    solved_at: float | None = None
    """The mean return that counts as solved, if one is known."""
    best_step: int | None = None
    """The step of the model in `best/`."""
    solved_step: int | None = None
    """The step of the first confirmed model."""
    end: tuple[float, float] | None = None
    """Environment steps and training seconds at the end, if the run ended cleanly."""
    problem: str | None = None
    """Which lines are damaged and left out, as a sentence."""

    @property
    def evaluation_mean(self) -> Floats:
        """[V] mean returns."""
        return _over_episodes(np.mean, self.evaluation_returns)

    @property
    def evaluation_std(self) -> Floats:
        """[V] standard deviations over episodes."""
        return _over_episodes(np.std, self.evaluation_returns)

    @property
    def confirmation_mean(self) -> Floats:
        """[C] mean returns."""
        return _over_episodes(np.mean, self.confirmation_returns)

    @property
    def last_returns(self) -> tuple[float, ...]:
        """Returns of the last evaluation; empty if there is none."""
        return self.evaluation_returns[-1] if self.evaluation_returns else ()

    @property
    def best_returns(self) -> tuple[float, ...]:
        """Returns of the model in `best/`: from its confirmation if it has one, else from its evaluation."""
        for steps, returns in (
            (self.confirmation_step, self.confirmation_returns),
            (self.evaluation_step, self.evaluation_returns),
        ):
            for step, values in zip(reversed(steps), reversed(returns), strict=True):
                if step == self.best_step:
                    return values
        return ()

    @property
    def best_has_confirmation(self) -> bool:
        """Whether `best_returns` are from a confirmation, passed or not."""
        return self.best_step is not None and self.best_step in self.confirmation_step

    def seconds_at(self, step: float) -> float:
        """Return the training seconds at an environment step, interpolated between episode ends; NaN if unknown."""
        place = int(np.searchsorted(self.step, step))
        near = slice(max(0, place - 1), place + 1)
        points = list(zip(self.step[near], self.seconds[near], strict=True))
        return training_seconds(step, *points, *([self.end] if self.end and place == len(self.step) else []))

    @property
    def solved_seconds(self) -> float | None:
        """Training seconds until `solved_step`, without evaluations and checkpoints."""
        seconds = float("nan") if self.solved_step is None else self.seconds_at(self.solved_step)
        return seconds if math.isfinite(seconds) else None


def read_metrics(folder: Path | str) -> RunHistory:
    """Return the history of the run in `folder`. Unknown events and fields are ignored.

    Raises:
        RunFolderError: `metrics.jsonl` is missing, or every line is damaged.
    """
    return _history(Path(folder).resolve().name, *read_events(Path(folder)))


def trailing_mean(values: Sequence[float] | Floats, window: int) -> Floats:
    """Return the mean of each value and its predecessors, at most `window` values in all: [n] -> [n].

    NaNs are skipped; the mean of no values is NaN.
    """
    array = np.asarray(values, dtype=np.float64)
    if not len(array):
        return np.empty(0)
    is_known = np.concatenate([np.zeros(window - 1, dtype=np.bool_), ~np.isnan(array)])
    filled = np.concatenate([np.zeros(window - 1), np.nan_to_num(array, nan=0.0, posinf=np.inf, neginf=-np.inf)])
    windows = np.lib.stride_tricks.sliding_window_view
    counts = windows(is_known, window).sum(axis=1)
    with np.errstate(invalid="ignore"):
        means: Floats = windows(filled, window).sum(axis=1) / np.where(counts, counts, np.nan)
    return means


def _over_episodes(figure: Any, returns: ReturnsByEvaluation) -> Floats:
    return np.array([figure(values) if values else np.nan for values in returns], dtype=np.float64)


def _history(name: str, events: Sequence[Event], problem: str | None) -> RunHistory:
    kinds = ("episode", "evaluation", "run_started", "run_ended")
    episodes, all_evaluations, starts, ends = ([e for e in events if e.get("event") == kind] for kind in kinds)
    evaluations = [event for event in all_evaluations if event.get("stream") != "confirm"]
    confirmations = [event for event in all_evaluations if event.get("stream") == "confirm"]
    best = [int(event["step"]) for event in all_evaluations if event.get("best")]
    solved = [int(event["step"]) for event in confirmations if event.get("best")]
    threshold = starts[-1].get("solved_at") if starts else None
    return RunHistory(
        name=name,
        title=str(starts[-1].get("name") or "") if starts else "",
        episode=_column(episodes, "episode"),
        step=_column(episodes, "step"),
        seconds=_column(episodes, "seconds"),
        returns=_column(episodes, "return"),
        lengths=_column(episodes, "length"),
        epsilon=_column([_table(event, "status") for event in episodes], "epsilon"),
        loss=_column([_table(event, "metrics") for event in episodes], "loss"),
        evaluation_step=_column(evaluations, "step"),
        evaluation_returns=_returns(evaluations),
        confirmation_step=_column(confirmations, "step"),
        confirmation_returns=_returns(confirmations),
        solved_at=float(threshold) if isinstance(threshold, int | float) else None,
        best_step=best[-1] if best else None,
        # The first confirmed model is always kept, so it is marked as best.
        solved_step=solved[0] if solved else None,
        end=(_number(ends[-1]["step"]), _number(ends[-1].get("seconds"))) if ends else None,
        problem=problem,
    )


def _column(events: Sequence[Event], key: str) -> Floats:
    return np.array([_number(event.get(key)) for event in events], dtype=np.float64)


def _returns(events: Sequence[Event]) -> ReturnsByEvaluation:
    return tuple(tuple(_number(value) for value in event["returns"]) for event in events)


def _table(event: Event, key: str) -> Event:
    table = event.get(key)
    return table if isinstance(table, Mapping) else {}


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return float("nan")
