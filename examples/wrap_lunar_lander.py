"""Follow Lunar Lander with a window that finds it by its colour. Needs the extra box2d."""

import gymnasium
import numpy as np

from cartpole_dqn.wrappers import CenteredCrop, Channel, FrameDifference, RenderObservation, Resize

try:
    env = gymnasium.make("LunarLander-v3", render_mode="rgb_array")
except gymnasium.error.DependencyNotInstalled:
    print('left out: Lunar Lander needs Box2D, pip install "cartpole-dqn[box2d]"')
    raise SystemExit(0) from None

env = RenderObservation(env)
env = Channel(env, 0)
env = FrameDifference(env, gap=2, keep_current=True, encoding="uint8")
# Crop before resizing, which mixes the colours, and after the difference: a moving window cancels the lander's motion.
env = CenteredCrop(env, width=240, height=160, follow="both", locator={"color": [128], "tolerance": 2}, edges="pad")
env = Resize(env, height=40)

env.action_space.seed(0)
obs, _ = env.reset(seed=0)
for _ in range(40):
    obs, *_ = env.step(env.action_space.sample())
lander = np.argwhere(abs(obs[..., 0].astype(int) - 128) < 20).mean(axis=0)
print(f"each observation: {obs.shape} {obs.dtype}; the lander is at row {lander[0]:.1f}, column {lander[1]:.1f}")
assert abs(lander - [20, 30]).max() < 2, "in the middle, wherever it flies"
