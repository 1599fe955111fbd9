"""What a ring saves, and which saved states it refuses."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from cartpole_dqn.components.replay.ring import TransitionRing
from cartpole_dqn.contracts.parts import Batch, Transition
from cartpole_dqn.testing._state import difference

SPACE = spaces.Box(0, 30_000, (3,), np.int16)
ONE = np.ones(3, np.int16)
GOOD = Transition(ONE, 0, 1.0, ONE, False, False)


def everything(ring: TransitionRing) -> Batch:
    return ring.gather(ring.index_at(np.arange(len(ring))))


def filled_ring(steps: int = 9, masks: bool = False, **changes: Any) -> TransitionRing:
    good = GOOD._replace(next_mask=np.array([True, False])) if masks else GOOD
    arguments: dict[str, Any] = {"observation_space": SPACE, "capacity": 40, "gamma": 0.9, "num_envs": 2, "n_step": 3}
    ring = TransitionRing(**{**arguments, **changes})
    for _ in range(steps):
        for lane in range(ring.num_envs):
            ring.append(good._replace(env=lane))
    return ring


def stacked_ring(steps: int = 12) -> TransitionRing:
    """One lane of 10 slots, its oldest ones overwritten."""
    space = spaces.Box(0, 30_000, (3, 3), np.int16)
    ring = TransitionRing(observation_space=space, capacity=10, gamma=0.9, n_step=2, frame_stack=3)
    obs = np.ones((3, 3), np.int16)
    for _ in range(steps):
        ring.append(Transition(obs, 0, 1.0, obs, False, False))
    return ring


def test_the_state_holds_what_is_filled_and_no_more() -> None:
    arrays = filled_ring().state_dict()["arrays"]
    assert arrays["obs"].shape == (2, 10, 3)
    assert all(array.shape[:2] == (2, 10) for array in arrays.values())
    assert filled_ring(steps=100).state_dict()["arrays"]["obs"].shape == (2, 20, 3)
    assert filled_ring(steps=0).state_dict()["arrays"]["obs"].shape == (2, 0, 3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"capacity": 60}, "saved state has capacity 40, this ring 60"),
        ({"num_envs": 1}, "saved state has num_envs"),
        ({"n_step": 2}, "saved state has n_step"),
        ({"gamma": 0.8}, "saved state has gamma"),
        ({"observation_space": spaces.Box(0, 1, (4,), np.int16)}, "array obs should be int16"),
    ],
)
def test_a_state_of_another_ring_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        filled_ring(0, **changes).load_state_dict(filled_ring().state_dict())


def test_a_state_of_frames_needs_a_ring_of_frames() -> None:
    space = spaces.Box(0, 30_000, (3, 3), np.int16)
    with pytest.raises(ValueError, match="saved state has frame_stack 3, this ring 1"):
        filled_ring(0, observation_space=space, capacity=10, num_envs=1, n_step=2).load_state_dict(
            stacked_ring().state_dict()
        )


def test_a_state_from_before_frames_and_masks_were_kept_is_taken() -> None:
    state = copy.deepcopy(filled_ring().state_dict())
    del state["frame_stack"]
    assert "forbidden" not in state["arrays"]
    ring = filled_ring(steps=30, masks=True)
    ring.load_state_dict(state)
    assert not difference(everything(ring), everything(filled_ring()))
    for each in (ring, other := filled_ring()):
        each.append(GOOD._replace(next_mask=np.array([False, True])))
    assert not difference(everything(ring), everything(other))


@pytest.mark.parametrize("used", [False, True])
def test_a_state_with_masks_is_taken_by_any_ring_of_its_kind(used: bool) -> None:
    source = filled_ring(masks=True)
    state = copy.deepcopy(source.state_dict())
    assert state["arrays"]["forbidden"].tolist()[0][1] == [False, True]
    ring = filled_ring(steps=30, masks=used)
    ring.load_state_dict(state)
    assert ring.nbytes == source.nbytes
    assert not difference(everything(ring), everything(source))


REMOVED = object()
DAMAGES: dict[str, tuple[list[Any], Any]] = {
    # what: (a place in the state, what is put there)
    "no arrays": (["arrays"], REMOVED),
    "no pending": (["pending"], REMOVED),
    "an array missing": (["arrays", "actions"], REMOVED),
    "dtype": (["arrays", "rewards"], np.zeros((2, 10), np.float64)),
    "lanes": (["open"], [True]),
    "pending too long": (["pending", 0], [1.0] * 3),
    "pending in a closed lane": (["open", 0], False),
    "stamp of another slot": (["arrays", "stamps", (0, 0)], 2),
    "stamp from the future": (["arrays", "stamps", (0, 9)], 2 * 9),
    "next slot outside": (["arrays", "next_slots", (1, 0)], 4000),
    "masks of other actions": (["arrays", "forbidden"], np.zeros((2, 10, 3), np.bool_)),
    "masks of numbers": (["arrays", "forbidden"], np.zeros((2, 10, 2), np.int8)),
    "masks without actions": (["arrays", "forbidden"], np.zeros((2, 10), np.bool_)),
}


def damage(state: Any, what: str) -> None:
    (*path, last), value = DAMAGES[what]
    for key in path:
        state = state[key]
    if value is REMOVED:
        del state[last]
    else:
        state[last] = value


@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_state_is_refused_and_changes_nothing(what: str) -> None:
    state = copy.deepcopy(filled_ring().state_dict())
    damage(state, what)
    ring = filled_ring(steps=30, masks=what.startswith("masks of"))
    before = everything(ring)
    with pytest.raises(ValueError, match="damaged"):
        ring.load_state_dict(state)
    assert not difference(everything(ring), before)


@pytest.mark.parametrize("what", ["stamp whose frames are gone", "pending before the first frames", "open too early"])
def test_a_damaged_state_of_frames_is_refused(what: str) -> None:
    steps = 12 if what == "stamp whose frames are gone" else 1
    state = copy.deepcopy(stacked_ring(steps).state_dict())
    stacked_ring(steps).load_state_dict(state)
    if what == "stamp whose frames are gone":
        # Numbers 5 to 14 are held: the observation at 6 needs the frame 4.
        state["arrays"]["stamps"][0, 6] = 6
    elif what == "pending before the first frames":
        state["pending"][0] = [1.0, 1.0]
    else:
        state["numbers"][0], state["pending"][0] = 3, []
        state["arrays"] = {name: array[:, :3] for name, array in state["arrays"].items()}
    with pytest.raises(ValueError, match="damaged"):
        stacked_ring(steps).load_state_dict(state)
