"""Write your own locator: the window follows MountainCar's car, and finds it from the state instead of the picture."""

from typing import Any

import gymnasium
import numpy as np

from cartpole_dqn.wrappers import CenteredCrop, Channel, FrameDifference, RenderObservation, Resize


def car(env: gymnasium.Env[Any, Any], picture: Any) -> float:
    """Return where the car is, as a fraction of the picture's width. A locator may also use `picture`."""
    base: Any = env.unwrapped
    return float((base.state[0] - base.min_position) / (base.max_position - base.min_position))


env = gymnasium.make("MountainCar-v0", render_mode="rgb_array")
env = RenderObservation(env)
env = Channel(env, 1)
env = FrameDifference(env, gap=3, keep_current=True, encoding="uint8")
# A name instead of the function, so that env.spec can be written as JSON. In your package: "your_package.locators:car".
env = CenteredCrop(env, width=240, locator=f"{__name__}:car", edges="pad")
env = Resize(env, height=60)

env.action_space.seed(0)
obs, _ = env.reset(seed=0)
for _ in range(20):
    obs, *_ = env.step(env.action_space.sample())
columns = np.flatnonzero(obs[..., 0].min(axis=0) < 100)
print(f"each observation: {obs.shape} {obs.dtype}; the car is at columns {columns.min()} to {columns.max()}")
assert columns.min() <= obs.shape[1] // 2 <= columns.max(), "in the middle, wherever it is on its track"
