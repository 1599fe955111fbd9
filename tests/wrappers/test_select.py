"""`Select`: one part of a dict or tuple, inside another too."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from cartpole_dqn.wrappers import Crop, Select

CAMERA = spaces.Box(0, 255, (8, 9, 3), np.uint8)


class Robot(gymnasium.Env[Any, Any]):
    observation_space = spaces.Dict(cameras=spaces.Tuple((spaces.Discrete(3), CAMERA)), place=spaces.Discrete(4))
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        self.last = self.observation_space.sample()
        return self.last, {}


def test_a_part_inside_a_part() -> None:
    env: Any = Select(Select(Robot(), "cameras"), np.int64(1))
    assert env.observation_space == CAMERA
    observation, _ = env.reset(seed=0)
    assert np.array_equal(observation, env.unwrapped.last["cameras"][1])
    assert Crop(env, rows=[1, 4]).observation_space.shape == (3, 9, 3)


@pytest.mark.parametrize(
    ("key", "error", "words"),
    [
        ("camera", ValueError, "key must be one of 'cameras', 'place', got 'camera'"),
        (0, ValueError, "got 0"),
        (["cameras"], TypeError, r"the name or the number of a part, got \['cameras'\] \(list\)"),
    ],
)
def test_a_part_that_is_not_there_is_refused(key: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=f"Select: .*{words}"):
        Select(Robot(), key)


def test_what_has_no_parts_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Select: expected observations of several parts .*, but they are Box"):
        Select(gymnasium.make("CartPole-v1"), 0)


def test_a_picture_wrapper_advises_it() -> None:
    with pytest.raises(TypeError, match="Put Select before it"):
        Crop(Robot(), rows=[0, 1])
