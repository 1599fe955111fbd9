"""`WandB`: the observer `wandb`; `WandBOptions`: its options."""

from __future__ import annotations

from typing import ClassVar, Literal

from cartpole_dqn import RemoteObserver, RemoteOptions, option, options_class


@options_class
class WandBOptions(RemoteOptions):
    """Options of `WandB`."""

    project: str = option(default="cartpole-dqn", effect="the project's name", typical="cartpole-dqn")
    mode: Literal["", "online", "offline"] = option(
        default="", effect="online, offline, or empty for W&B's own setting", typical="offline, and `wandb sync` later"
    )
    record: bool = option(default=False, effect="whether to record the best model at the end, and send it")


class WandB(RemoteObserver):
    """Sends the points of `PointObserver` to Weights & Biases, with the configuration and the curve.

    See `record.WandBRecord`.

    Raises:
        UserError: the run has no folder.
    """

    Options: ClassVar[type] = WandBOptions
    name = "wandb"
    record = "cartpole_dqn_wandb.record:WandBRecord"
