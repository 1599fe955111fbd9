from __future__ import annotations

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from cartpole_dqn.components.replay.first_kept import FirstKeptOptions, FirstKeptReplay
from cartpole_dqn.contracts.parts import Context, Transition
from cartpole_dqn.contracts.seeding import SeedTree
from cartpole_dqn.testing import check_replay

SPACE = spaces.Box(-1e6, 1e6, (1,), np.float32)


def replay(capacity: int = 50, lanes: int = 1, n_step: int = 1, first: float = 0.4) -> FirstKeptReplay:
    context = Context(
        observation_space=SPACE,
        action_space=spaces.Discrete(2),
        num_envs=lanes,
        n_step=n_step,
        gamma=0.9,
        seeds=SeedTree(1),
    )
    return FirstKeptReplay(FirstKeptOptions(capacity=capacity, first=first), context)


def fill(part: FirstKeptReplay, steps: int, lanes: int = 1, length: int = 7, start: int = 0) -> None:
    """Step t of lane e starts at the observation 1000 e + t; its reward says the same."""
    for t in range(start, start + steps):
        for env in range(lanes):
            value = 1000.0 * env + t
            obs, after = np.array([value], np.float32), np.array([value + 1], np.float32)
            part.add(Transition(obs, t % 2, value, after, False, (t + 1) % length == 0, env))


def drawn(part: FirstKeptReplay, times: int = 400) -> dict[float, int]:
    """How often each transition is drawn, by where it starts."""
    counts: dict[float, int] = {}
    for _ in range(times):
        batch = part.sample(16)
        assert len(set(batch.weights.tolist())) == 1
        for start, reward, after in zip(batch.obs[:, 0], batch.rewards, batch.next_obs[:, 0], strict=True):
            assert (float(reward), float(after)) == (float(start), float(start) + 1)
            counts[float(start)] = counts.get(float(start), 0) + 1
    return counts


@pytest.mark.parametrize("lanes", [1, 2])
def test_the_first_transitions_stay_and_all_are_equally_likely(lanes: int) -> None:
    part = replay(capacity=50 * lanes, lanes=lanes)
    fill(part, 300, lanes)
    counts = drawn(part)
    assert len(counts) == len(part)
    for env in range(lanes):
        starts = sorted(int(start) - 1000 * env for start in counts if 1000 * env <= start < 1000 * env + 900)
        kept = [start for start in starts if start < 100]
        assert kept == list(range(len(kept))), "the very first, without a gap"
        assert 15 <= len(kept) <= 19, "20 slots, of which ends of episodes take some"
        assert starts[len(kept)] > 270, "and the latest"
        assert starts[-1] == 299
    assert max(counts.values()) < 2.2 * min(counts.values())


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 200), st.integers(1, 30))
def test_every_transition_is_one_that_was_stored_with_all_its_steps(
    lanes: int, n_step: int, steps: int, length: int
) -> None:
    part = replay(60 * lanes, lanes, n_step)
    fill(part, steps, lanes, length)
    if not len(part):
        return
    batch = part.sample(64)
    for start, reward, after, discount in zip(
        batch.obs[:, 0], batch.rewards, batch.next_obs[:, 0], batch.discounts, strict=True
    ):
        count = int(after - start)
        left = length - int(start % 1000) % length
        assert count == min(n_step, left), "the episode's end alone cuts a return short"
        assert float(reward) == pytest.approx(sum(0.9**k * (float(start) + k) for k in range(count)), rel=1e-5)
        assert float(discount) == pytest.approx(0.9**count)


def test_a_restored_replay_goes_on_as_if_nothing_had_happened_wherever_its_first_slots_end() -> None:
    whole = replay(n_step=4)
    fill(whole, 40, length=30)
    for steps in range(10, 30):  # the 20 first slots end among them
        part, restored = replay(n_step=4), replay(n_step=4)
        fill(part, steps, length=30)
        restored.load_state_dict(part.state_dict())
        fill(restored, 40 - steps, length=30, start=steps)
        assert len(restored) == len(whole)
        assert drawn_steps(restored) == drawn_steps(whole)


def drawn_steps(part: FirstKeptReplay) -> set[tuple[float, float]]:
    """Where the transitions that can be drawn start and end."""
    batches = [part.sample(64) for _ in range(20)]
    return {(float(a), float(b)) for x in batches for a, b in zip(x.obs[:, 0], x.next_obs[:, 0], strict=True)}


def test_contract() -> None:
    check_replay(FirstKeptReplay)
