"""The hooks: what a plugin may implement, when each is called, and what wins.

* `hookimpl`: decorates a plugin's implementation of a hook.
* `hookspec`: decorates the hooks below.
* `register_components`: brings components.
* `register_environments`: brings Gymnasium environments.

A plugin is a module (or another object) with functions of these names, named by an entry point:

    [project.entry-points.cartpole_dqn]
    my-replays = "my_replays"

A hook may declare fewer parameters than stand here, never others, and returns nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from cartpole_dqn.plugin.registry import Registry

PROJECT = "cartpole_dqn"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""The decorator of a plugin's hooks."""


@hookspec
def register_components(registry: Registry) -> None:
    """Add components: `registry.add(kind, name, "module:Class", summary)`.

    When: once per program, as plugins are loaded, before a configuration is read. Import nothing heavy here: a
    reference is imported when its component is chosen.

    Who: the built-ins first, then every installed plugin, sorted by distribution and entry point.

    What wins: the first that takes a (kind, name), so built-ins always do. A plugin that comes too late, or that
    raises, brings nothing at all, and is reported with the reason.
    """


@hookspec
def register_environments() -> None:
    """Make Gymnasium know environments: `gymnasium.register(id, entry_point)`.

    When: once per program, right before the first environment is made; never for listings or `--help`.

    Who: every plugin that was loaded, in the same order.

    What wins: the environment that was there first. A plugin that replaces one by another, or that raises, has its
    registrations taken back and is reported; its components stay.
    """
