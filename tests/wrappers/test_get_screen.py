"""The tutorial's picture is what a chain of three wrappers gives.

The slow way is the one of the PyTorch tutorial: the whole frame, rows 160 to 320, 320 columns around the cart, floats,
a Pillow image, bicubic to 40 rows. The chain must give its grey levels, at most one apart: Pillow and torchvision round
their weights differently. (Measured: not one pixel of 400 random states differs.)
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from PIL import Image

from cartpole_dqn.wrappers import CenteredCrop, RenderObservation, Resize

GREY_LEVELS = 1


def chain(cut_first: bool) -> gymnasium.Env[Any, Any]:
    env = gymnasium.make("CartPole-v1", render_mode="rgb_array")
    if cut_first:
        centred = CenteredCrop(RenderObservation(env, rows=[160, 320]), width=320, locator="cart")
    else:
        centred = CenteredCrop(RenderObservation(env), width=320, locator="cart", rows=[160, 320])
    return Resize(centred, height=40)


def get_screen(env: gymnasium.Env[Any, Any]) -> Any:
    """[40, 80, 3] in grey levels, by the tutorial's steps one after the other."""
    base: Any = env.unwrapped
    screen = np.asarray(base.render())[160:320]
    location = int(base.state[0] * 600 / (base.x_threshold * 2) + 600 / 2.0)
    if location < 160:
        columns = slice(0, 320)
    elif location > 600 - 160:
        columns = slice(600 - 320, 600)
    else:
        columns = slice(location - 160, location + 160)
    floats = np.ascontiguousarray(screen[:, columns], dtype=np.float32) / 255
    image = Image.fromarray((floats * 255).round().astype(np.uint8)).resize((80, 40), Image.Resampling.BICUBIC)
    return np.asarray(image).astype(int)


@pytest.mark.parametrize("cut_first", [True, False])
def test_get_screen_at_any_place_on_the_track(cut_first: bool) -> None:
    env = chain(cut_first)
    plain = gymnasium.make("CartPole-v1", render_mode="rgb_array")
    bases: list[Any] = [env.unwrapped, plain.unwrapped]
    env.reset(seed=0)
    plain.reset(seed=0)
    random = np.random.default_rng(0)
    for x in [-2.4, -1.12, 0.0, 1.12, 2.4, *random.uniform(-2.4, 2.4, 25)]:
        state = np.array([x, 0.0, random.uniform(-0.2, 0.2), 0.0])
        for base in bases:
            base.state, base.steps_beyond_terminated = state.copy(), None
        observation = env.step(1)[0]
        plain.step(1)
        assert observation.shape == (40, 80, 3)
        assert np.abs(observation.astype(int) - get_screen(plain)).max() <= GREY_LEVELS
