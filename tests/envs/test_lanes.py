from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from cartpole_dqn.contracts.parts import Transition
from cartpole_dqn.contracts.seeding import Stream, episode_seed
from cartpole_dqn.envs.guard import EnvError, Guard
from cartpole_dqn.envs.lanes import Lanes, training_seeds
from cartpole_dqn.envs.workers import WorkerEnvs


def cartpole() -> gymnasium.Env[Any, Any]:
    return gymnasium.make("CartPole-v1", max_episode_steps=30)


def make_lanes(n: int, make: Any = cartpole, seed: int = 0, apart: bool = False) -> Lanes:
    return lanes_of([make] * n, seed, apart)


def lanes_of(makes: Sequence[Any], seed: int = 0, apart: bool = False) -> Lanes:
    guarded = [lambda lane=lane, make=make: Guard(make(), lane) for lane, make in enumerate(makes)]
    envs: Any = WorkerEnvs(guarded) if apart else SyncVectorEnv(guarded, autoreset_mode=AutoresetMode.DISABLED)
    return Lanes(envs, seeds=training_seeds(seed))


class Oracle(gymnasium.Env[Any, Any]):
    """Counts its steps; a coin that no seed governs where asked."""

    def __init__(self, fickle: bool = False) -> None:
        self.observation_space = spaces.Box(0, 1e9, (1,), np.float64)
        self.action_space = spaces.Discrete(3)
        self.fickle, self.count, self.resets = fickle, 0, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.count = 0
        self.resets += 1
        return self._obs(), {}

    def step(self, action: Any) -> Any:
        self.count += 1
        return self._obs(), 1.0, False, False, {}

    def _obs(self) -> Any:
        return np.array([self.count + (1000 * self.resets if self.fickle else 0)], dtype=np.float64)


def play(lanes: Lanes, rng: np.random.Generator, steps: int) -> list[Transition]:
    """Random actions; ended lanes are begun anew, as the runner does."""
    seen = []
    for _ in range(steps):
        transitions, endings = lanes.step(rng.integers(0, 2, len(lanes)))
        seen += transitions
        if endings:
            lanes.begin([ending.env for ending in endings])
    return seen


def test_an_environment_that_is_not_deterministic_is_noticed() -> None:
    lanes = make_lanes(2, lambda: Oracle(fickle=True))
    lanes.start()
    assert all(transition.next_mask is None for transition in play(lanes, np.random.default_rng(0), 5))
    restored = make_lanes(2, lambda: Oracle(fickle=True))
    for env in restored._envs.envs:  # type: ignore[attr-defined]
        env.unwrapped.resets = 7
    assert restored.load_state_dict(lanes.state_dict()) == [0, 1]
    with pytest.raises(ValueError, match="2 lanes, this run has 1"):
        make_lanes(1).load_state_dict(lanes.state_dict())


class Moody(Oracle):
    """Once `others` is set, an episode takes another course: it ends at its second step, or refuses its action."""

    def __init__(self, mood: str) -> None:
        super().__init__()
        self.mood, self.others = mood, False

    def step(self, action: Any) -> Any:
        obs, *_ = super().step(action)
        acting_up = self.others and self.count == 2
        if acting_up and self.mood == "raise":
            raise ValueError("not allowed here")
        return obs, 1.0, acting_up, False, {}


@pytest.mark.parametrize("mood", ["end", "raise"])
@pytest.mark.parametrize("moody", [[0], [1], [0, 2], [0, 1, 2]])
def test_an_episode_that_takes_another_course_is_lost_and_the_others_are_restored(mood: str, moody: list[int]) -> None:
    lanes = make_lanes(3, lambda: Moody(mood))
    lanes.start()
    for length in range(5):
        lanes.step(np.zeros(3, np.int64))
        if length == 1:
            lanes.begin([2])
    state = lanes.state_dict()
    restored = make_lanes(3, lambda: Moody(mood))
    for lane in moody:
        restored._envs.envs[lane].unwrapped.others = True  # type: ignore[attr-defined]
    assert restored.load_state_dict(state) == moody
    assert restored.obs[:, 0].tolist() == [0.0 if lane in moody else [5, 5, 3][lane] for lane in range(3)]
    after = restored.state_dict()
    assert [len(actions) for actions in after["actions"]] == [0 if i in moody else [5, 5, 3][i] for i in range(3)]


def test_lanes_are_restored_with_one_reset_each() -> None:
    """A reset may take much longer than a step, and a long episode has thousands of steps."""
    lanes = make_lanes(3, Oracle)
    lanes.start()
    for t in range(9):
        lanes.step(np.zeros(3, np.int64))
        if t in (4, 8):
            lanes.begin([1 if t == 4 else 2])
    restored = make_lanes(3, Oracle)
    assert restored.load_state_dict(lanes.state_dict()) == []
    assert restored.obs[:, 0].tolist() == [9, 4, 0]
    assert [env.unwrapped.resets for env in restored._envs.envs] == [1, 1, 1]  # type: ignore[attr-defined]
    transitions, _ = restored.step(np.zeros(3, np.int64))
    assert [int(transition.next_obs[0]) for transition in transitions] == [10, 5, 1]


def test_an_environment_that_raises_at_every_start_is_a_fault_while_it_is_restored() -> None:
    lanes = make_lanes(1)
    lanes.start()
    play(lanes, np.random.default_rng(0), 3)

    class Broken(Oracle):
        def reset(self, **kwargs: Any) -> Any:
            raise OSError("no such level")

    with pytest.raises(
        EnvError, match=r"environment 0 \(episode seed \d+, at its reset\) raised OSError: no such level"
    ):
        make_lanes(1, Broken).load_state_dict(lanes.state_dict())


@pytest.mark.parametrize("apart", [False, True])
def test_a_fault_is_told_with_its_episode_and_step(apart: bool) -> None:
    class Faulty(Oracle):
        def step(self, action: Any) -> Any:
            if self.count == 2:
                raise ZeroDivisionError("of all things")
            return super().step(action)

    lanes = make_lanes(2, Faulty, seed=9, apart=apart)
    lanes.start()
    for _ in range(2):
        lanes.step(np.array([0, 1]))
    lanes.begin([0])
    seed = episode_seed(Stream.TRAIN, 9, 1, 0)
    with pytest.raises(EnvError) as caught:
        lanes.step(np.array([0, 0]))
    lanes.close()
    text = str(caught.value)
    assert text.startswith(f"environment 1 (episode seed {seed}, step 3) raised ZeroDivisionError: of all things")
    assert re.search(r"\(test_lanes\.py, line \d+\)$", text)


NOTHING = object()


class Telling(Oracle):
    """Tells the masks it was given, one a step and the first at its reset; `NOTHING` tells none."""

    def __init__(self, masks: Sequence[Any]) -> None:
        super().__init__()
        self.action_space, self.masks = spaces.Discrete(3, start=4), masks

    def reset(self, **kwargs: Any) -> Any:
        return super().reset(**kwargs)[0], self._info()

    def step(self, action: Any) -> Any:
        obs, *_ = super().step(action)
        return obs, 0.0, self.count == len(self.masks) - 1, False, self._info()

    def _info(self) -> dict[str, Any]:
        mask = self.masks[self.count]
        return {} if mask is NOTHING else {"action_mask": np.array([int(c) for c in mask], np.int8)}


def bits(mask: Any) -> str | None:
    return None if mask is None else "".join("01"[int(b)] for b in mask.reshape(-1))


@pytest.mark.parametrize("apart", [False, True])
def test_transitions_carry_the_mask_of_the_next_state(apart: bool) -> None:
    stories = (["100", "010", "011"], ["001", "001", "001"], [NOTHING] * 3)
    lanes = lanes_of([lambda story=story: Telling(story) for story in stories], apart=apart)
    try:
        lanes.start()
        assert bits(lanes.mask) == "100" + "001" + "111"
        seen = [lanes.step(np.array([0, 2, 1]))[0] for _ in range(2)]
    finally:
        lanes.close()
    assert [[bits(t.next_mask) for t in step] for step in seen] == [["010", "001", "111"], ["011", "001", "111"]]


def test_a_mask_does_not_outlive_its_state() -> None:
    lanes = lanes_of([lambda: Telling([NOTHING, "100", NOTHING, "001"])])
    lanes.start()
    assert lanes.mask is None
    assert bits(lanes.step(np.array([0]))[0][0].next_mask) == "100"
    held = lanes.mask
    assert bits(lanes.step(np.array([0]))[0][0].next_mask) == "111"
    assert bits(held) == "100", "whoever holds an old mask keeps it"
    lanes.step(np.array([0]))
    ended = lanes.mask
    lanes.begin([0])
    assert (bits(lanes.mask), bits(ended)) == ("111", "001")
