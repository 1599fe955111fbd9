"""Show Atari's Pong as its field and what moved in it. Its observations are already pictures. Needs the extra atari."""

import gymnasium
from gymnasium.wrappers import MaxAndSkipObservation

from cartpole_dqn.wrappers import Channel, Crop, FrameDifference, Resize

try:
    env = gymnasium.make("ale_py:ALE/Pong-v5", frameskip=1)
except ModuleNotFoundError:
    print('left out: Pong needs the Arcade Learning Environment, pip install "cartpole-dqn[atari]"')
    raise SystemExit(0) from None

env = MaxAndSkipObservation(env, skip=4)  # Atari draws some things only in every second frame.
env = Crop(env, rows=[34, 194])  # without the score and the borders
env = Channel(env, 1)  # In green, ball and paddles are all brighter than the field.
env = Resize(env, height=80)
env = FrameDifference(env, keep_current=True, encoding="uint8")

env.action_space.seed(0)
obs, _ = env.reset(seed=0)
for _ in range(54):
    obs, *_ = env.step(env.action_space.sample())
assert obs in env.observation_space
print(f"each observation: {obs.shape} {obs.dtype}; {int((obs[..., 1] != 128).sum())} pixels have changed")
