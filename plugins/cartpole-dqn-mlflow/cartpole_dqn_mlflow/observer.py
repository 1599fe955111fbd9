"""`MLflow`: the observer `mlflow`; `MLflowOptions`: its options."""

from __future__ import annotations

from typing import ClassVar

from cartpole_dqn import ObserverContext, RemoteObserver, option, options_class


@options_class
class MLflowOptions:
    """Options of `MLflow`."""

    tracking_uri: str = option(
        default="", effect="the server, or a database; empty for MLflow's own setting", typical="http://localhost:5000"
    )
    experiment: str = option(
        default="", effect="the experiment's name; empty for MLflow's own setting", typical="cartpole"
    )
    record: bool = option(default=False, effect="whether to record the best model at the end, and send it")
    every_updates: int = option(
        default=100, ge=1, effect="updates of the network between two points of loss and q_mean", typical="10 to 1000"
    )
    wait: float = option(
        default=60.0, ge=0, effect="seconds that a run's end waits at most until all is sent", typical="10 to 300"
    )


class MLflow(RemoteObserver):
    """Sends the points of `PointObserver` to MLflow, with the configuration and the curve; see `record.MLflowRecord`.

    Raises:
        UserError: the run has no folder.
    """

    Options: ClassVar[type] = MLflowOptions

    def __init__(self, options: MLflowOptions, context: ObserverContext) -> None:
        super().__init__(
            "mlflow",
            "cartpole_dqn_mlflow.record:MLflowRecord",
            context,
            every_updates=options.every_updates,
            wait=options.wait,
            options={
                "tracking_uri": options.tracking_uri,
                "experiment": options.experiment,
                "record": options.record,
            },
        )
