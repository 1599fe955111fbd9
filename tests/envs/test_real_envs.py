"""Real environments from end to end: `run`, `evaluate`, `resume`, and a resumed run that ends like an unbroken one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from cartpole_dqn.runs.checkpoint import read_state

QUICK = ["observer=[]", "evaluation.every=0", "agent.learning_starts=0", "agent.batch_size=4", "agent.train_every=2"]
"""No curve to draw, no evaluation on the way, and learning from the first steps on."""
SHORT = ["env.kwargs.max_episode_steps=12"]
FRAMES = "agent.replay.capacity=400"

IMAGE = 'observation=[{wrapper = "minigrid.wrappers:ImgObsWrapper"}]'
PARTS = 'observation=[{wrapper = "gymnasium.wrappers:FilterObservation", filter_keys = ["direction", "image"]}]'
PRESSES = 'observation=[{wrapper = "gymnasium.wrappers:DiscretizeAction", bins = 3}]'


def newest(family: str) -> str:
    """The id of the newest version that Gymnasium registers."""
    known = [spec for spec in gymnasium.registry.values() if spec.name == family]
    return max(known, key=lambda spec: spec.version or 0).id


CASES: dict[str, tuple[str, str, list[str], str]] = {
    # what: (id, obs, settings, module that it needs)
    "CartPole-v1, pixels": ("CartPole-v1", "pixels", SHORT, ""),
    "Acrobot, pixels": ("Acrobot-v1", "pixels", SHORT, ""),
    "MountainCar, pixels": ("MountainCar-v0", "pixels", [*SHORT, FRAMES], ""),
    "LunarLander, state": ("LunarLander-v3", "state", SHORT, "Box2D"),
    "FrozenLake, state": ("FrozenLake-v1", "state", [], ""),
    "Taxi, state": (newest("Taxi"), "state", SHORT, ""),
    "Blackjack, state": ("Blackjack-v1", "state", [], ""),
    "a dict": ("tests/Robot-v0", "state", [], ""),
    "Pong, pixels": ("ALE/Pong-v5", "pixels", ["env.time_limit=120", FRAMES], "ale_py"),
    "Pong, memory": ("ale_py:ALE/Pong-v5", "state", ["env.time_limit=30"], "ale_py"),
    "MiniGrid, pixels": ("minigrid:MiniGrid-Empty-5x5-v0", "pixels", [*SHORT, FRAMES], "minigrid"),
    "MiniGrid, two parts": ("minigrid:MiniGrid-Empty-5x5-v0", "state", [*SHORT, PARTS], "minigrid"),
    "Pendulum, pressed in steps": ("Pendulum-v1", "state", [*SHORT, PRESSES], ""),
}


class Robot(gymnasium.Env[Any, Any]):
    """A walk along five places: a camera of uint8, a place, two float64 without bounds; actions from 7 on."""

    observation_space = spaces.Dict(
        camera=spaces.Box(0, 255, (2, 3), np.uint8),
        place=spaces.Discrete(5, start=-2),
        inside=spaces.Tuple((spaces.MultiBinary(2), spaces.Box(-np.inf, np.inf, (2,), np.float64))),
    )
    action_space = spaces.Discrete(2, start=7)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.place, self.steps = 0, 0
        return self._see(), {}

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action), action
        self.place += 1 if action == 8 else -1
        self.steps += 1
        over = abs(self.place) == 2
        return self._see(), float(self.place == 2), over, self.steps == 9, {}

    def _see(self) -> Any:
        camera = self.np_random.integers(0, 256, (2, 3), dtype=np.uint8)
        inside = (np.array([1, 0], np.int8), self.np_random.normal(size=2))
        return {"camera": camera, "place": self.place, "inside": inside}


@pytest.fixture(autouse=True)
def robots() -> Iterator[None]:
    gymnasium.register("tests/Robot-v0", Robot)
    yield
    gymnasium.registry.pop("tests/Robot-v0")


@pytest.mark.parametrize("case", CASES)
def test_from_end_to_end(case: str, call: Callable[..., Any], tmp_path: Path) -> None:
    env_id, obs, settings, module = CASES[case]
    if module:
        pytest.importorskip(module)
    sets = [part for text in [*QUICK, *settings] for part in ("--set", text)]
    common = ["run", "--env", env_id, "--obs", obs, "--seed", "3", "--plain", *sets]
    steps = 24 if obs == "pixels" else 60
    for name, budget in (("whole", steps), ("halves", steps // 2)):
        result = call(*common, "--steps", str(budget), "--out", name)

    result = call("evaluate", "halves", "--episodes", "1", "--json")
    assert np.isfinite(json.loads(result.out)["mean"])

    result = call("resume", "halves", "--steps", str(steps), "--plain")
    assert "not deterministic" not in result.err
    for part in ("run", "replay"):
        files = [next((tmp_path / name / "checkpoint").glob(f"{part}-*.safetensors")) for name in ("whole", "halves")]
        assert files[0].read_bytes() == files[1].read_bytes(), f"the resumed run's {part} differs"
    _, parts = read_state(tmp_path / "whole/checkpoint")
    assert parts["run"]["agent"]["updates"] > 5
