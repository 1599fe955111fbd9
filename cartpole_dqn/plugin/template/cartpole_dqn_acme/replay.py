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
    """Splits all transitions, ordered by lane and age, into B equal parts and draws one from each.

    All transitions are equally likely, so weights are 1, but a batch is never all old or all new.
    """

    Options = StratifiedOptions

    def __init__(self, options: StratifiedOptions, context: Context) -> None:
        super().__init__(options.capacity, context, name="replay acme")

    def draw(self, batch_size: int) -> tuple[NDArray[np.int64], None]:
        """Return the indices of `batch_size` transitions, and None: all are equally likely."""
        count = len(self.ring)
        places = (np.arange(batch_size) + self.generator.random(batch_size)) * (count / batch_size)
        # Rounding may move the last place past the end.
        ranks = np.minimum(places.astype(np.int64), count - 1)
        return self.ring.index_at(ranks), None
