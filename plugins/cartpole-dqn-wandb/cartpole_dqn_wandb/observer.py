"""`WandB`: the observer `wandb`; `WandBOptions`: its options."""

from __future__ import annotations

from typing import ClassVar

from cartpole_dqn import ObserverContext, RemoteObserver, UserError, option, options_class

MODES = ("", "online", "offline")


@options_class
class WandBOptions:
    """Options of `WandB`."""

    project: str = option(default="cartpole-dqn", effect="the project's name", typical="cartpole-dqn")
    mode: str = option(
        default="", effect="online, offline, or empty for W&B's own setting", typical="offline, and `wandb sync` later"
    )
    record: bool = option(default=False, effect="whether to record the best model at the end, and send it")
    every_updates: int = option(
        default=100, ge=1, effect="updates of the network between two points of loss and q_mean", typical="10 to 1000"
    )
    wait: float = option(
        default=60.0, ge=0, effect="seconds that a run's end waits at most until all is sent", typical="10 to 300"
    )


class WandB(RemoteObserver):
    """Sends the points of `PointObserver` to Weights & Biases, with the configuration and the curve.

    See `record.WandBRecord`.

    Raises:
        UserError: the run has no folder, or there is no such mode.
    """

    Options: ClassVar[type] = WandBOptions

    def __init__(self, options: WandBOptions, context: ObserverContext) -> None:
        if options.mode not in MODES:
            raise UserError(f"observer 'wandb' expected mode online or offline, got {options.mode!r}.")
        super().__init__(
            "wandb",
            "cartpole_dqn_wandb.record:WandBRecord",
            context,
            every_updates=options.every_updates,
            wait=options.wait,
            options={"project": options.project, "mode": options.mode, "record": options.record},
        )
