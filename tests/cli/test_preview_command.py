"""`cartpole-dqn preview` from the command line: any environment that can be seen, and sentences for the others."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from PIL import Image

TOY = """
import gymnasium
import numpy as np
from gymnasium import spaces


class Toy(gymnasium.Env):
    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}
    action_space = spaces.Box(-1, 1, (2,))
    observation_space = spaces.Box(-1, 1, (2,))

    def __init__(self, late="ok", render_mode=None):
        self.late, self.render_mode, self.now = late, render_mode, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.now = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.now += 1
        return np.zeros(2, np.float32), 0.0, False, False, {}

    def render(self):
        frame = np.full((31, 17, 3), 200, np.uint8)
        frame[5:9, self.now : self.now + 4] = 0
        if self.now > 4 and self.late == "fails":
            raise OSError("the projector is gone")
        return frame[:20] if self.now > 4 and self.late == "shrinks" else frame


def to_the_left(env, picture):
    assert env.unwrapped.now >= 0 and picture.ndim == 3
    return 0.0


gymnasium.register("Toy-v0", Toy)
"""
CHAIN = """
[[observation]]
wrapper = "render"

[[observation]]
wrapper = "centered-crop"
width = 9
locator = "LOCATOR"
"""


@pytest.fixture
def preview(call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    """Type `preview` in a folder with a package of somebody else, `toy_world`."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "toy_world.py").write_text(TOY)
    monkeypatch.delitem(sys.modules, "toy_world", raising=False)
    monkeypatch.setattr("gymnasium.envs.registration.registry", dict(gymnasium.registry))
    return functools.partial(call, "preview")


def test_an_environment_alone_is_enough(preview: Callable[..., Any], tmp_path: Path) -> None:
    result = preview("--env", "toy_world:Toy-v0")
    assert result.out == "preview.png\n", "whatever its actions are"
    assert "stages of toy_world:Toy-v0, pixels" in result.err
    with Image.open(tmp_path / "preview.png") as picture:
        assert picture.size[0] > 300


def test_numbers_that_are_made_of_other_observations_are_shown(preview: Callable[..., Any], tmp_path: Path) -> None:
    result = preview("--env", "Blackjack-v1", "--obs", "state")
    assert "2 stages of Blackjack-v1" in result.err
    (tmp_path / "graphs.py").write_text(
        "import gymnasium\nfrom gymnasium.spaces import Box, Discrete, Graph\n"
        "class Graphs(gymnasium.Env):\n"
        "    observation_space, action_space = Graph(Box(0, 1, (2,)), None), Discrete(2)\n"
        "gymnasium.register('Graphs-v0', Graphs)\n"
    )
    result = preview("--env", "graphs:Graphs-v0", "--obs", "state", code=2)
    assert "the observation (Graph) varies in shape from step to step" in result.err
    assert "1 stage of CartPole-v1" in preview("--obs", "state").err


def test_a_locator_of_ones_own(preview: Callable[..., Any], tmp_path: Path) -> None:
    for locator, code in {"toy_world:to_the_left": 0, "toy_world:to_the_right": 2, "cart": 2}.items():
        (tmp_path / "chain.toml").write_text(CHAIN.replace("LOCATOR", locator))
        result = preview("--env", "toy_world:Toy-v0", "--config", "chain.toml", code=code)
        assert code == 0 or result.err.startswith("error: observation[1] (centered-crop): CenteredCrop: "), result.err


@pytest.mark.parametrize(
    ("late", "words"),
    [("fails", "OSError: the projector is gone"), ("shrinks", r"ValueError: .* got uint8 [20, 17, 3]")],
)
def test_an_environment_that_fails_on_the_way(preview: Callable[..., Any], late: str, words: str) -> None:
    kind = f'env.kwargs.late="{late}"'
    result = preview("--env", "toy_world:Toy-v0", "--set", kind, "--seed", "7", code=1)
    begin, _, end = words.partition(".*")
    assert f"toy_world:Toy-v0 failed within 12 random steps of seed 7: {begin}" in result.err
    assert end in result.err
    preview("--env", "toy_world:Toy-v0", "--set", kind, "--steps", "4")


def test_a_preset_beside_it(preview: Callable[..., Any], tmp_path: Path) -> None:
    result = preview("--obs", "pixels", "--compare", "tutorial-pixels", "--theme", "dark")
    assert result.out == "preview.png\n"
    lines = result.err.splitlines()
    assert lines[:2] == ["tutorial-pixels: cart's motion: gone", "pixels: cart's motion: kept"]
    with Image.open(tmp_path / "preview.png") as picture:
        assert picture.convert("RGB").getpixel((0, 0)) == (21, 25, 30)


def test_single_wrappers_are_put_into_the_chain(preview: Callable[..., Any]) -> None:
    gray = ["--wrapper", "grayscale@before:resize", "--set", "observation.grayscale.keep_dim=true"]
    result = preview("--obs", "pixels", *gray, "--set", "observation.channel.drop=true", "--wrapper", "flatten")
    assert "7 stages of CartPole-v1" in result.err, "the frame, and six wrappers"
