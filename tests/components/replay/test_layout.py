"""What a ring saves, and which saved states it refuses."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from cartpole_dqn.components.replay.ring import TransitionRing
from cartpole_dqn.contracts.parts import Batch, Transition

SPACE = spaces.Box(0, 30_000, (3,), np.int16)
ONE = np.ones(3, np.int16)
GOOD = Transition(ONE, 0, 1.0, ONE, False, False)


def same(a: Batch, b: Batch) -> bool:
    pairs = [(getattr(a, name), getattr(b, name)) for name in Batch.__dataclass_fields__]
    return all(one is other if one is None or other is None else torch.equal(one, other) for one, other in pairs)


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


@pytest.mark.parametrize("changes", [{"capacity": 60}, {"num_envs": 1}, {"n_step": 2}, {"gamma": 0.8}])
def test_a_state_of_another_ring_is_refused(changes: dict[str, Any]) -> None:
    name = next(iter(changes))
    with pytest.raises(ValueError, match=f"saved state has {name}"):
        filled_ring(**changes).load_state_dict(filled_ring().state_dict())


def test_a_state_with_other_observations_is_refused() -> None:
    other = TransitionRing(
        observation_space=spaces.Box(0, 1, (4,), np.int16), capacity=40, gamma=0.9, num_envs=2, n_step=3
    )
    with pytest.raises(ValueError, match="array obs should be int16"):
        other.load_state_dict(filled_ring().state_dict())


def test_a_state_of_frames_needs_a_ring_of_frames() -> None:
    space = spaces.Box(0, 30_000, (3, 3), np.int16)
    whole = TransitionRing(observation_space=space, capacity=10, gamma=0.9, n_step=2)
    with pytest.raises(ValueError, match="saved state has frame_stack 3, this ring 1"):
        whole.load_state_dict(stacked_ring().state_dict())


def test_a_state_from_before_frames_and_masks_were_kept_is_taken() -> None:
    state = copy.deepcopy(filled_ring().state_dict())
    del state["frame_stack"]
    assert "forbidden" not in state["arrays"]
    ring = filled_ring(steps=30, masks=True)
    ring.load_state_dict(state)
    assert same(everything(ring), everything(filled_ring()))
    for each in (ring, other := filled_ring()):
        each.append(GOOD._replace(next_mask=np.array([False, True])))
    assert same(everything(ring), everything(other))


@pytest.mark.parametrize("used", [False, True])
def test_a_state_with_masks_is_taken_by_any_ring_of_its_kind(used: bool) -> None:
    source = filled_ring(masks=True)
    state = copy.deepcopy(source.state_dict())
    assert state["arrays"]["forbidden"].tolist()[0][1] == [False, True]
    ring = filled_ring(steps=30, masks=used)
    ring.load_state_dict(state)
    assert ring.nbytes == source.nbytes
    assert same(everything(ring), everything(source))


def damage(state: dict[str, Any], what: str) -> None:
    arrays = state["arrays"]
    if what == "no arrays":
        del state["arrays"]
    elif what == "no pending":
        del state["pending"]
    elif what == "an array missing":
        del arrays["actions"]
    elif what == "dtype":
        arrays["rewards"] = arrays["rewards"].astype(np.float64)
    elif what == "lanes":
        state["open"] = [True]
    elif what == "pending too long":
        state["pending"][0] = [1.0] * 3
    elif what == "pending in a closed lane":
        state["open"][0] = False
    elif what == "stamp of another slot":
        arrays["stamps"][0, 0] = 2
    elif what == "stamp from the future":
        arrays["stamps"][0, 9] = 2 * 9
    elif what == "next slot outside":
        arrays["next_slots"][1, 0] = 4000
    elif what == "masks of other actions":
        arrays["forbidden"] = np.zeros((2, 10, 3), np.bool_)
    elif what == "masks of numbers":
        arrays["forbidden"] = np.zeros((2, 10, 2), np.int8)
    elif what == "masks without actions":
        arrays["forbidden"] = np.zeros((2, 10), np.bool_)


DAMAGES = ["no arrays", "no pending", "an array missing", "dtype", "lanes", "pending too long"]
DAMAGES += ["pending in a closed lane", "stamp of another slot", "stamp from the future", "next slot outside"]
DAMAGES += ["masks of other actions", "masks of numbers", "masks without actions"]


@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_state_is_refused_and_changes_nothing(what: str) -> None:
    state = copy.deepcopy(filled_ring().state_dict())
    damage(state, what)
    ring = filled_ring(steps=30, masks=what.startswith("masks of"))
    before = everything(ring)
    with pytest.raises(ValueError, match="damaged"):
        ring.load_state_dict(state)
    assert same(everything(ring), before)


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
