"""Components by kind and name.

* `KINDS`: all kinds. `Component`: a name, a reference to a class, and the distribution that registered it.
* `Registry`: registers, lists and loads components.
* `PluginError`: a plugin, or a component of one, cannot be used.

A reference ("module:Class") is imported when the component is selected, so listing components imports nothing.

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
    """A plugin, or a component of one, cannot be used. The message names it and its distribution."""


@dataclass(frozen=True)
class Component:
    """A registered component, imported by `load`."""

    kind: str
    name: str
    target: str | type
    """A class, "module:Class", or "package:path/file.toml" for a preset."""
    summary: str = ""
    distribution: str = ""
    """The distribution that registered it."""
    version: str = ""

    @property
    def owner(self) -> str:
        """The distribution and its version, for error messages."""
        return owner_text(self.distribution, self.version)

    @property
    def reference(self) -> str:
        """The target as text."""
        if isinstance(self.target, str):
            return self.target
        return f"{self.target.__module__}:{self.target.__qualname__}"

    def load(self) -> Any:
        """Import and return the class; for a preset, return the text of its file.

        Raises:
            PluginError: the import failed, or called `sys.exit`.
        """
        if isinstance(self.target, type):
            return self.target
        who = f"{self.kind} '{self.name}' of {self.owner} ({self.reference})"
        module, _, path = self.target.partition(":")
        try:
            if self.kind == "preset":
                return resources.files(module).joinpath(path).read_text(encoding="utf-8")
            found: Any = importlib.import_module(module)
            for step in path.split("."):
                found = getattr(found, step)
        except (Exception, SystemExit) as error:
            raise PluginError(f"{who} cannot be loaded: {said_by(error)}") from error
        if not callable(found):
            raise PluginError(f"{who} cannot be loaded: expected a class, got a {type(found).__name__}.")
        return found


class Registry:
    """Components by kind and name.

    Args:
        distribution: the distribution whose components are registered.
        version: its version.
    """

    def __init__(self, distribution: str = "", version: str = "") -> None:
        self.distribution = distribution
        self.version = version
        self.unavailable: list[str] = []
        """The plugins that failed to load, with the reason. An unknown name may be one of their components."""
        self._components: dict[tuple[str, str], Component] = {}
        self._remembered: dict[tuple[str, str], str] = {}

    def add(self, kind: str, name: str, target: str | type, summary: str = "") -> None:
        """Register a component.

        Args:
            kind: one of `KINDS`.
            name: lower-case letters, digits and hyphens; unique within its kind.
            target: "module:Class", imported when the component is selected, or the class itself. For a preset
                "package:path/file.toml".
            summary: one line for listings.

        Raises:
            PluginError: an argument is invalid, or the name is taken.
        """
        if kind not in KINDS:
            raise PluginError(f"unknown kind of component '{kind}'.{did_you_mean(str(kind), KINDS)}")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise PluginError(
                f"{name!r} is no name for a {kind}: expected lower-case letters, digits and hyphens, as in 'my-{kind}'."
            )
        if kind == "preset":
            reference, wanted = _FILE_REFERENCE, "'package:path/file.toml'"
        else:
            reference, wanted = _CLASS_REFERENCE, "a class or 'module:Class'"
        is_class = isinstance(target, type) and kind != "preset"
        if not is_class and not (isinstance(target, str) and reference.fullmatch(target)):
            raise PluginError(f"{kind} '{name}': expected {wanted} as its target, got {target!r}.")
        summary = " ".join(str(summary).split())
        component = Component(kind, name, target, summary, self.distribution, self.version)
        self._check_free(component)
        self._components[kind, name] = component

    def merge(self, other: Registry) -> None:
        """Add every component of `other`. Raises `PluginError` and adds none if a name is taken."""
        for component in other._components.values():
            self._check_free(component)
        self._components.update(other._components)

    def component(self, kind: str, name: str) -> Component:
        """Return a component without loading it.

        Raises:
            UnknownComponentError: there is none. The message suggests a name and lists plugins that failed to load.
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
        """Load a component: see `component` and `Component.load`."""
        return self.component(kind, name).load()

    def options(self, kind: str, name: str) -> type:
        """Return the options class of a component. Raises `UserError` if it is unknown or has none."""
        cls = self.load(kind, name)
        found = getattr(cls, "Options", None)
        if not isinstance(found, type):
            raise UserError(f"{kind} '{name}' ({cls!r}) declares no options class: it needs an attribute Options.")
        return found

    def remember(self, kind: str, name: str, distribution: str, version: str) -> None:
        """Note which distribution a component came from. If it is missing, the error says to install that."""
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
    """Return a distribution and its version, for messages."""
    return f"{distribution or 'an unnamed distribution'} {version}".rstrip()
