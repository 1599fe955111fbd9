"""`StratifiedReplay`: the replay `acme`; `StratifiedOptions`: its options."""

from __future__ import annotations

import numpy as np
from cartpole_dqn import Context, RingReplay, option, options_class
from numpy.typing import NDArray


@options_class
class StratifiedOptions:
    """Options of `StratifiedReplay`."""

    capacity: int = option(
        default=10_000, ge=1, effect="slots for observations, over all lanes", typical="10000 to 50000"
    )


class StratifiedReplay(RingReplay):
    """Lays all transitions end to end, lane after lane and oldest first, and draws one from each of B equal parts.

    Every transition is as likely as every other, so weights are 1; but no batch of B is all old or all new.
    """

    Options = StratifiedOptions

    def __init__(self, options: StratifiedOptions, context: Context) -> None:
        super().__init__(options.capacity, context, name="replay acme")

    def draw(self, batch_size: int) -> tuple[NDArray[np.int64], None]:
        """Choose `batch_size` transitions; None says that all are equally likely."""
        held = len(self.ring)
        places = (np.arange(batch_size) + self.generator.random(batch_size)) * (held / batch_size)
        # Rounding may carry the last place to the very end.
        ranks = np.minimum(places.astype(np.int64), held - 1)
        return self.ring.index_at(ranks), None
