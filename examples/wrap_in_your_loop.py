"""Use the wrappers in your own loop: two environments give a batch of small pictures for a network.

This needs only Gymnasium, torch and the wrappers. Actions are random; an agent would get the same observations.
"""

import functools

import gymnasium
import torch
from gymnasium.vector import AutoresetMode
from torch import nn

from cartpole_dqn.wrappers import Channel, FrameDifference, RenderObservation, Resize

wrappers = [
    RenderObservation,
    functools.partial(Channel, channel=0),
    functools.partial(Resize, height=40, interpolation="bilinear"),
    functools.partial(FrameDifference, keep_current=True, encoding="uint8"),
]
envs = gymnasium.make_vec(
    "Acrobot-v1",
    num_envs=2,
    vectorization_mode="sync",
    wrappers=wrappers,
    vector_kwargs={"autoreset_mode": AutoresetMode.DISABLED},
    render_mode="rgb_array",
)
torch.manual_seed(0)
network = nn.Sequential(nn.Conv2d(2, 8, 8, 4), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 9 * 9, 3))

envs.action_space.seed(0)
obs, _ = envs.reset(seed=0)
for _ in range(30):
    obs, rewards, terminated, truncated, _ = envs.step(envs.action_space.sample())
    ended = terminated | truncated
    if ended.any():  # No step of its own, so no transition across an episode's end.
        obs, _ = envs.reset(options={"reset_mask": ended})

assert obs in envs.observation_space
print(f"a batch of observations: {obs.shape} {obs.dtype}, [environments, rows, columns, channels]")
# White is 255 and no difference 128: both become 0. torch wants channels before rows and columns.
inputs = (torch.from_numpy(obs) - torch.tensor([255.0, 128.0])) / torch.tensor([255.0, 127.5])
values = network(inputs.permute(0, 3, 1, 2))
print(f"what an untrained network makes of them: the values of {values.shape[1]} actions in each environment")
print(values.detach().numpy().round(3))
envs.close()
