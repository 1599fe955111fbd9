"""`DoublingTargetUpdate`: the target update `acme`; `DoublingOptions`: its options."""

from __future__ import annotations

from cartpole_dqn import Context, TargetUpdate, option, options_class
from torch import nn


@options_class
class DoublingOptions:
    """Options of `DoublingTargetUpdate`."""

    most: int = option(default=500, ge=1, effect="updates between copies, at most", typical="200 to 1000")


class DoublingTargetUpdate(TargetUpdate):
    """Copies the online network after updates 1, 2, 4, 8, ..., and later after every `most` updates.

    Early targets are poor and are soon replaced; later ones stay for longer.
    """

    Options = DoublingOptions

    def __init__(self, options: DoublingOptions, context: Context) -> None:
        self._most = options.most

    def after_update(self, online: nn.Module, target: nn.Module, updates: int) -> None:
        """Called after each gradient step; `updates` counts from 1."""
        power_of_two = 1 << (updates.bit_length() - 1)  # the largest that is not above `updates`
        if updates % min(power_of_two, self._most) == 0:
            target.load_state_dict(online.state_dict())
