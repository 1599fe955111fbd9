"""Events to feed observers with, and a clock that moves when it is told to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cartpole_dqn.contracts.events import (
    Checkpoint,
    Episode,
    Evaluating,
    Evaluation,
    Glimpse,
    Progress,
    RunEnded,
    RunStarted,
)
from cartpole_dqn.contracts.pictures import Panel


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Events:
    """Makes events with defaults for what a test does not care about."""

    @staticmethod
    def started(**changes: Any) -> RunStarted:
        fields: dict[str, Any] = {
            "name": "dqn on CartPole-v1, pixels",
            "folder": "runs/x",
            "steps": 1000,
            "episodes": None,
        }
        return RunStarted(**{**fields, "step": 0, "episode": 0, "num_envs": 1, "replay_bytes": 160_000_000, **changes})

    @staticmethod
    def progress(step: int = 100, *, episode: int = 3, seconds: float | None = None, **changes: Any) -> Progress:
        fields: dict[str, Any] = {
            "metrics": {"loss": 0.0123, "q_mean": 4.5},
            "status": {"epsilon": 0.75, "lr": 5e-4, "replay_size": step, "replay_capacity": 5000, "updates": 42},
        }
        return Progress(
            step=step, episode=episode, seconds=step / 50 if seconds is None else seconds, **fields | changes
        )

    @classmethod
    def episode(cls, number: int, episode_return: float = 20.0, *, step: int = 100, **changes: Any) -> Episode:
        fields: dict[str, Any] = {"env": 0, "seed": 7, "length": 20, "terminated": True}
        fields["progress"] = cls.progress(step, episode=number)
        return Episode(episode=number, step=step, episode_return=episode_return, **fields | changes)

    @staticmethod
    def evaluation(step: int = 500, returns: tuple[float, ...] = (100.0, 200.0), *, best: bool = False) -> Evaluation:
        return Evaluation(step, returns, (100,) * len(returns), "select", 3.25, best)

    @staticmethod
    def glimpse(**changes: Any) -> Glimpse:
        frame = np.full((40, 80), 255, dtype=np.uint8)
        frame[20:30, 30:50] = 0
        moved = np.full((40, 80), 128, dtype=np.uint8)
        moved[20:30, 30:32], moved[20:30, 48:50] = 28, 228
        panels = [Panel("channel 0", frame, "grey", 0.0, 255.0), Panel("difference", moved, "difference", zero=128)]
        values = np.array([84.7, 65.2], dtype=np.float32)
        fields: dict[str, Any] = {"panels": panels, "actions": ("left", "right"), "q_values": values, "action": 0}
        return Glimpse(**{"step": 600, "observed": "40 x 80 x 2  uint8", **fields, **changes})

    @staticmethod
    def checkpoint(step: int = 500) -> Checkpoint:
        return Checkpoint(step, "runs/x/checkpoint", 34_000_000, 0.4)

    @classmethod
    def ended(cls, step: int = 1000, **changes: Any) -> RunEnded:
        fields: dict[str, Any] = {
            "reason": "done",
            "progress": cls.progress(step, episode=40),
            "best": cls.evaluation(best=True),
            "evaluation_seconds": 65.0,
            "checkpoint_seconds": 2.0,
        }
        return RunEnded(**fields | changes)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def snapshot(clock: Clock, events: Events) -> Callable[..., Any]:
    """A function (what happens in a run) -> snapshot."""
    from cartpole_dqn.observers.display.tracker import Tracker

    def make(
        *,
        played: int = 30,
        evaluated: bool = True,
        status: dict[str, Any] | None = None,
        confirming: Evaluating | None = None,
        confirmed: Evaluation | None = None,
        glimpsed: bool = False,
        ended: RunEnded | None = None,
        **started: Any,
    ) -> Any:
        tracker = Tracker(clock)
        tracker.run_started(events.started(**started))
        for k in range(played):
            clock.now += 1.0
            progress = events.progress(20 * (k + 1), episode=k + 1)
            if status is not None:
                progress = events.progress(20 * (k + 1), episode=k + 1, status=status)
            tracker.updated(progress)
            tracker.episode_ended(events.episode(k + 1, float(10 + 7 * k % 40), step=20 * (k + 1), progress=progress))
        if evaluated:
            tracker.evaluated(events.evaluation(300, best=True))
            tracker.evaluated(events.evaluation(500, (50.0, 70.0)))
            tracker.checkpoint_written(events.checkpoint())
        if confirming is not None:
            clock.now += 1.0
            tracker.evaluating(replace(confirming, stream="select", done=10, episodes=10, mean=480.0))
            tracker.evaluating(confirming)
        if confirmed is not None:
            tracker.evaluated(confirmed)
        if glimpsed:
            tracker.glimpsed(events.glimpse())
        if ended is not None:
            tracker.run_ended(ended)
        return tracker.snapshot()

    return make
