"""Use only the wrappers, without training: turn another environment into small pictures that show what moved."""

import gymnasium

from cartpole_dqn.wrappers import CenteredCrop, FrameDifference, RenderObservation, Resize

env = gymnasium.make("MountainCar-v0", render_mode="rgb_array")
env = RenderObservation(env, rows=[0.25, 1.0])  # the lower three quarters of what it draws
env = FrameDifference(env, gap=2, keep_current=True, encoding="uint8")  # the frame, and what changed in it
env = CenteredCrop(env, width=0.5, locator="darkest")  # one window for both, which follows the car
env = Resize(env, height=48)

env.action_space.seed(0)
obs, _ = env.reset(seed=0)
for _ in range(20):
    obs, *_ = env.step(env.action_space.sample())
assert obs in env.observation_space
print(f"each observation: {obs.shape} {obs.dtype}, from {obs.min()} to {obs.max()}")
