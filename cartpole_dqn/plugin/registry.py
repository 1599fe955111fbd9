"""What can be chosen by name: components, where each comes from, and how it is loaded.

* `KINDS`: the kinds of component there are.
* `Component`: one of them: kind, name, a reference to the class, a summary, and the distribution that brought it.
* `Registry`: components by kind and name.
* `PluginError`: a plugin, or something that it registered, cannot be used.

A component is registered by a reference ("module:Class") that is imported when the component is chosen, so that
listing names imports nothing.

>>> registry = Registry("my-replays", "1.0")
>>> registry.add("replay", "newest", "my_replays:NewestReplay", "draws from the newest transitions only")
>>> registry.names("replay")
['newest']
>>> registry.component("replay", "newset")
Traceback (most recent call last):
    ...
cartpole_dqn.errors.UnknownComponentError: unknown replay 'newset'. Did you mean 'newest'?
"""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from importlib import resources
from typing import Any

from cartpole_dqn.errors import UnknownComponentError, UserError, did_you_mean, said_by

KINDS = (
    "wrapper",
    "replay",
    "network",
    "target-update",
    "exploration",
    "optimiser",
    "agent",
    "observer",
    "collector",
    "sweep-engine",
    "preset",
)

_NAME = re.compile(r"[a-z0-9-]+")
_CLASS_REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_FILE_REFERENCE = re.compile(r"[A-Za-z_][\w.]*:(?!.*\.\.)[^/:][^:]*\.toml")


class PluginError(UserError):
    """A plugin, or something that it registered, cannot be used; the message names it and its distribution."""


@dataclass(frozen=True)
class Component:
    """Something that a name chooses. Nothing of it is imported before `load`."""

    kind: str
    name: str
    target: str | type
    """A class, "module:Class", or for a preset "package:path/file.toml"."""
    summary: str = ""
    distribution: str = ""
    """The installed distribution that registered it."""
    version: str = ""

    @property
    def owner(self) -> str:
        """The distribution and its version, for messages."""
        return owner_text(self.distribution, self.version)

    @property
    def reference(self) -> str:
        """The target as text."""
        if isinstance(self.target, str):
            return self.target
        return f"{self.target.__module__}:{self.target.__qualname__}"

    def load(self) -> Any:
        """Return the class, imported now; of a preset its file's text.

        Raises:
            PluginError: whatever went wrong, an interpreter's exit included, with component, distribution and reason.
        """
        if isinstance(self.target, type):
            return self.target
        module, _, path = self.target.partition(":")
        try:
            if self.kind == "preset":
                return resources.files(module).joinpath(path).read_text(encoding="utf-8")
            found: Any = importlib.import_module(module)
            for step in path.split("."):
                found = getattr(found, step)
        except (Exception, SystemExit) as error:
            raise PluginError(f"{self._who()} cannot be loaded: {said_by(error)}") from error
        if not callable(found):
            raise PluginError(f"{self._who()} cannot be loaded: expected a class, got a {type(found).__name__}.")
        return found

    def _who(self) -> str:
        return f"{self.kind} '{self.name}' of {self.owner} ({self.reference})"


class Registry:
    """Components by kind and name.

    Args:
        distribution: the distribution on whose behalf `add` is called.
        version: its version.
    """

    def __init__(self, distribution: str = "", version: str = "") -> None:
        self.distribution = distribution
        self.version = version
        self.unavailable: list[str] = []
        """Plugins that could not be loaded, each with its reason: an unknown name may have been one of theirs."""
        self._components: dict[tuple[str, str], Component] = {}
        self._remembered: dict[tuple[str, str], str] = {}

    def add(self, kind: str, name: str, target: str | type, summary: str = "") -> None:
        """Register a component.

        Args:
            kind: one of `KINDS`.
            name: lower-case letters, digits and hyphens; unique within its kind.
            target: "module:Class", imported when the component is chosen, or the class itself. For a preset
                "package:path/file.toml".
            summary: one line for listings.

        Raises:
            PluginError: an argument is not as said above, or the name is taken; both owners are named.
        """
        if kind not in KINDS:
            raise PluginError(f"unknown kind of component '{kind}'.{did_you_mean(str(kind), KINDS)}")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise PluginError(
                f"{name!r} is no name for a {kind}: expected lower-case letters, digits and hyphens, as in 'my-{kind}'."
            )
        _check_target(kind, name, target)
        summary = " ".join(str(summary).split())
        self._put(Component(kind, name, target, summary, self.distribution, self.version))

    def merge(self, other: Registry) -> None:
        """Take over every component of `other`, or none: raises `PluginError` where a name is taken."""
        for component in other._components.values():
            self._check_free(component)
        self._components.update(other._components)

    def component(self, kind: str, name: str) -> Component:
        """Return the component, not loaded yet.

        Raises:
            UnknownComponentError: there is none; with the nearest name, and with the plugins that failed to load.
        """
        self.require_kind(kind)
        found = self._components.get((kind, name))
        if found is not None:
            return found
        names = self.names(kind)
        hint = did_you_mean(name, names) if names else f" No {kind} is registered: a plugin may bring one."
        if (kind, name) in self._remembered:
            hint = f" It came from {self._remembered[kind, name]}: install that, or see `cartpole-dqn plugins list`."
        failed = f" These plugins failed to load: {'; '.join(self.unavailable)}" if self.unavailable else ""
        raise UnknownComponentError(f"unknown {kind} '{name}'.{hint}{failed}")

    def load(self, kind: str, name: str) -> Any:
        """Return the class that `name` chooses, or a preset's text; errors as of `component` and `Component.load`."""
        return self.component(kind, name).load()

    def options(self, kind: str, name: str) -> type:
        """Return the options class of a component. Raises `UserError` where it is unknown or declares none."""
        cls = self.load(kind, name)
        found = getattr(cls, "Options", None)
        if not isinstance(found, type):
            raise UserError(f"{kind} '{name}' ({cls!r}) declares no options class: it needs an attribute Options.")
        return found

    def remember(self, kind: str, name: str, distribution: str, version: str) -> None:
        """Hear where a component came from once: if it is unknown now, the error says what to install."""
        self._remembered[kind, name] = owner_text(distribution, version)

    def names(self, kind: str) -> list[str]:
        """Return the names of one kind, sorted."""
        return [component.name for component in self.components(kind)]

    def components(self, kind: str | None = None) -> list[Component]:
        """Return the components of one kind, or all, in the order of `KINDS` and then by name."""
        if kind is not None:
            self.require_kind(kind)
        chosen = [c for c in self._components.values() if kind in (None, c.kind)]
        return sorted(chosen, key=lambda c: (KINDS.index(c.kind), c.name))

    @staticmethod
    def require_kind(kind: str) -> None:
        """Raise `UnknownComponentError` unless `kind` is one of `KINDS`."""
        if kind not in KINDS:
            raise UnknownComponentError(f"unknown kind of component '{kind}'.{did_you_mean(kind, KINDS)}")

    def _put(self, component: Component) -> None:
        self._check_free(component)
        self._components[component.kind, component.name] = component

    def _check_free(self, component: Component) -> None:
        taken = self._components.get((component.kind, component.name))
        if taken is None:
            return
        if (taken.distribution, taken.version) == (component.distribution, component.version):
            raise PluginError(f"{component.owner} registers {component.kind} '{component.name}' twice.")
        raise PluginError(
            f"{component.kind} '{component.name}' of {component.owner} is already registered by {taken.owner}, "
            "which keeps the name."
        )


def owner_text(distribution: str, version: str) -> str:
    """Return a distribution and its version as messages show them."""
    return f"{distribution or 'an unnamed distribution'} {version}".rstrip()


def _check_target(kind: str, name: str, target: str | type) -> None:
    if kind == "preset":
        if isinstance(target, str) and _FILE_REFERENCE.fullmatch(target):
            return
        wanted = "'package:path/file.toml'"
    else:
        if isinstance(target, type) or (isinstance(target, str) and _CLASS_REFERENCE.fullmatch(target)):
            return
        wanted = "a class or 'module:Class'"
    raise PluginError(f"{kind} '{name}': expected {wanted} as its target, got {target!r}.")
