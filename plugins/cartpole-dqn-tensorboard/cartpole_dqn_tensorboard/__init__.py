"""TensorBoard event files for the runs of cartpole-dqn.

* `observer.TensorBoard`: the observer `tensorboard`, which says what is written and when.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cartpole_dqn import hookimpl

if TYPE_CHECKING:
    from cartpole_dqn import Registry


@hookimpl
def register_components(registry: Registry) -> None:
    """Add the observer `tensorboard`."""
    registry.add(
        "observer",
        "tensorboard",
        "cartpole_dqn_tensorboard.observer:TensorBoard",
        "writes returns, losses and evaluations for TensorBoard into the run's folder",
    )
