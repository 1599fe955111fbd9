"""The wrapper checks: right wrappers pass them all, and each way to be wrong is named by its check."""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.envs.classic_control import CartPoleEnv
from gymnasium.utils import RecordConstructorArgs

from broken import after, name_all
from cartpole_dqn.testing import run_checks
from cartpole_dqn.wrappers import Crop, Moments

Env = gymnasium.Env[Any, Any]


class Tired(gymnasium.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """CartPole's numbers with their change since the last step: [4] float32 -> [2, 4]."""

    def __init__(self, env: Env, *, scale: float = 1.0) -> None:
        RecordConstructorArgs.__init__(self, scale=scale)
        gymnasium.Wrapper.__init__(self, env)
        if env.observation_space.shape != (4,):
            raise ValueError(f"Tired takes 4 numbers, got {env.observation_space}.")
        self.scale = scale
        self.observation_space = spaces.Box(-np.inf, np.inf, (2, 4), np.float32)
        self.before = np.zeros(4, np.float32)

    def reset(self, **given: Any) -> Any:
        obs, info = self.env.reset(**given)
        self.before = obs
        return self.show(obs), info

    def step(self, action: Any) -> Any:
        obs, reward, terminated, truncated, info = self.env.step(action)
        return self.show(obs), reward, terminated, truncated, info

    def show(self, obs: Any) -> Any:
        change, self.before = obs - self.before, obs
        return np.stack([obs, change * np.float32(self.scale)])


class InTorch(Tired):
    """The same, which says how torch computes it."""

    def as_torch(self, moments: Moments) -> Any:
        now, before = moments.observation(), moments.observation(1)
        return torch.stack([now, (now - before) * self.scale])


make = partial(gymnasium.make, "CartPole-v1")


# Broken ones: each in one way -----------------------------------------------------------------------------------------


OtherDtype = after(Tired, "show", lambda obs: obs.astype(np.float64))
ResetWithoutInfo = after(Tired, "reset", lambda given: (given[0], None))
FlagsAreNumbers = after(Tired, "step", lambda step: (*step[:2], int(step[2]), int(step[3]), step[4]))
BoundlessReward = after(Tired, "step", lambda step: (step[0], float("inf"), *step[2:]))
# Nothing is shown of an episode's end.
BadLastObservation = after(Tired, "step", lambda step: (None if step[2] else step[0], *step[1:]))
OtherInTorch = after(InTorch, "as_torch", lambda obs: obs * 2)
Unseeded = after(Tired, "show", lambda obs: obs + np.random.default_rng().random(dtype=np.float32))
GlobalRandomness = after(Tired, "show", lambda obs: obs + 0 * np.float32(np.random.random()))  # noqa: NPY002


class OutOfBounds(Tired):
    def __init__(self, env: Env, *, scale: float = 1.0) -> None:
        super().__init__(env, scale=scale)
        self.observation_space = spaces.Box(-0.3, 0.3, (2, 4), np.float32)


class NeverEnds(Tired):
    def step(self, action: Any) -> Any:
        obs, reward, terminated, _, info = super().step(action)
        if terminated:
            self.env.reset(seed=0)
        return obs, reward, False, False, info


class OneArray(Tired):
    """Gives out the same array again and again."""

    def __init__(self, env: Env) -> None:
        super().__init__(env)
        self.shown = np.zeros((2, 4), np.float32)

    def show(self, obs: Any) -> Any:
        self.shown[...] = super().show(obs)
        return self.shown


class ViewOfItsMemory(Tired):
    """What it gives out is what it compares with next."""

    def show(self, obs: Any) -> Any:
        shown = super().show(obs)
        self.before = shown[0]
        return shown


class SharedByAll(Tired):
    """What was seen before belongs to the class."""

    seen: list[Any] = [np.zeros(4, np.float32)]  # noqa: RUF012

    def show(self, obs: Any) -> Any:
        self.before, self.seen[0] = self.seen[0], obs
        return super().show(obs)


class RemembersTheLastEpisode(Tired):
    def reset(self, **given: Any) -> Any:
        before = self.before
        obs, info = self.env.reset(**given)
        self.before = before
        return self.show(obs), info


class ArgumentsNotRecorded(Tired):
    def __init__(self, env: Env, *, scale: float = 2.0) -> None:
        super().__init__(env, scale=scale)
        self._saved_kwargs = {"scale": 1.0}


class NotRecorded(gymnasium.ObservationWrapper[Any, Any, Any]):
    def observation(self, observation: Any) -> Any:
        return observation.copy()


class ArgumentsThatJsonLacks(Tired):
    def __init__(self, env: Env, *, scale: float = 1.0) -> None:
        super().__init__(env, scale=scale)
        self._saved_kwargs = {"scale": np.float32(scale)}


name_all(globals())
RIGHT = [make, partial(make, max_episode_steps=5), lambda: Tired(make()), Tired, InTorch]
TABLE = [
    # (class, the check that names the fault, words of its message)
    (OtherDtype, "check_observations", "by its space: expected float32 [2, 4], got float64 [2, 4]"),
    (OutOfBounds, "check_observations", "outside the space's bounds, -0.3"),
    (BadLastObservation, "check_observations", "expected float32 [2, 4], got NoneType"),
    (NeverEnds, "check_observations", "no episode ended in 5000 random steps"),
    (ResetWithoutInfo, "check_steps", "reset gave (ndarray, NoneType)"),
    (FlagsAreNumbers, "check_steps", "step gave 0: expected a boolean"),
    (BoundlessReward, "check_steps", "expected a finite number"),
    (OneArray, "check_observations_are_their_own", "when later ones came"),
    (ViewOfItsMemory, "check_observations_are_their_own", "was overwritten"),
    (SharedByAll, "check_determinism", "equal seeds and actions differ"),
    (Unseeded, "check_determinism", "equal seeds and actions differ"),
    (RemembersTheLastEpisode, "check_reset_forgets", "after another one"),
    (ArgumentsNotRecorded, "check_spec", "plays another episode"),
    (NotRecorded, "check_spec", "RecordConstructorArgs"),
    (ArgumentsThatJsonLacks, "check_spec", "float32"),
    (OtherInTorch, "check_as_torch", "as_torch gives numbers up to "),
    (GlobalRandomness, "check_global_randomness", "NumPy (np.random)"),
]


def test_an_environment_without_a_spec_is_told_so() -> None:
    failed = {result.name: result.message for result in run_checks("wrapper", CartPoleEnv) if not result.passed}
    assert failed.keys() == {"check_spec"}
    assert "env.spec is None" in failed["check_spec"]


def test_a_class_that_refuses_pictures_and_numbers_says_why_of_both() -> None:
    (message,) = {result.message for result in run_checks("wrapper", Crop, {"rows": [5, 1]})}
    assert "refuses CartPole's pictures: Crop: rows must be two whole numbers" in message
    assert "refuses CartPole's numbers: Crop: expected pictures of shape" in message
    (message,) = {result.message for result in run_checks("wrapper", Crop, {"raws": [1, 5]})}
    assert message.startswith("It refuses CartPole's pictures and numbers: ")


def test_a_class_that_takes_pictures_gets_them() -> None:
    class Small(gymnasium.wrappers.TransformObservation[Any, Any, Any]):
        def __init__(self, env: Env) -> None:
            assert env.observation_space.shape == (400, 600, 3)
            space = spaces.Box(0, 255, (40, 60, 3), np.uint8)
            super().__init__(env, lambda picture: picture[::10, ::10].copy(), space)

    failed = {result.name for result in run_checks("wrapper", Small) if not result.passed}
    assert failed == {"check_spec"}  # a function defined in place is no JSON
