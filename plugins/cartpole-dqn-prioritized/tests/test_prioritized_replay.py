from __future__ import annotations

import copy
import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from cartpole_dqn_prioritized.replay import PrioritizedReplay
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from cartpole_dqn import Batch, Context, ReplayBuffer, RunError, SeedTree, Transition, UserError

CONTEXT = Context(
    observation_space=spaces.Box(-1000, 1000, (2,), np.float32), action_space=spaces.Discrete(2), gamma=0.9
)


def make(*, seed: int = 0, num_envs: int = 1, n_step: int = 1, **options: Any) -> PrioritizedReplay:
    context = dataclasses.replace(CONTEXT, seeds=SeedTree(seed), num_envs=num_envs, n_step=n_step)
    return PrioritizedReplay(PrioritizedReplay.Options(**{"capacity": 100, **options}), context)


def fill(replay: ReplayBuffer, steps: int, *, start: int = 0, lane: int = 0, end: bool = False) -> None:
    """Steps of one episode; an observation is [lane, time]."""
    for time in range(start, start + steps):
        obs, next_obs = (np.array([lane, time + i], np.float32) for i in range(2))
        replay.add(Transition(obs, 0, 1.0, next_obs, end and time == start + steps - 1, False, lane))


def tell(replay: PrioritizedReplay, errors: dict[int, float]) -> None:
    """Tell the TD error of the transitions that begin at some times; the numbers of the only lane are its times."""
    indices = torch.tensor(list(errors))
    replay.update_priorities(indices, torch.tensor(list(errors.values())))


def probabilities(errors: dict[int, float], alpha: float, eps: float) -> dict[int, float]:
    """P(i) as the paper has it (equation 1, proportional variant)."""
    priorities = {i: (abs(error) + eps) ** alpha for i, error in errors.items()}
    return {i: priority / sum(priorities.values()) for i, priority in priorities.items()}


# What is sampled ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_transitions_are_sampled_in_proportion(alpha: float) -> None:
    replay = make(alpha=alpha, eps=0.01)
    fill(replay, 40)
    errors = {time: (-1) ** time * time / 10 for time in range(40)}
    tell(replay, errors)
    seen = np.zeros(40)
    for _ in range(1500):
        seen += np.bincount(replay.sample(20).indices.numpy(), minlength=40)
    expected = np.array(list(probabilities(errors, alpha, 0.01).values())) * 30_000
    # Chi-square with 39 degrees of freedom: above 72 once in a thousand; a stratified sample stays well below.
    assert ((seen - expected) ** 2 / expected).sum() < 72


def test_a_batch_has_one_from_each_part() -> None:
    replay = make(alpha=1.0, eps=1e-12)
    fill(replay, 30)
    tell(replay, {time: 1.0 for time in range(30)})
    for _ in range(50):
        assert sorted(replay.sample(30).indices.tolist()) == list(range(30))
        assert [index // 10 for index in replay.sample(3).indices.tolist()] == [0, 1, 2]


@given(
    st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=30),
    st.floats(0, 1),
    st.floats(0, 1),
    st.integers(1, 40),
)
def test_weights_are_the_papers(learned: list[float], alpha: float, beta: float, size: int) -> None:
    replay = make(alpha=alpha, beta_start=beta, beta_steps=10**9, eps=1e-3)
    fill(replay, len(learned))
    errors = dict(enumerate(learned))
    tell(replay, errors)
    chance = probabilities(errors, alpha, 1e-3)
    batch = replay.sample(size)
    weights = [(len(learned) * chance[index]) ** -beta for index in batch.indices.tolist()]
    assert batch.weights.tolist() == pytest.approx([weight / max(weights) for weight in weights], rel=1e-5)
    assert batch.weights.dtype == torch.float32


def test_beta_rises_with_every_batch_up_to_one() -> None:
    replay = make(beta_start=0.5, beta_steps=4)
    fill(replay, 5)
    betas = []
    for _ in range(6):
        betas.append(replay.beta)
        replay.sample(2)
    assert betas == [0.5, 0.625, 0.75, 0.875, 1.0, 1.0]


# What is remembered ---------------------------------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(st.sampled_from(["add", "end", "break", "tell", "sample"]), st.integers(0, 2), st.integers(1, 9))
    )
)
def test_priorities_are_those_of_a_slow_table(course: list[tuple[str, int, int]]) -> None:
    replay = make(capacity=36, num_envs=3, n_step=2, alpha=0.7, eps=0.01)
    table: dict[int, float] = {}  # index -> priority, as told or as new ones get it
    largest, times = 1.0, [0, 0, 0]
    for action, lane, count in course:
        if action in ("add", "end"):
            fill(replay, count, start=times[lane], lane=lane, end=action == "end")
            times[lane] += count + 100 * (action == "end")
        elif action == "break":
            replay.break_lane(lane)
            times[lane] += 100
        elif len(replay):
            batch = replay.sample(count)
            if action == "tell":
                errors = (batch.indices % 13).double() * (-1.0) ** count
                replay.update_priorities(batch.indices, errors)
                for index, error in zip(batch.indices.tolist(), errors.tolist(), strict=True):
                    table[index] = (abs(error) + 0.01) ** 0.7
                    largest = max(largest, table[index])
        held = replay.ring.index_at(np.arange(len(replay))).tolist()
        table = {index: table.get(index, largest) for index in held}
        slots = replay.ring.slots_of(np.array(held, np.int64)).tolist()
        expected = np.zeros(replay.capacity)
        expected[slots] = [table[index] for index in held]
        priorities = replay.state_dict()["priorities"]
        assert np.allclose(priorities, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300])
def test_errors_that_are_not_finite_are_refused_and_change_nothing(value: float) -> None:
    replay = make()
    fill(replay, 10)
    before = replay.state_dict()["priorities"].copy()
    errors = torch.tensor([1.0, value, 2.0], dtype=torch.float64)
    with pytest.raises(RunError, match="replay prioritized: 1 of 3 TD errors are not finite, the first is"):
        replay.update_priorities(torch.tensor([0, 1, 2]), errors)
    assert np.array_equal(replay.state_dict()["priorities"], before)


def test_as_many_errors_as_indices_are_wanted() -> None:
    replay = make()
    fill(replay, 10)
    with pytest.raises(ValueError, match=r"got \[1\] TD errors for \[2\] indices"):
        replay.update_priorities(torch.tensor([0, 1]), torch.tensor([1.0]))


# State and options ----------------------------------------------------------------------------------------------------


def live(replay: PrioritizedReplay, steps: int, start: int) -> list[Batch]:
    batches = []
    for time in range(start, start + steps):
        fill(replay, 1, start=time)
        batches.append(replay.sample(7))
        replay.update_priorities(batches[-1].indices, torch.sin(batches[-1].obs[:, 1]))
    return batches


def test_bytes_are_those_of_the_ring_and_the_priorities() -> None:
    replay = make(capacity=101, num_envs=2)
    assert replay.capacity == 100
    assert replay.nbytes > replay.ring.nbytes + 800
    with pytest.raises(UserError, match=r"replay prioritized with 1000000000000 slots"):
        make(capacity=10**12)


def test_a_state_that_does_not_fit_is_refused() -> None:
    replay = make()
    live(replay, 30, 0)
    state = replay.state_dict()
    priorities = state["priorities"]
    bad: list[tuple[str, Any, str]] = [
        ("priorities", priorities[:50], r"expected saved priorities float64 \[100\], got float64 \[50\]"),
        ("priorities", priorities.astype(np.float32), r"got float32 \[100\]"),
        ("priorities", np.where(priorities > 0, np.nan, 0), "damaged"),
        ("priorities", -priorities, "damaged"),
        ("priorities", np.roll(priorities, 1), "of other transitions"),
        ("largest", math.nan, "damaged"),
        ("batches", -1, "damaged"),
    ]
    for key, value, message in bad:
        with pytest.raises(ValueError, match=message):
            make().load_state_dict({**state, key: value})
    make().load_state_dict(state)


# Priorities that come with transitions --------------------------------------------------------------------------------


def priorities(replay: PrioritizedReplay) -> dict[int, float]:
    """The priority of each valid transition of the only lane, by its time."""
    values = replay._priorities.values
    return {int(index): float(value) for index, value in zip(replay.ring._stamps, values, strict=True) if index >= 0}


@given(st.lists(st.none() | st.floats(0, 100, width=32), min_size=1, max_size=40), st.integers(1, 4), st.booleans())
def test_a_transition_that_brings_its_error_has_that_and_any_other_the_largest(
    errors: list[float | None], n_step: int, end: bool
) -> None:
    replay = make(n_step=n_step, alpha=0.5, eps=0.01, capacity=200)
    expected: dict[int, float] = {}
    largest, last = 1.0, len(errors) - 1
    for time, error in enumerate(errors):
        obs, next_obs = (np.array([0, time + i], np.float32) for i in range(2))
        replay.add(Transition(obs, 0, 1.0, next_obs, end and time == last, False, 0, None, error))
        # What this step completed: the one n steps ago, and at an end all that wait.
        first = max(0, time - n_step + 1)
        done = range(first, time + 1) if end and time == last else range(first, first + (time >= n_step - 1))
        raised = {index: (errors[index] + 0.01) ** 0.5 for index in done if errors[index] is not None}  # type: ignore[operator]
        expected |= {index: largest for index in done} | raised
        largest = max([largest, *raised.values()])
    assert priorities(replay) == pytest.approx(expected)


def test_errors_of_steps_under_way_are_saved() -> None:
    replay, plain = make(n_step=3), make(n_step=3)
    for time in range(5):
        obs, next_obs = (np.array([0, time + i], np.float32) for i in range(2))
        replay.add(Transition(obs, 0, 1.0, next_obs, False, False, 0, None, float(time)))
        plain.add(Transition(obs, 0, 1.0, next_obs, False, False))
    assert replay.state_dict()["told"] == [[3.0, 4.0]]
    assert "told" not in plain.state_dict(), "a replay that never hears of errors saves what it always did"
    again = make(n_step=3)
    again.load_state_dict(copy.deepcopy(replay.state_dict()))
    for one in (replay, again):
        one.break_lane(0)
    assert priorities(again) == priorities(replay)
    assert priorities(replay)[4] == pytest.approx((4.0 + 1e-6) ** 0.6)
    broken = copy.deepcopy(plain.state_dict())
    broken["told"] = [[1.0]]
    with pytest.raises(ValueError, match="the state is damaged"):
        make(n_step=3).load_state_dict(broken)


def test_an_error_that_is_not_finite_is_refused() -> None:
    replay = make()
    obs = np.zeros(2, np.float32)
    with pytest.raises(RunError, match="1 of 1 TD errors are not finite, the first is nan"):
        replay.add(Transition(obs, 0, 1.0, obs, False, False, 0, None, math.nan))
    assert len(replay) == 0
