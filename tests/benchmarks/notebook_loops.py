"""The tutorial notebooks' training loops as plain scripts: what the presets' speed is measured against.

Written here from the notebooks' description: a list of transitions as memory, one tensor a transition, a batch made by
concatenation, float pixels through a Pillow resize, and the target network's whole `state_dict` mixed at each step.
Plotting is left out. Run as `python tests/benchmarks/notebook_loops.py state --steps 2000 --threads 1`; it prints one
JSON object with the steps and the seconds that they took.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import random
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from PIL import Image
from timing import pin
from torch import Tensor, nn


class Step(NamedTuple):
    """One remembered transition; `next_state` is None after an episode's last step."""

    state: Tensor
    action: Tensor
    next_state: Tensor | None
    reward: Tensor


class Memory:
    """A list that is overwritten from its start once it is full."""

    def __init__(self, capacity: int, rng: random.Random) -> None:
        self._capacity = capacity
        self._steps: list[Step] = []
        self._position = 0
        self._rng = rng

    def push(self, step: Step) -> None:
        """Keep a step."""
        if len(self._steps) < self._capacity:
            self._steps.append(step)
        else:
            self._steps[self._position] = step
        self._position = (self._position + 1) % self._capacity

    def sample(self, size: int) -> list[Step]:
        """Draw steps without replacement."""
        return self._rng.sample(self._steps, size)

    def __len__(self) -> int:
        return len(self._steps)


class ScreenNet(nn.Module):
    """Three 5x5 convolutions of stride 2 with BatchNorm, and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        widths = [3, 16, 32, 32]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 5, stride=2) for a, b in itertools.pairwise(widths))
        self.norms = nn.ModuleList(nn.BatchNorm2d(b) for b in widths[1:])
        self.head = nn.Linear(448, 2)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, 40, 80] -> [B, 2]."""
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = torch.relu(norm(conv(x)))
        values: Tensor = self.head(x.flatten(1))
        return values


def state_net() -> nn.Module:
    """Two hidden layers of 128."""
    return nn.Sequential(nn.Linear(4, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 2))


def screen_patch(env: Any) -> Tensor:
    """Return the tutorial's patch [1, 3, 40, 80]: a strip of the screen, 320 pixels around the cart, resized."""
    frame = env.render().transpose((2, 0, 1))[:, 160:320]
    width, window = frame.shape[2], 320
    cart = int(env.state[0] * width / (env.x_threshold * 2) + width / 2)
    left = min(max(cart - window // 2, 0), width - window)
    patch = np.ascontiguousarray(frame[:, :, left : left + window], dtype=np.float32) / 255
    image = Image.fromarray((patch.transpose(1, 2, 0) * 255).astype(np.uint8))
    small = np.asarray(image.resize((80, 40), Image.Resampling.BICUBIC))
    return torch.from_numpy(small.transpose(2, 0, 1).astype(np.float32) / 255)[None]


class Screens(gymnasium.Wrapper[Any, Any, Any, Any]):
    """CartPole as the loop from pixels sees it: the difference of two patches, 0 at first."""

    _before: Tensor

    def reset(self, **kwargs: Any) -> Any:
        """Begin an episode; float32 [3, 40, 80]."""
        _, info = self.env.reset(**kwargs)
        self._before = screen_patch(self.unwrapped)
        return np.zeros((3, 40, 80), dtype=np.float32), info

    def step(self, action: Any) -> Any:
        """Make a step."""
        _, *rest = self.env.step(action)
        before, self._before = self._before, screen_patch(self.unwrapped)
        return ((self._before - before)[0].numpy(), *rest)


Each = Callable[[int, nn.Module], None]
"""Called after every step, with its number from 1 and the online network."""


def learn(
    online: nn.Module, target: nn.Module, optimiser: torch.optim.Optimizer, memory: Memory, gamma: float, clip: float
) -> None:
    """One update on 128 remembered steps, if there are as many."""
    if len(memory) < 128:
        return
    steps = memory.sample(128)
    going_on = torch.tensor([step.next_state is not None for step in steps])
    next_states = torch.cat([step.next_state for step in steps if step.next_state is not None])
    states = torch.cat([step.state for step in steps])
    actions = torch.cat([step.action for step in steps])
    rewards = torch.cat([step.reward for step in steps])
    chosen = online(states).gather(1, actions)
    values = torch.zeros(128)
    with torch.no_grad():
        values[going_on] = target(next_states).max(1)[0]
    loss = nn.functional.smooth_l1_loss(chosen, (values * gamma + rewards)[:, None])
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_value_(online.parameters(), clip)
    optimiser.step()


def choose(online: nn.Module, state: Tensor, epsilon: float, rng: random.Random) -> Tensor:
    """Epsilon-greedy, as a [1, 1] tensor."""
    if rng.random() > epsilon:
        with torch.no_grad():
            best: Tensor = online(state).max(1)[1].view(1, 1)
            return best
    return torch.tensor([[rng.randrange(2)]])


def run_state(total: int, seed: int, each: Each = lambda step, online: None) -> float:
    """Train from the state on CartPole-v1 for `total` steps; return the seconds."""
    rng = random.Random(seed)
    env = gymnasium.make("CartPole-v1")
    online, target = state_net(), state_net()
    target.load_state_dict(online.state_dict())
    optimiser = torch.optim.AdamW(online.parameters(), lr=1e-4, amsgrad=True)
    memory = Memory(10_000, rng)
    obs, _ = env.reset(seed=seed)
    state = torch.tensor(obs, dtype=torch.float32)[None]
    began = time.perf_counter()
    for step in range(total):
        epsilon = 0.05 + 0.85 * math.exp(-step / 1000)
        action = choose(online, state, epsilon, rng)
        obs, reward, terminated, truncated, _ = env.step(action.item())
        following = None if terminated else torch.tensor(obs, dtype=torch.float32)[None]
        memory.push(Step(state, action, following, torch.tensor([float(reward)])))
        learn(online, target, optimiser, memory, 0.99, 100.0)
        mixed, weights = target.state_dict(), online.state_dict()
        for key in weights:
            mixed[key] = weights[key] * 0.005 + mixed[key] * 0.995
        target.load_state_dict(mixed)
        each(step + 1, online)
        if terminated or truncated:
            obs, _ = env.reset()
        state = torch.tensor(obs, dtype=torch.float32)[None]
    return time.perf_counter() - began


def run_pixels(total: int, seed: int, each: Each = lambda step, online: None) -> float:
    """Train from the screen on CartPole-v0 without its limit for `total` steps; return the seconds."""
    rng = random.Random(seed)
    env: Any = gymnasium.make("CartPole-v0", render_mode="rgb_array").unwrapped
    online, target = ScreenNet(), ScreenNet()
    target.load_state_dict(online.state_dict())
    target.eval()
    optimiser = torch.optim.RMSprop(online.parameters())
    memory = Memory(10_000, rng)
    env.reset(seed=seed)
    current = screen_patch(env)
    state = torch.zeros_like(current)
    episode = 0
    began = time.perf_counter()
    for step in range(total):
        epsilon = 0.05 + 0.85 * math.exp(-step / 200)
        action = choose(online, state, epsilon, rng)
        _, reward, done, _, _ = env.step(action.item())
        before, current = current, screen_patch(env)
        following = None if done else current - before
        memory.push(Step(state, action, following, torch.tensor([float(reward)])))
        learn(online, target, optimiser, memory, 0.999, 1.0)
        each(step + 1, online)
        if following is not None:
            state = following
            continue
        if episode % 10 == 0:
            target.load_state_dict(online.state_dict())
        episode += 1
        env.reset()
        current = screen_patch(env)
        state = torch.zeros_like(current)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description="Time a tutorial notebook's training loop.")
    parser.add_argument("loop", choices=["state", "pixels"])
    parser.add_argument("--steps", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    os.environ.setdefault("SDL_NO_SIGNAL_HANDLERS", "1")
    if "DISPLAY" not in os.environ and "WAYLAND_DISPLAY" not in os.environ:
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    torch.set_num_threads(arguments.threads)
    pin(arguments.threads)
    run = run_state if arguments.loop == "state" else run_pixels
    torch.manual_seed(arguments.seed)
    print(json.dumps({"steps": arguments.steps, "seconds": run(arguments.steps, arguments.seed)}))


if __name__ == "__main__":
    main()
