"""The runs of cartpole-dqn in Weights & Biases.

* `observer.WandB`: the observer `wandb`. `record.WandBRecord`: what its process sends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cartpole_dqn import hookimpl

if TYPE_CHECKING:
    from cartpole_dqn import Registry


@hookimpl
def register_components(registry: Registry) -> None:
    """Add the observer `wandb`."""
    registry.add(
        "observer",
        "wandb",
        "cartpole_dqn_wandb.observer:WandB",
        "sends configuration, returns, losses and evaluations to Weights & Biases",
    )
