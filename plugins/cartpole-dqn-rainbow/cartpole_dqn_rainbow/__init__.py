"""The networks of Rainbow (Hessel et al. 2018) for cartpole-dqn, each its own part, and two explorations.

* `dueling`: network "dueling".
* `noisy`: network "noisy"; `noisy_linear` has its layer.
* `c51`: network "c51", distributions over fixed returns.
* `quantile`: network "quantile", distributions at fixed probabilities.
* `exploration`: explorations "greedy" and "boltzmann".
* `network`, `trunk`: what the four networks are made of.

Importing this package imports none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cartpole_dqn import hookimpl

if TYPE_CHECKING:
    from cartpole_dqn import Registry

_PARTS = (
    ("network", "dueling", "dueling:Dueling", "separate streams for the state's value and the actions' advantages"),
    ("network", "noisy", "noisy:Noisy", "explores by learned noise on the last weights; use the exploration greedy"),
    ("network", "c51", "c51:C51", "a distribution over fixed returns for each action"),
    ("network", "quantile", "quantile:Quantile", "quantiles of the return for each action (QR-DQN)"),
    ("exploration", "greedy", "exploration:Greedy", "always the best action, for networks that explore by noise"),
    ("exploration", "boltzmann", "exploration:Boltzmann", "softmax of the values over a falling temperature"),
)


@hookimpl
def register_components(registry: Registry) -> None:
    """Add the plugin's parts."""
    for kind, name, target, summary in _PARTS:
        registry.add(kind, name, f"cartpole_dqn_rainbow.{target}", summary)
