"""The hooks that a plugin may implement, decorated with `hookimpl`.

* `register_components`: adds components.
* `register_environments`: adds Gymnasium environments.

A plugin is a module, or another object, with functions of these names. An entry point names it:

    [project.entry-points.cartpole_dqn]
    my-replays = "my_replays"

A hook may leave out parameters, but not add any. It returns nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from cartpole_dqn.plugin.registry import Registry

PROJECT = "cartpole_dqn"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Decorates a plugin's hooks."""


@hookspec
def register_components(registry: Registry) -> None:
    """Add components: `registry.add(kind, name, "module:Class", summary)`.

    When: once per program, when plugins are loaded and before a configuration is read. Import nothing heavy here: a
    reference is imported when its component is selected.

    Who: the built-ins first, then every installed plugin, sorted by distribution and entry point.

    What wins: the first plugin to register a kind and name, so built-ins always win. If a name is taken, or the hook
    raises, none of the plugin's components are registered, and the plugin is reported with the reason.
    """


@hookspec
def register_environments() -> None:
    """Register environments: `gymnasium.register(id, entry_point)`.

    When: once per program, right before the first environment is made; never for listings or `--help`.

    Who: every loaded plugin, in the same order.

    What wins: the environment that was registered first. If a plugin replaces one, or raises, all its registrations
    are undone, and the plugin is reported. Its components stay.
    """
