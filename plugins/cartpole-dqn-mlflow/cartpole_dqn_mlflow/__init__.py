"""The runs of cartpole-dqn in MLflow.

* `observer.MLflow`: the observer `mlflow`. `record.MLflowRecord`: what its process sends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cartpole_dqn import hookimpl

if TYPE_CHECKING:
    from cartpole_dqn import Registry


@hookimpl
def register_components(registry: Registry) -> None:
    """Add the observer `mlflow`."""
    registry.add(
        "observer",
        "mlflow",
        "cartpole_dqn_mlflow.observer:MLflow",
        "sends configuration, returns, losses and evaluations to MLflow",
    )
