"""A plugin for cartpole-dqn.

* `replay.StratifiedReplay`: the replay `acme`.
* `network.FourierNetwork`: the network `acme`.
* `target_update.DoublingTargetUpdate`: the target update `acme`.
* `exploration.CosineExploration`: the exploration `acme`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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
