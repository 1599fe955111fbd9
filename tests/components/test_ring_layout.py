"""What a ring saves, and which saved states it refuses."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from cartpole_dqn.components.ring import TransitionRing
from cartpole_dqn.interfaces import Batch, Transition

SPACE = spaces.Box(0, 30_000, (3,), np.int16)
ONE = np.ones(3, np.int16)
GOOD = Transition(ONE, 0, 1.0, ONE, False, False)


def same(a: Batch, b: Batch) -> bool:
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in Batch.__dataclass_fields__)


def everything(ring: TransitionRing) -> Batch:
    return ring.gather(ring.index_at(np.arange(len(ring))))


def filled_ring(steps: int = 9, **changes: Any) -> TransitionRing:
    arguments: dict[str, Any] = {"observation_space": SPACE, "capacity": 40, "gamma": 0.9, "num_envs": 2, "n_step": 3}
    ring = TransitionRing(**{**arguments, **changes})
    for _ in range(steps):
        for lane in range(ring.num_envs):
            ring.append(GOOD._replace(env=lane))
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


DAMAGES = ["no arrays", "no pending", "an array missing", "dtype", "lanes", "pending too long"]
DAMAGES += ["pending in a closed lane", "stamp of another slot", "stamp from the future", "next slot outside"]


@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_state_is_refused_and_changes_nothing(what: str) -> None:
    state = copy.deepcopy(filled_ring().state_dict())
    damage(state, what)
    ring = filled_ring(steps=30)
    before = everything(ring)
    with pytest.raises(ValueError, match="damaged"):
        ring.load_state_dict(state)
    assert same(everything(ring), before)
