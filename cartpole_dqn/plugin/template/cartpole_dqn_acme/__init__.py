"""A plugin for cartpole-dqn.

* `replay.StratifiedReplay`: the replay `acme`.
* `network.FourierNetwork`: the network `acme`.
* `target_update.DoublingTargetUpdate`: the target update `acme`.
* `exploration.CosineExploration`: the exploration `acme`.
* `optimiser.Nesterov`: the optimiser `acme`.
* `agent.TabularAgent`: the agent `acme`.
* `wrapper.Threshold`: the wrapper `acme`.
* `observer.BestNotes`: the observer `acme`.
* `collector.Bursts`: the collector `acme`.
* `sweep_engine.OneByOne`: the sweep engine `acme`.
* `preset.toml`: the preset `acme`.
* `environment.Catch`: the environment `acme/Catch-v0`.
* `command.spread`: the command `acme`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import gymnasium
from cartpole_dqn import hookimpl

if TYPE_CHECKING:
    from cartpole_dqn import Registry


@hookimpl
def register_components(registry: Registry) -> None:
    """Register the plugin's parts by reference: each is imported when it is selected."""
    registry.add(
        "replay",
        "acme",
        "cartpole_dqn_acme.replay:StratifiedReplay",
        "draws each batch evenly from old and new transitions",
    )
    registry.add(
        "network",
        "acme",
        "cartpole_dqn_acme.network:FourierNetwork",
        "sines and cosines of learned frequencies, then a hidden layer",
    )
    registry.add(
        "target-update",
        "acme",
        "cartpole_dqn_acme.target_update:DoublingTargetUpdate",
        "copies the online weights at ever longer intervals",
    )
    registry.add(
        "exploration",
        "acme",
        "cartpole_dqn_acme.exploration:CosineExploration",
        "epsilon-greedy, epsilon falling along half a cosine",
    )
    registry.add(
        "optimiser",
        "acme",
        "cartpole_dqn_acme.optimiser:Nesterov",
        "gradient descent with Nesterov's momentum",
    )
    registry.add(
        "agent",
        "acme",
        "cartpole_dqn_acme.agent:TabularAgent",
        "Q-learning with a table",
    )
    registry.add(
        "wrapper",
        "acme",
        "cartpole_dqn_acme.wrapper:Threshold",
        "black and white, by a level of brightness",
    )
    registry.add(
        "observer",
        "acme",
        "cartpole_dqn_acme.observer:BestNotes",
        "writes a line for each best evaluation so far",
    )
    registry.add(
        "collector",
        "acme",
        "cartpole_dqn_acme.collector:Bursts",
        "plays some steps of every lane by a copy of the policy",
    )
    registry.add(
        "sweep-engine",
        "acme",
        "cartpole_dqn_acme.sweep_engine:OneByOne",
        "runs one trial at a time",
    )
    registry.add(
        "preset",
        "acme",
        "cartpole_dqn_acme:preset.toml",
        "CartPole from its four numbers, with a small network and a hard target",
    )


@hookimpl
def register_environments() -> None:
    """Register the plugin's environments with Gymnasium."""
    gymnasium.register(
        "acme/Catch-v0",
        "cartpole_dqn_acme.environment:Catch",
    )
