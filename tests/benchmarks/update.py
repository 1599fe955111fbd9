"""What an update costs besides the network, side by side in one run: `python tests/benchmarks/update.py [--rounds N]`.

* The optimiser's step: `Adam` of this package, and `torch.optim.Adam` by default or fused.
* Clipping by norm and by value: the agent's, and `torch.nn.utils`.

On the networks of the presets `state` and `pixels`. The ways take turns, so that a busy machine slows all of them; each
is judged by its faster half of rounds, in time of this process. One thread.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from timing import measure, show
from torch import nn

from cartpole_dqn.envs.factory import EnvFactory
from cartpole_dqn.plugin.host import load_plugins
from cartpole_dqn.training.assembly import make_agent
from cartpole_dqn.training.resolve import resolve_config


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2000)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    for preset in ("state", "pixels"):
        agent = agent_of(preset)
        numbers = sum(p.numel() for p in agent._parameters)
        print(f"The network of {preset}, {len(agent._parameters)} tensors of {numbers:,} weights")
        for ways in (steps(agent), clippings(agent, "norm"), clippings(agent, "value")):
            show(measure(ways, rounds, time.process_time))


def agent_of(preset: str) -> Any:
    """An agent of a preset, with a gradient for each weight."""
    host = load_plugins(allowed=())
    config, _ = resolve_config(host, preset=preset, flags={"agent": {"replay": {"capacity": 1000}}})
    env = EnvFactory(config, host).make()
    agent: Any = make_agent(config, host, env.observation_space, env.action_space)
    env.close()
    for parameter in agent._parameters:
        parameter.grad = torch.randn_like(parameter)
    return agent


def steps(agent: Any) -> dict[str, Callable[[], Any]]:
    """The ways to make Adam's step."""
    ours = agent._optimiser
    settings = {"lr": ours.lr, "eps": 1e-5}
    return {
        "Adam": ours.step,
        "torch.optim.Adam": torch.optim.Adam(agent._parameters, **settings).step,
        "torch.optim.Adam, fused": torch.optim.Adam(agent._parameters, fused=True, **settings).step,
    }


def clippings(agent: Any, kind: str) -> dict[str, Callable[[], Any]]:
    """The ways to clip the gradients."""
    object.__setattr__(agent.options, "clip", kind)
    names = {"norm": "clip_grad_norm_", "value": "clip_grad_value_"}
    clip, at = getattr(nn.utils, names[kind]), agent.options.clip_at
    return {f"agent's clipping, {kind}": agent._clip, names[kind]: lambda: clip(agent._parameters, at)}


if __name__ == "__main__":
    main()
