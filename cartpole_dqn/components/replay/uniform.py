"""`UniformReplay` ("uniform"): every transition is as likely as every other (Lin 1992; Mnih et al. 2015)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cartpole_dqn.components.replay.ring_replay import RingReplay
from cartpole_dqn.contracts.options import option, options_class
from cartpole_dqn.contracts.parts import Context


@options_class
class UniformOptions:
    """Options of `UniformReplay`."""

    capacity: int = option(
        default=10_000,
        ge=1,
        effect="slots for observations, over all lanes; an episode's last observation takes one too",
        typical="10000 for state, 50000 for pixels",
    )
    replacement: bool = option(
        default=True, effect="whether a batch may hold a transition twice; false draws each batch without replacement"
    )


class UniformReplay(RingReplay):
    """Samples uniformly; weights are 1.

    Raises:
        ConfigError: the capacity is too small for the lanes and n_step.
        UserError: the ring would take more memory than is left.
    """

    Options = UniformOptions

    def __init__(self, options: UniformOptions, context: Context) -> None:
        super().__init__(options.capacity, context, name="replay uniform")
        self._replacement = options.replacement

    def draw(self, batch_size: int) -> tuple[NDArray[np.int64], None]:
        """See `RingReplay`. Raises `ValueError` without replacement where there are fewer than `batch_size`."""
        count = len(self.ring)
        if self._replacement:
            ranks = self.generator.integers(count, size=batch_size)
        elif count < batch_size:
            raise ValueError(
                f"replay uniform holds {count} transitions, too few to draw {batch_size} without replacement: set a "
                f"larger capacity, or a smaller agent.batch_size."
            )
        else:
            ranks = self.generator.choice(count, size=batch_size, replace=False, shuffle=False)
        return self.ring.index_at(ranks), None
