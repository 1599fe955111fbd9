from __future__ import annotations

import dataclasses
import json
import math
import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartpole_dqn.contracts.events import Episode, Evaluating, Progress, RunFailed, RunStarted
from cartpole_dqn.observers.display.tracker import POINTS, Folded, Tracker


def folded_slowly(values: list[float], points: int) -> list[float]:
    """Chunks of the smallest power of two that leaves fewer than `points` full ones, each by its mean."""
    stride = 1
    while len(values) // stride >= points:
        stride *= 2
    return [statistics.fmean(values[i : i + stride]) for i in range(0, len(values), stride)]


@given(st.lists(st.floats(-1e6, 1e6), max_size=120), st.sampled_from([2, 4, 8, 16]))
def test_folded_curve_equals_the_slow_reference_and_goes_on_from_its_state(values: list[float], points: int) -> None:
    curve = Folded(points)
    for value in values:
        before, curve = curve, Folded(points)
        curve.load_state_dict(json.loads(json.dumps(before.state_dict())))
        curve.add(value)
    assert list(curve.points()) == pytest.approx(folded_slowly(values, points), abs=1e-6)
    assert len(curve.points()) <= points


@given(st.lists(st.floats(-500, 500), min_size=1, max_size=130))
def test_figures_of_returns_equal_the_slow_reference(values: list[float]) -> None:
    tracker = Tracker(lambda: 0.0)
    tracker.run_started(RunStarted("x", None, None, None, 0, 0, 1))
    for k, value in enumerate(values):
        tracker.episode_ended(Episode(k + 1, k, 0, 0, value, k + 1, True, Progress(k, k + 1, 0.0, {}, {})))
    returns = tracker.snapshot().returns
    assert returns.last == values[-1]
    assert returns.mean_20 == pytest.approx(statistics.fmean(values[-20:]))
    assert returns.mean_100 == pytest.approx(statistics.fmean(values[-100:]))
    assert returns.best == max(values)


def test_rate_is_of_training_seconds_lately(clock: Any, events: Any) -> None:
    tracker = Tracker(clock)
    tracker.run_started(events.started(steps=100_000))
    for k in range(60):  # half a minute at 100 steps a second of training
        clock.now += 0.5
        tracker.updated(events.progress(50 * k, seconds=0.5 * k))
    clock.now += 1000  # an evaluation takes clock time, but no training time
    for k in range(60, 90):  # then 20 steps a second
        clock.now += 0.5
        tracker.updated(events.progress(3000 + 10 * (k - 60), seconds=0.5 * k))
    assert tracker.snapshot().rate == pytest.approx(20)


def test_remaining_time_counts_evaluations_but_no_confirmation(clock: Any, events: Any) -> None:
    tracker = Tracker(clock)
    tracker.run_started(events.started(steps=2000, evaluate_every=100))
    for k in range(101):  # 10 steps a second of training
        clock.now += 1.0
        tracker.updated(events.progress(10 * k, seconds=float(k)))
        if k and k % 10 == 0:
            clock.now += 5.0
            tracker.evaluated(dataclasses.replace(events.evaluation(10 * k), seconds=5.0))
    left = pytest.approx(1000 / 10 + 10 * 5)
    assert tracker.snapshot().remaining == left
    for done in range(101):
        clock.now += 5.0
        tracker.evaluating(Evaluating(1000, "confirm", done, 100, 480.0))
        assert tracker.snapshot().remaining == left
    tracker.evaluated(dataclasses.replace(events.evaluation(1000), stream="confirm", seconds=505.0))
    assert tracker.snapshot().remaining == left
    tracker.updated(events.progress(1010, seconds=101.0))
    assert tracker.snapshot().remaining == pytest.approx(990 / 10 + 9.9 * 5)


def test_remaining_time_of_a_budget_in_episodes(clock: Any, events: Any) -> None:
    tracker = Tracker(clock)
    tracker.run_started(events.started(steps=None, episodes=50))
    assert tracker.snapshot().remaining is None
    for k in range(1, 31):
        clock.now += 1.0
        progress = events.progress(20 * k, episode=k, seconds=float(k))
        tracker.updated(progress)
        tracker.episode_ended(events.episode(k, step=20 * k, progress=progress))
    snapshot = tracker.snapshot()
    assert (snapshot.done, snapshot.total) == (30, 50)
    assert snapshot.remaining == pytest.approx(20, rel=0.1)


def test_while_a_model_is_confirmed_its_evaluation_is_known(clock: Any, events: Any) -> None:
    tracker = Tracker(clock)
    tracker.run_started(events.started(solved_at=475.0))
    chosen = Evaluating(100, "select", 10, 10, 480.0)
    tracker.evaluating(chosen)
    assert tracker.snapshot().to_confirm is None
    for done in (0, 50):
        tracker.evaluating(Evaluating(100, "confirm", done, 100, None))
        assert tracker.snapshot().to_confirm == chosen
    tracker.evaluated(events.evaluation())
    assert tracker.snapshot().to_confirm is None


def test_an_evaluation_is_under_way_until_its_end_or_the_next_step(clock: Any, events: Any) -> None:
    tracker = Tracker(clock)
    tracker.run_started(events.started())
    far = Evaluating(1, "select", 3, 10, 17.0)
    for end in (
        lambda: tracker.evaluated(events.evaluation()),
        lambda: tracker.updated(events.progress(2)),  # it was broken off
        lambda: tracker.run_failed(RunFailed(2, ValueError())),
    ):
        assert tracker.snapshot().evaluating is None
        tracker.evaluating(far)
        assert tracker.snapshot().evaluating == far
        end()
    assert tracker.snapshot().evaluating is None


def test_idle_grows_without_steps_and_the_clock_stops_at_the_end(clock: Any, events: Any) -> None:
    tracker = Tracker(clock)
    tracker.run_started(events.started())
    tracker.updated(events.progress(1))
    clock.now += 12
    assert tracker.snapshot().idle == 12
    tracker.evaluated(events.evaluation())
    assert tracker.snapshot().idle == 0
    clock.now += 18
    tracker.run_ended(events.ended())
    clock.now += 100
    assert tracker.snapshot().elapsed == 30


def test_a_resumed_run_goes_on_with_its_figures(clock: Any, events: Any) -> None:
    first = Tracker(clock)
    first.run_started(events.started())
    for k in range(120):
        first.episode_ended(events.episode(k + 1, float(k)))
    first.evaluated(events.evaluation(300, best=True))
    clock.now += 60
    state = json.loads(json.dumps(first.state_dict()))

    second = Tracker(clock)
    second.load_state_dict(state)
    clock.now += 500  # between the sessions
    second.run_started(events.started(step=100, episode=120))
    clock.now += 5
    before, after = first.snapshot(), second.snapshot()
    assert (after.returns, after.trail) == (before.returns, before.trail)
    for tracker in (first, second):
        tracker.episode_ended(events.episode(121, 5.0, step=300))
    assert second.snapshot().trail == first.snapshot().trail
    assert (after.evaluation, after.best) == (before.evaluation, before.best)
    assert after.elapsed == 65
    assert after.done == 100


def test_a_trail_stays_small_and_says_where_and_how_much(clock: Any, events: Any) -> None:
    tracker = Tracker(clock)
    tracker.run_started(events.started())
    for k in range(1, 3001):
        status = {"epsilon": 0.5} if k > 1500 else {}
        progress = events.progress(20 * k, status=status)
        tracker.episode_ended(events.episode(k, float(k), step=20 * k, progress=progress))
    for k in range(400):
        tracker.evaluated(events.evaluation(k))
    tracker.evaluated(dataclasses.replace(events.evaluation(999), stream="confirm"))
    trail = tracker.snapshot().trail
    assert len(trail.steps) == len(trail.returns) == len(trail.means_100) == len(trail.epsilon) <= POINTS
    assert trail.steps == tuple(20 * value for value in trail.returns)
    assert trail.means_20[-1] == pytest.approx(3000 - 9.5, abs=10)
    assert trail.means_100[-1] == pytest.approx(3000 - 49.5, abs=10)
    assert math.isnan(trail.epsilon[0])
    assert trail.epsilon[-1] == 0.5
    assert [step for step, _ in trail.evaluations] == list(range(100, 400))
