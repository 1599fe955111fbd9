from __future__ import annotations

import enum
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.wrappers import RescaleObservation

from cartpole_dqn.envs.names import action_names, number_names


class Named(gymnasium.Env[Any, Any]):
    observation_space = spaces.Box(-1, 1, (1,))
    action_space = spaces.Discrete(2, start=-1)


class Meaning(Named):
    def get_action_meanings(self) -> list[str]:
        return ["NOOP", "FIRE"]


class Listed(Named):
    class actions(enum.IntEnum):  # noqa: N801
        push = 0
        pull = 1


class Failing(Named):
    def get_action_meanings(self) -> list[str]:
        raise RuntimeError("no meaning")


class TooMany(Named):
    def get_action_meanings(self) -> list[str]:
        return ["a", "b", "c"]


@pytest.mark.parametrize(
    ("cls", "names"),
    [
        (Meaning, ("noop", "fire")),
        (Listed, ("push", "pull")),
        (Named, ("action -1", "action 0")),
        (Failing, ("action -1", "action 0")),
        (TooMany, ("action -1", "action 0")),
    ],
)
def test_actions_are_called_as_the_environment_calls_them(cls: type[Named], names: tuple[str, ...]) -> None:
    assert action_names(cls()) == names
    assert number_names(cls()) == ()


@pytest.mark.parametrize("env_id", ["CartPole-v0", "CartPole-v1", "MountainCar-v0", "Acrobot-v1", "LunarLander-v3"])
def test_known_environments_have_names(env_id: str) -> None:
    if env_id.startswith("Lunar"):
        pytest.importorskip("Box2D")
    env = gymnasium.make(env_id, disable_env_checker=True)
    assert not any(name.startswith("action") for name in action_names(env))
    assert len(number_names(env)) == env.observation_space.shape[0]  # type: ignore[index]
    if env.observation_space.is_bounded():  # type: ignore[attr-defined]
        assert number_names(RescaleObservation(env, np.float32(-0.5), np.float32(0.5))) == ()
