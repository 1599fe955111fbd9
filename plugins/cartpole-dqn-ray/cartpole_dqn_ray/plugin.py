"""The hooks: what this plugin brings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cartpole_dqn import hookimpl

if TYPE_CHECKING:
    from cartpole_dqn import Registry


@hookimpl
def register_components(registry: Registry) -> None:
    """Add the sweep engine `ray` and the collector `ray`."""
    registry.add(
        "sweep-engine",
        "ray",
        "cartpole_dqn_ray.sweep:RaySweep",
        "runs trials on a Ray cluster or on this machine; trials of a lost node continue on others",
    )
    registry.add(
        "collector",
        "ray",
        "cartpole_dqn_ray.collection:RayCollector",
        "steps environments in other processes, on a Ray cluster or on this machine, while the run learns",
    )
