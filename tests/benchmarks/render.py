"""How fast the pictures are made, side by side in one run: `python tests/benchmarks/render.py [--rounds N]`.

* From CartPole's state to the tutorial's 40-row patch: `get_screen` of the tutorial, through Gymnasium's frame, floats,
  Pillow and back, against the chain RenderObservation, CenteredCrop, Resize; without and with `rows`.
* The whole frame of each environment that pygame draws: `RenderObservation` against Gymnasium's `AddRenderObservation`.
  (Pendulum reads a picture from a file for each frame, so that most of its time is drawing.)

The ways take turns, so that a busy machine slows all of them; each is judged by its fastest rounds' mean. One thread.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import gymnasium
import numpy as np
import torch
import torchvision.transforms as T
from gymnasium.wrappers import AddRenderObservation
from timing import measure, show

from cartpole_dqn.wrappers import CenteredCrop, RenderObservation, Resize
from cartpole_dqn.wrappers.surface import drawing_of

Env = gymnasium.Env[Any, Any]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=400)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)

    print("From state to the 40-row patch, CartPole-v1")
    show(measure(patches(), rounds, time.perf_counter), bars={"chain": 3.0, "chain with rows": 4.0})
    for env_id in ("CartPole-v1", "Acrobot-v1", "MountainCar-v0", "Pendulum-v1", "LunarLander-v3"):
        try:
            ways = frames(env_id)
        except gymnasium.error.DependencyNotInstalled as error:
            print(f"\n{env_id}: left out, {error}")
            continue
        print(f"\nThe whole frame, {env_id}")
        bars = {"RenderObservation": 2.0} if env_id != "Pendulum-v1" else {}
        show(measure(ways, rounds, time.perf_counter), bars)


def patches() -> dict[str, Callable[[], Any]]:
    """The ways to the tutorial's patch."""
    whole = Resize(CenteredCrop(RenderObservation(cartpole()), width=320, locator="cart", rows=[160, 320]), height=40)
    strip = Resize(CenteredCrop(RenderObservation(cartpole(), rows=[160, 320]), width=320, locator="cart"), height=40)
    slow = cartpole()
    for env in (whole, strip, slow):
        env.reset(seed=0)
    draw = drawing_of(type(slow.unwrapped).render)
    assert draw is not None
    base: Any = slow.unwrapped
    return {
        "tutorial's get_screen": lambda: get_screen(base),
        "chain": observing(whole),
        "chain with rows": observing(strip),
        "drawing alone": lambda: draw(base),
    }


def frames(env_id: str) -> dict[str, Callable[[], Any]]:
    """The ways to the whole frame."""
    gymnasiums = AddRenderObservation(gymnasium.make(env_id, render_mode="rgb_array"))
    ours = RenderObservation(gymnasium.make(env_id, render_mode="rgb_array"))
    for env in (gymnasiums, ours):
        env.reset(seed=0)
    return {"AddRenderObservation": observing(gymnasiums), "RenderObservation": observing(ours)}


def cartpole() -> Env:
    """CartPole, to be rendered."""
    return gymnasium.make("CartPole-v1", render_mode="rgb_array")


def observing(env: Env) -> Callable[[], Any]:
    """A function that makes the observation of the present state, through all observation wrappers, without a step."""
    wrappers: list[Any] = []
    while isinstance(env, gymnasium.ObservationWrapper):
        wrappers.insert(0, env)
        env = env.env

    def observe() -> Any:
        observation = None
        for wrapper in wrappers:
            observation = wrapper.observation(observation)
        return observation

    return observe


RESIZE = T.Compose([T.ToPILImage(), T.Resize(40, interpolation=T.InterpolationMode.BICUBIC), T.ToTensor()])


def get_screen(base: Any) -> Any:
    """The tutorial's steps, one after the other."""
    screen = base.render().transpose((2, 0, 1))[:, 160:320]
    location = int(base.state[0] * 600 / (base.x_threshold * 2) + 300.0)
    start = min(max(location - 160, 0), 600 - 320)
    patch = np.ascontiguousarray(screen[:, :, start : start + 320], dtype=np.float32) / 255
    return RESIZE(torch.from_numpy(patch)).unsqueeze(0)


if __name__ == "__main__":
    main()
