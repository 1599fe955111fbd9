"""Play CartPole with a policy that `cartpole-dqn export` wrote, without cartpole-dqn and torch.

Needs gymnasium with classic-control, NumPy and onnxruntime.

Usage: python play_onnx.py policy.onnx [EPISODES]
"""

import json
import sys
from collections import deque

import gymnasium
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1])
inputs = json.loads(session.get_modelmeta().custom_metadata_map["inputs"])  # steps ago: {"frame": [0, 4], "place": [0]}
env = gymnasium.make("CartPole-v1", render_mode="rgb_array")
now = {
    "observation": lambda obs: obs,
    "frame": lambda obs: env.render(),
    "place": lambda obs: env.unwrapped.state[0] / 4.8 + 0.5,  # of the cart, as a fraction of the track
}
returns = []
for episode in range(int(sys.argv[2]) if len(sys.argv) > 2 else 3):
    obs, _ = env.reset(seed=episode)
    past = {name: deque(maxlen=max(ago) + 1) for name, ago in inputs.items()}  # the latest first
    total, over = 0.0, False
    while not over:
        for name, values in past.items():
            values.appendleft(now[name](obs))
        # Before the first step there is only the first moment.
        given = {name: np.stack([seen[min(k, len(seen) - 1)] for k in inputs[name]]) for name, seen in past.items()}
        values, action = session.run(["values", "action"], given)
        obs, reward, terminated, truncated, _ = env.step(int(action))
        total, over = total + reward, terminated or truncated
    returns.append(total)
print(f"mean return of {len(returns)} episodes: {np.mean(returns):g}")
