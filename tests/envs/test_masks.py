"""Action masks on their way from `info` to transitions and policies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from numpy.typing import NDArray

from cartpole_dqn.contracts.parts import Policy, State
from cartpole_dqn.contracts.seeding import Stream
from cartpole_dqn.envs.guard import Guard
from cartpole_dqn.envs.lanes import Lanes
from cartpole_dqn.envs.workers import WorkerEnvs
from cartpole_dqn.errors import RunError
from cartpole_dqn.training.evaluator import Evaluator

NOTHING = object()


class Telling(gymnasium.Env[Any, Any]):
    """Tells the masks it was given, one a step and the first at its reset; `NOTHING` tells none. Never ends."""

    observation_space = spaces.Box(0, 1, (1,), np.float32)
    action_space = spaces.Discrete(3, start=4)

    def __init__(self, masks: Sequence[Any]) -> None:
        self.masks = masks

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.count = 0
        return np.zeros(1, np.float32), self._info()

    def step(self, action: Any) -> Any:
        self.count += 1
        return np.zeros(1, np.float32), 0.0, self.count == len(self.masks) - 1, False, self._info()

    def _info(self) -> dict[str, Any]:
        mask = self.masks[self.count]
        return {} if mask is NOTHING else {"action_mask": mask}


def lanes_of(*stories: Sequence[Any], workers: bool = False) -> Lanes:
    makes = [lambda masks=masks: Telling(masks) for masks in stories]
    envs: VectorEnv[Any, Any, Any]
    if workers:
        envs = WorkerEnvs(makes)
    else:
        guarded = [lambda k=k: Guard(makes[k](), k) for k in range(len(makes))]
        envs = SyncVectorEnv(guarded, autoreset_mode=AutoresetMode.DISABLED)
    return Lanes(envs, seed=0)


def bits(mask: NDArray[np.bool_] | None) -> str | None:
    return None if mask is None else "".join("01"[int(b)] for b in mask.reshape(-1))


FORMS = {
    "int8 arrays": lambda text: np.array([int(c) for c in text], np.int8),
    "boolean arrays": lambda text: np.array([c == "1" for c in text]),
    "lists": lambda text: [int(c) for c in text],
    "tuples of booleans": lambda text: tuple(c == "1" for c in text),
}


@pytest.mark.parametrize("workers", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_transitions_carry_the_mask_of_the_next_state(form: str, workers: bool) -> None:
    as_told = FORMS[form]
    lanes = lanes_of(*([as_told(t) for t in story] for story in (["100", "010", "011"], ["001"] * 3)), workers=workers)
    try:
        lanes.start()
        assert bits(lanes.mask) == "100" + "001"
        seen = [lanes.step(np.array([0, 2]))[0] for _ in range(2)]
    finally:
        lanes.close()
    assert [[bits(t.next_mask) for t in both] for both in seen] == [["010", "001"], ["011", "001"]]


def test_a_mask_does_not_outlive_its_state() -> None:
    lanes = lanes_of([NOTHING, np.array([1, 0, 0]), NOTHING, np.array([0, 0, 1])])
    lanes.start()
    assert lanes.mask is None
    assert bits(lanes.step(np.array([0]))[0][0].next_mask) == "100"
    held = lanes.mask
    assert bits(lanes.step(np.array([0]))[0][0].next_mask) == "111"
    assert bits(lanes.mask) == "111"
    assert bits(held) == "100", "whoever holds an old mask keeps it"
    lanes.step(np.array([0]))
    ended = lanes.mask
    lanes.begin([0])
    assert bits(lanes.mask) == "111"
    assert bits(ended) == "001"


def test_lanes_tell_for_themselves() -> None:
    lanes = lanes_of([np.array([1, 0, 0])] * 3, [NOTHING] * 3)
    lanes.start()
    assert bits(lanes.mask) == "100" + "111"
    seen, _ = lanes.step(np.array([0, 0]))
    assert [bits(t.next_mask) for t in seen] == ["100", "111"]


def test_a_mask_that_allows_nothing_allows_everything() -> None:
    lanes = lanes_of([np.array([0, 0, 0])] * 2)
    lanes.start()
    assert bits(lanes.mask) == "111"


def test_environments_without_masks_have_none() -> None:
    lanes = lanes_of([NOTHING] * 2)
    lanes.start()
    assert lanes.step(np.array([0]))[0][0].next_mask is None


@pytest.mark.parametrize("mask", [np.ones(2), np.ones((1, 3)), [1, [0], 1], "all"])
def test_a_mask_of_another_form_ends_the_run_in_words(mask: Any) -> None:
    lanes = lanes_of([mask] * 2)
    with pytest.raises(RunError, match=r"environment 0 gave the action_mask .* each of 3 actions"):
        lanes.start()

    class Never(Policy):
        def act(self, obs: Any, mask: Any = None) -> NDArray[np.int64]:
            raise AssertionError

        def state_dict(self) -> State:
            return {}

        def load_state_dict(self, state: State) -> None: ...

    evaluator = Evaluator(lambda: Telling([mask] * 2), seed=0, clock=lambda: 0.0)
    with pytest.raises(RunError, match="each of 3 actions"):
        evaluator.play(Never(), episodes=1, stream=Stream.SELECT)
