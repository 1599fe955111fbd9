"""Proportional prioritised experience replay for cartpole-dqn (Schaul et al. 2016, arXiv 1511.05952).

* `replay.PrioritizedReplay`: the replay `prioritized`.
* `sum_tree.SumTree`: finds and changes priorities, a whole batch at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cartpole_dqn import hookimpl

if TYPE_CHECKING:
    from cartpole_dqn import Registry


@hookimpl
def register_components(registry: Registry) -> None:
    """Add the replay `prioritized`."""
    registry.add(
        "replay",
        "prioritized",
        "cartpole_dqn_prioritized.replay:PrioritizedReplay",
        "draws transitions with large TD errors more often (Schaul et al. 2016)",
    )
