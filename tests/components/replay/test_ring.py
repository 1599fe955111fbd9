"""`TransitionRing` held to a slow, obvious reference that keeps everything for ever in Python lists."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from cartpole_dqn.components.replay.ring import Changes, TransitionRing
from cartpole_dqn.contracts.parts import Batch, Transition
from cartpole_dqn.testing._state import difference

SPACE = spaces.Box(0, 30_000, (3,), np.int16)
ACTIONS = 3


def stacks_of(frames: int) -> spaces.Box:
    return spaces.Box(-30_000, 30_000, (frames, 3), np.int16)


@dataclass
class Slot:
    """What lies under one number of a lane: an observation, and what was done there, if anything was."""

    obs: np.ndarray | None
    mask: np.ndarray | None = None
    action: int | None = None
    reward: float = 0.0
    terminated: bool = False
    ended: bool = False


class SlowRing:
    """Every slot of every lane since the beginning; only the newest `length` of a lane count as held.

    With a stack, slots that only lend their frame to an episode's first observation hold no observation of their own.
    """

    def __init__(self, lanes: int, length: int, n_step: int, gamma: float, stack: int) -> None:
        self.lanes: list[list[Slot]] = [[] for _ in range(lanes)]
        self.length, self.n_step, self.gamma, self.stack = length, n_step, gamma, stack
        self.heard_masks = False

    def is_open(self, lane: int) -> bool:
        slots = self.lanes[lane]
        return len(slots) > self.stack and not slots[-2].ended

    def append(self, t: Transition) -> None:
        slots = self.lanes[t.env]
        self.heard_masks = self.heard_masks or t.next_mask is not None
        if not self.is_open(t.env):
            slots += [Slot(None)] * (self.stack - 1) + [Slot(t.obs)]
        slots[-1].action, slots[-1].reward = t.action, t.reward
        slots[-1].terminated, slots[-1].ended = t.terminated, t.terminated or t.truncated
        slots.append(Slot(t.next_obs, t.next_mask))

    def break_lane(self, lane: int) -> None:
        if self.is_open(lane):
            self.lanes[lane][-2].ended = True

    def transition(self, lane: int, number: int) -> tuple[Any, ...] | None:
        """(obs, action, n-step reward, next_obs, discount, next_mask), or None where there is no valid transition."""
        slots = self.lanes[lane]
        oldest = number - self.stack + 1
        if not len(slots) - self.length <= oldest or number < 0 or slots[number].action is None:
            return None
        total, steps, terminated = 0.0, 0, False
        for slot in slots[number : number + self.n_step]:
            if slot.action is None:
                return None
            total += self.gamma**steps * slot.reward
            steps += 1
            if slot.ended:
                terminated = slot.terminated
                break
        else:
            if steps < self.n_step:
                return None
        discount = 0.0 if terminated else self.gamma**steps
        mask = slots[number + steps].mask
        allowed = np.ones(ACTIONS, np.bool_) if mask is None else mask
        return slots[number].obs, slots[number].action, total, slots[number + steps].obs, discount, allowed

    def all_valid(self) -> list[tuple[int, int, tuple[Any, ...]]]:
        """(lane, number, transition) of all that are valid: lane after lane, oldest first."""
        return [
            (lane, number, transition)
            for lane, slots in enumerate(self.lanes)
            for number in range(max(0, len(slots) - self.length), len(slots))
            if (transition := self.transition(lane, number)) is not None
        ]


Operation = tuple[int, float, str, int | None]
"""Lane, reward, what happens, and the mask of the next state: its bits, or None."""


class World:
    """Feeds a ring and its reference; an observation is [lane, episode, time], or the last few of these.

    Before an episode began, the frames of a stack are of negative times.
    """

    def __init__(self, lanes: int, length: int, n_step: int, gamma: float, stack: int = 1) -> None:
        self.ring = TransitionRing(
            observation_space=SPACE if stack == 1 else stacks_of(stack),
            capacity=lanes * length,
            gamma=gamma,
            num_envs=lanes,
            n_step=n_step,
            frame_stack=stack,
        )
        self.slow = SlowRing(lanes, length, n_step, gamma, stack)
        self.places = [(0, 0)] * lanes

    def empty(self) -> World:
        """Another one of the same kind."""
        ring, lanes = self.ring, len(self.places)
        return World(lanes, ring.capacity // lanes, ring.n_step, ring.gamma, ring.frame_stack)

    def obs(self, lane: int, episode: int, time: int) -> np.ndarray:
        frames = np.array([[lane, episode, time - k] for k in reversed(range(self.ring.frame_stack))], np.int16)
        return frames[0] if self.ring.frame_stack == 1 else frames

    def do(self, operation: Operation) -> Changes:
        lane, reward, what, bits = operation
        lane %= len(self.places)
        episode, time = self.places[lane]
        if what == "break":
            self.places[lane] = (episode + 1, 0)
            self.slow.break_lane(lane)
            return self.ring.break_lane(lane)
        terminated, truncated = what in ("terminated", "both"), what in ("truncated", "both")
        obs, next_obs = (self.obs(lane, episode, time + i) for i in range(2))
        mask = None if bits is None else np.array([bits >> i & 1 for i in range(ACTIONS)], np.bool_)
        transition = Transition(obs, time % 5, reward, next_obs, terminated, truncated, lane, mask)
        self.places[lane] = (episode + 1, 0) if terminated or truncated else (episode, time + 1)
        self.slow.append(transition)
        return self.ring.append(transition)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[World, list[Operation]]:
    """A world whose lanes are as short as they may be, or a little longer, and what happens in it."""
    n_step = draw(st.integers(1, 5))
    lanes = draw(st.integers(1, 3))
    stack = draw(st.sampled_from([1, 1, 2, 4]))
    length = n_step + 2 * stack + draw(st.integers(0, 9))
    world = World(lanes, length, n_step, draw(st.sampled_from([0.0, 0.5, 0.9, 1.0])), stack)
    masks = draw(st.sampled_from([st.none(), st.none() | st.integers(0, 7), st.integers(0, 7)]))
    what = st.sampled_from(["on"] * 6 + ["terminated", "truncated", "both", "break"])
    rewards = st.floats(-100, 100, width=32)
    count = draw(st.integers(0, 90))  # drawn apart, as lists alone would mostly be too short to wrap around
    operation = st.tuples(st.integers(0, lanes - 1), rewards, what, masks)
    return world, draw(st.lists(operation, min_size=count, max_size=count))


def everything(ring: TransitionRing) -> Batch:
    return ring.gather(ring.index_at(np.arange(len(ring))))


def check_against_reference(world: World) -> None:
    ring, expected = world.ring, world.slow.all_valid()
    assert len(ring) == len(expected)
    indices = ring.index_at(np.arange(len(ring)))
    assert len(set(indices.tolist())) == len(indices)
    assert ring.valid(indices).all()
    batch = ring.gather(indices)
    assert batch.obs.dtype == batch.next_obs.dtype == torch.int16
    assert batch.actions.dtype == batch.indices.dtype == torch.int64
    assert batch.rewards.dtype == batch.discounts.dtype == batch.weights.dtype == torch.float32
    assert batch.indices.tolist() == indices.tolist()
    assert batch.weights.tolist() == [1.0] * len(expected)
    assert batch.obs.tolist() == [transition[0].tolist() for _, _, transition in expected]
    assert batch.actions.tolist() == [transition[1] for _, _, transition in expected]
    assert batch.rewards.tolist() == [float(np.float32(transition[2])) for _, _, transition in expected]
    assert batch.next_obs.tolist() == [transition[3].tolist() for _, _, transition in expected]
    assert batch.discounts.tolist() == [float(np.float32(transition[4])) for _, _, transition in expected]
    if not world.slow.heard_masks:
        assert batch.next_mask is None
    else:
        assert batch.next_mask is not None
        assert batch.next_mask.dtype == torch.bool
        assert batch.next_mask.tolist() == [transition[5].tolist() for _, _, transition in expected]


@given(worlds())
def test_gather_and_ranks_agree_with_the_reference(case: tuple[World, list[Operation]]) -> None:
    world, operations = case
    for operation in operations:
        world.do(operation)
        check_against_reference(world)


@given(worlds())
def test_changes_keep_a_weight_per_slot_in_step(case: tuple[World, list[Operation]]) -> None:
    """What a prioritised replay does with `Changes` alone gives exactly the valid slots."""
    world, operations = case
    ring = world.ring
    slots: set[int] = set()
    seen: dict[int, int] = {}
    for operation in operations:
        added, removed = world.do(operation)
        assert not set(added) & set(removed)
        assert set(removed) <= slots
        slots.difference_update(removed)
        slots.update(added)
        assert set(ring.indices_in(np.array(added, np.int64)).tolist()).isdisjoint({-1, *seen})
        indices = ring.index_at(np.arange(len(ring)))
        assert sorted(ring.slots_of(indices).tolist()) == sorted(slots)
        assert ring.indices_in(ring.slots_of(indices)).tolist() == indices.tolist()
        empty = sorted(set(range(ring.capacity)) - slots)
        assert (ring.indices_in(np.array(empty, np.int64)) == -1).all()
        # An index is for ever: those seen before are valid exactly while their transition is held.
        for index, slot in zip(indices.tolist(), ring.slots_of(indices).tolist(), strict=True):
            assert seen.setdefault(index, slot) == slot
        known = np.array(list(seen), np.int64)
        assert ring.valid(known).tolist() == [index in set(indices.tolist()) for index in seen]
        assert ring.valid(torch.from_numpy(known)).tolist() == ring.valid(known).tolist()
    assert len(seen) >= len(slots)


@given(worlds(), st.integers(0, 90), st.booleans())
def test_a_restored_ring_goes_on_as_if_nothing_had_happened(
    case: tuple[World, list[Operation]], when: int, into_used: bool
) -> None:
    world, operations = case
    for operation in operations[:when]:
        world.do(operation)
    state = copy.deepcopy(world.ring.state_dict())
    other = world.empty()
    if into_used:
        for time in range(3 * other.ring.capacity):
            other.do((time, 1.0, "terminated" if time % 7 == 0 else "on", time % 8))
    other.ring.load_state_dict(state)
    other.slow, other.places = copy.deepcopy(world.slow), list(world.places)
    assert not difference(everything(other.ring), everything(world.ring))
    for operation in operations[when:]:
        assert world.do(operation) == other.do(operation)
        assert not difference(everything(other.ring), everything(world.ring))
    check_against_reference(other)


@pytest.mark.parametrize(("shape", "stack", "once"), [((40, 80, 2), 1, 40 * 80 * 2), ((4, 84, 84, 1), 4, 84 * 84)])
def test_each_observation_or_frame_is_stored_once(shape: tuple[int, ...], stack: int, once: int) -> None:
    kind: dict[str, Any] = {"observation_space": spaces.Box(0, 255, shape, np.uint8), "frame_stack": stack}
    ring = TransitionRing(**kind, capacity=100, gamma=0.99)
    assert 100 * once < ring.nbytes < 100 * (once + 64)
    assert ring.nbytes == TransitionRing.bytes_needed(**kind, capacity=100)


def test_frames_that_do_not_move_on_are_refused_and_nothing_is_stored() -> None:
    ring = TransitionRing(observation_space=stacks_of(2), capacity=8, gamma=1.0, frame_stack=2)
    a, b, c = (np.full(3, value, np.int16) for value in range(3))
    ring.append(Transition(np.stack([a, a]), 0, 1.0, np.stack([a, b]), False, False))
    with pytest.raises(ValueError, match="does not begin with the last 1 frames of obs"):
        ring.append(Transition(np.stack([a, b]), 0, 1.0, np.stack([c, b]), False, False))
    with pytest.raises(ValueError, match="not its last next_obs"):
        ring.append(Transition(np.stack([c, b]), 0, 1.0, np.stack([b, c]), False, False))
    ring.append(Transition(np.stack([a, b]), 0, 1.0, np.stack([b, c]), True, False))
    batch = everything(ring)
    assert batch.obs[:, :, 0].tolist() == [[0, 0], [0, 1]]
    assert batch.next_obs[:, :, 0].tolist() == [[0, 1], [1, 2]]


def test_bytes_are_foretold_without_allocating() -> None:
    space = spaces.Box(0, 255, (210, 160, 3), np.uint8)
    assert TransitionRing.bytes_needed(observation_space=space, capacity=10**12, num_envs=4, n_step=5) > 10**17


def test_float64_is_stored_whole_and_gathered_as_float32() -> None:
    ring = TransitionRing(observation_space=spaces.Box(-1, 1, (2,), np.float64), capacity=4, gamma=1.0)
    obs = np.array([0.1, 0.2])
    ring.append(Transition(obs, 0, 1.0, obs / 3, False, False))
    ring.append(Transition(obs / 3, 0, 1.0, obs / 7, False, False))
    batch = everything(ring)
    assert batch.obs.dtype == torch.float32
    assert np.array_equal(batch.obs.numpy()[1], (obs / 3).astype(np.float32))
    assert ring.state_dict()["arrays"]["obs"].dtype == np.float64


def test_nan_continues_itself() -> None:
    ring = TransitionRing(observation_space=spaces.Box(-1, 1, (2,), np.float32), capacity=4, gamma=1.0)
    strange = np.array([np.nan, 1], np.float32)
    ring.append(Transition(strange, 0, 1.0, strange, False, False))
    ring.append(Transition(strange.copy(), 0, 1.0, strange, False, False))
    assert len(ring) == 2


ZERO, ONE = np.zeros(3, np.int16), np.ones(3, np.int16)
GOOD = Transition(ONE, 0, 1.0, ONE, False, False)


@pytest.mark.parametrize(
    ("transition", "words"),
    [
        (GOOD._replace(env=2), "lanes 0 to 1"),
        (GOOD._replace(obs=np.ones(4, np.int16)), r"expected obs int16 \[3\], got int16 \[4\]"),
        (GOOD._replace(next_obs=np.ones(3, np.uint8)), r"expected next_obs int16 \[3\], got uint8 \[3\]"),
        (
            Transition([1, 1, 1], *GOOD[1:]),  # type: ignore[arg-type]
            "got list",
        ),
        (GOOD._replace(reward=float("nan")), "finite reward, got nan"),
        (GOOD._replace(obs=ZERO), "not its last next_obs"),
        (GOOD._replace(next_mask=np.ones(2, np.int8)), r"next_mask bool \[A\], got int8 \[2\]"),
        (GOOD._replace(next_mask=np.ones((1, 2), np.bool_)), r"next_mask bool \[A\], got bool \[1, 2\]"),
        (
            GOOD._replace(next_mask=[True]),  # type: ignore[arg-type]
            "got list",
        ),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_stored(transition: Transition, words: str) -> None:
    ring = TransitionRing(observation_space=SPACE, capacity=16, gamma=1.0, num_envs=2)
    ring.append(GOOD)
    before = copy.deepcopy(ring.state_dict())
    with pytest.raises(ValueError, match=words):
        ring.append(transition)
    after = ring.state_dict()
    assert after.pop("arrays").keys() == before["arrays"].keys()
    assert after == {name: value for name, value in before.items() if name != "arrays"}
    ring.append(GOOD)
    assert len(ring) == 2


def test_masks_of_other_actions_are_refused() -> None:
    ring = TransitionRing(observation_space=SPACE, capacity=10, gamma=1.0)
    ring.append(GOOD._replace(next_mask=np.ones(3, np.bool_)))
    with pytest.raises(ValueError, match=r"next_mask bool \[3\], got bool \[4\]"):
        ring.append(GOOD._replace(next_mask=np.ones(4, np.bool_)))


def test_gather_refuses_what_is_not_valid() -> None:
    ring = TransitionRing(observation_space=SPACE, capacity=4, gamma=1.0)
    for _ in range(9):
        ring.append(GOOD)
    assert ring.valid(np.array([-1, 0, 5, 6, 8, 9, 10**12])).tolist() == [False, False, False, True, True, False, False]
    with pytest.raises(ValueError, match="2 of 3 indices"):
        ring.gather(np.array([6, 5, -1]))


@pytest.mark.parametrize("ranks", [[-1], [2], [0, 5]])
def test_ranks_out_of_range_are_refused(ranks: list[int]) -> None:
    ring = TransitionRing(observation_space=SPACE, capacity=8, gamma=1.0)
    ring.append(GOOD)
    ring.append(GOOD)
    with pytest.raises(IndexError, match="0 to 1"):
        ring.index_at(np.array(ranks))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"capacity": 20, "num_envs": 4, "n_step": 5}, "capacity of at least 28"),
        ({"num_envs": 0}, "1 or more"),
        ({"gamma": 1.5}, "gamma"),
        ({"frame_stack": 0}, "frame_stack of 0"),
        ({"frame_stack": 3}, r"\[3, ...\] for a frame_stack of 3, got \[3\]"),
        ({"frame_stack": 4, "observation_space": stacks_of(3)}, r"\[4, ...\] for a frame_stack of 4, got \[3, 3\]"),
        ({"frame_stack": 4, "observation_space": stacks_of(4), "capacity": 8}, "1-step returns of 4 frames need 9"),
        ({"observation_space": spaces.Discrete(3)}, "Box"),
        ({"observation_space": spaces.Box(-1, 1, (2,), np.longdouble)}, "torch has no tensors"),
    ],
)
def test_bad_arguments_are_refused_in_words(changes: dict[str, Any], words: str) -> None:
    arguments: dict[str, Any] = {"observation_space": SPACE, "capacity": 100, "gamma": 0.9, **changes}
    with pytest.raises(ValueError, match=words):
        TransitionRing(**arguments)


def test_capacity_is_shared_evenly() -> None:
    assert TransitionRing(observation_space=SPACE, capacity=100, gamma=0.9, num_envs=3).capacity == 99
