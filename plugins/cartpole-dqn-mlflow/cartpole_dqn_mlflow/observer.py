"""`MLflow`: the observer `mlflow`; `MLflowOptions`: its options."""

from __future__ import annotations

from typing import ClassVar

from cartpole_dqn import RemoteObserver, RemoteOptions, option, options_class


@options_class
class MLflowOptions(RemoteOptions):
    """Options of `MLflow`."""

    tracking_uri: str = option(
        default="", effect="the server, or a database; empty for MLflow's own setting", typical="http://localhost:5000"
    )
    experiment: str = option(
        default="", effect="the experiment's name; empty for MLflow's own setting", typical="cartpole"
    )
    record: bool = option(default=False, effect="whether to record the best model at the end, and send it")


class MLflow(RemoteObserver):
    """Sends the points of `PointObserver` to MLflow, with the configuration and the curve; see `record.MLflowRecord`.

    Raises:
        UserError: the run has no folder.
    """

    Options: ClassVar[type] = MLflowOptions
    name = "mlflow"
    record = "cartpole_dqn_mlflow.record:MLflowRecord"
