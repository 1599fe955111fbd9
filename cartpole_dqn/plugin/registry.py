"""Components by kind and name.

* `KINDS`: all kinds. `Component`: a name, a reference to a class, and the distribution that registered it.
* `Registry`: registers, lists and loads components.
* `PluginError`: a plugin, or a component of one, cannot be used.

A reference ("module:Class") is imported when the component is selected, so listing components imports nothing. A
reference may also stand where a name is expected: `Registry.component` then imports the class, which need not be
registered. `Registry.use` does the same for an object in Python.

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

import contextlib
import importlib
import pkgutil
import re
import sys
import sysconfig
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from cartpole_dqn.errors import UnknownComponentError, UserError, bad, did_you_mean, error_line
from cartpole_dqn.text.figures import one_line

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


INSTANCE = " (an instance)"
"""Marks the source of an observer that was given as an instance: its class alone does not make it again."""


class PluginError(UserError):
    """A plugin, or a component of one, cannot be used. The message names it and its distribution."""


@dataclass(frozen=True)
class Component:
    """A registered component, imported by `load`."""

    kind: str
    name: str
    target: Any
    """A class, "module:Class", or "package:path/file.toml" for a preset. Observers and wrappers may be functions, and
    observers instances."""
    registered_summary: str = ""
    distribution: str = ""
    """The distribution that registered it. For a component that is given by reference, its file."""
    version: str = ""

    @property
    def summary(self) -> str:
        """One line for listings. That of a preset is in its file, unless another one was registered."""
        if self.registered_summary or self.kind != "preset":
            return self.registered_summary
        with contextlib.suppress(PluginError, ValueError):  # whoever selects the preset gets the error
            return one_line(str(tomllib.loads(self.load()).get("summary", "")))
        return ""

    @property
    def owner(self) -> str:
        """The distribution and its version, for error messages."""
        return owner_text(self.distribution, self.version)

    @property
    def reference(self) -> str:
        """The target as text."""
        return self.target if isinstance(self.target, str) else reference_to(self.target)

    def load(self) -> Any:
        """Import and return the class; for a preset, return the text of its file.

        Raises:
            PluginError: the import failed, or called `sys.exit`.
        """
        if not isinstance(self.target, str):
            return self.target
        label = f"{self.kind} '{self.name}' of {self.owner} ({self.reference})"
        module, _, path = self.target.partition(":")
        try:
            if self.kind == "preset":
                return resources.files(module).joinpath(path).read_text(encoding="utf-8")
            cls = pkgutil.resolve_name(self.target)
        except (Exception, SystemExit) as error:
            raise PluginError(f"{label} cannot be loaded: {error_line(error)}") from error
        if not callable(cls):
            raise PluginError(f"{label} cannot be loaded: expected a class, got a {type(cls).__name__}.")
        return cls


class Registry:
    """Holds components by kind and name. A plugin adds its own with `add`.

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
        self._by_reference: dict[tuple[str, str], Component] = {}
        self._remembered: dict[tuple[str, str], str] = {}

    def add(self, kind: str, name: str, target: str | type, summary: str = "") -> None:
        """Register a component.

        Args:
            kind: one of `KINDS`.
            name: lower-case letters, digits and hyphens; unique within its kind.
            target: "module:Class", imported when the component is selected, or the class itself. For a preset
                "package:path/file.toml".
            summary: one line for listings. A preset has its own in its file.

        Raises:
            PluginError: an argument is invalid, or the name is taken.
        """
        if kind not in KINDS:
            raise PluginError(f"unknown kind of component '{bad(kind)}'.{did_you_mean(str(kind), KINDS)}")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise PluginError(
                f"{name!r} is no name for a {kind}: expected lower-case letters, digits and hyphens, as in 'my-{kind}'."
            )
        if kind == "preset":
            reference, expected = _FILE_REFERENCE, "'package:path/file.toml'"
        else:
            reference, expected = _CLASS_REFERENCE, "a class or 'module:Class'"
        is_class = isinstance(target, type) and kind != "preset"
        if not is_class and not (isinstance(target, str) and reference.fullmatch(target)):
            raise PluginError(f"{kind} '{name}': expected {expected} as its target, got {target!r}.")
        summary = " ".join(one_line(str(summary)).split())
        component = Component(kind, name, target, summary, self.distribution, self.version)
        self._check_free(component)
        self._components[kind, name] = component

    def merge(self, other: Registry) -> None:
        """Add every component of `other`. Raises `PluginError` and adds none if a name is taken."""
        for component in other._components.values():
            self._check_free(component)
        self._components.update(other._components)

    def component(self, kind: str, name: str) -> Component:
        """Return a component by its name, or by a reference ("module:Class"). Only a reference is imported.

        Raises:
            UnknownComponentError: there is none. The message suggests a name and lists plugins that failed to load.
            PluginError: the module of a reference cannot be imported.
        """
        self.require_kind(kind)
        match = self._components.get((kind, name)) or self._by_reference.get((kind, name))
        if match is not None:
            return match
        if ":" in name and kind != "preset":
            return self._find_referenced(kind, name)
        names = self.names(kind)
        hint = did_you_mean(name, names) if names else f" No {kind} is registered: a plugin may bring one."
        if (kind, name) in self._remembered:
            hint = f" It came from {self._remembered[kind, name]}."
        failed = f" These plugins failed to load: {'; '.join(self.unavailable)}" if self.unavailable else ""
        raise UnknownComponentError(f"unknown {kind} '{bad(name)}'.{hint}{failed}")

    def load(self, kind: str, name: str) -> Any:
        """Load a component: see `component` and `Component.load`."""
        return self.component(kind, name).load()

    def options(self, kind: str, name: str) -> type:
        """Return the options class of a component, or `NoOptions`. Raises `UserError` if it is unknown."""
        from cartpole_dqn.contracts.options import NoOptions  # late: pydantic is slow to import

        options_cls = getattr(self.load(kind, name), "Options", NoOptions)
        if not isinstance(options_cls, type):
            raise UserError(f"{kind} '{name}': expected a class as its attribute Options, got {options_cls!r}.")
        return options_cls

    def use(self, kind: str, target: Any) -> str:
        """Add a class without a name, and return the reference that selects it. A string is returned unchanged.

        Args:
            kind: one of `KINDS`.
            target: a class. A wrapper may also be a function; an observer a function or an instance.

        Raises:
            UserError: the target is none of these.
        """
        if isinstance(target, str):
            return target
        fits = isinstance(target, type) or (kind in ("observer", "wrapper") and callable(target))
        if not fits and not (kind == "observer" and hasattr(target, "run_started")):
            more = {"observer": ", a function or an instance", "wrapper": " or a function"}.get(kind, "")
            raise UserError(f"{kind}: expected a name, 'module:Class' or a class{more}, got {bad(repr(target))}.")
        name = reference_to(target)
        suffix = "" if hasattr(target, "__qualname__") else INSTANCE
        self._by_reference[kind, name] = Component(kind, name, target, _summary(target), source_of(target) + suffix)
        return name

    def remember(self, kind: str, name: str, origin: str) -> None:
        """Remember the distribution or file that a component comes from, for the error message if it is missing."""
        self._remembered[kind, name] = origin

    def names(self, kind: str) -> list[str]:
        """Return the names of one kind, sorted."""
        return [component.name for component in self.components(kind)]

    def components(self, kind: str | None = None) -> list[Component]:
        """Return the components of one kind, or all, in the order of `KINDS` and then by name."""
        if kind is not None:
            self.require_kind(kind)
        selected = [c for c in self._components.values() if kind in (None, c.kind)]
        return sorted(selected, key=lambda c: (KINDS.index(c.kind), c.name))

    def _find_referenced(self, kind: str, name: str) -> Component:
        """Return the component that a reference names."""
        try:
            target = find_reference(name)
        except LookupError as error:
            bring = how_to_bring(kind, name, self._remembered.get((kind, name), ""))
            raise UnknownComponentError(f"{kind} '{bad(name)}' cannot be found: {error.args[0]}{bring}") from None
        except (Exception, SystemExit) as error:
            raise PluginError(f"{kind} '{name}' cannot be loaded: {error_line(error)}") from error
        if not callable(target) and kind != "observer":
            raise PluginError(f"{kind} '{name}' cannot be loaded: expected a class, got a {type(target).__name__}.")
        return Component(kind, name, target, _summary(target), source_of(target))

    @staticmethod
    def require_kind(kind: str) -> None:
        """Raise `UnknownComponentError` unless `kind` is one of `KINDS`."""
        if kind not in KINDS:
            raise UnknownComponentError(f"unknown kind of component '{bad(kind)}'.{did_you_mean(kind, KINDS)}")

    def _check_free(self, component: Component) -> None:
        existing = self._components.get((component.kind, component.name))
        if existing is None:
            return
        if (existing.distribution, existing.version) == (component.distribution, component.version):
            raise PluginError(f"{component.owner} registers {component.kind} '{component.name}' twice.")
        raise PluginError(
            f"{component.kind} '{component.name}' of {component.owner} is already registered by {existing.owner}, "
            "which keeps the name."
        )


def owner_text(distribution: str, version: str) -> str:
    """Return a distribution and its version, for messages."""
    return f"{distribution or 'an unnamed distribution'} {version}".rstrip()


# References -----------------------------------------------------------------------------------------------------------


def find_reference(reference: str) -> Any:
    """Import what "module:Name" names. The module may be a file in the current folder.

    Raises:
        LookupError: there is no such module, or it has no such name. Its argument is a sentence.
        Exception: whatever the import raises.
    """
    module, _, path = reference.partition(":")
    if "<" in path:
        raise LookupError("it was defined inside a function.")
    if not _CLASS_REFERENCE.fullmatch(reference):
        raise LookupError("expected module:Class, such as nets:Net for the class Net in nets.py.")
    if module.partition(".")[0] in sys.stdlib_module_names:
        raise LookupError(f"{module} belongs to Python's own library, where no part is.")
    search_here()
    try:
        return pkgutil.resolve_name(reference)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise LookupError(f"there is no module {error.name}, neither installed nor in the current folder.") from None
    except AttributeError:
        imported = sys.modules.get(module)
        if imported is None:
            raise
        if module == "__main__":
            raise LookupError("this program defines no such name.") from None
        names = [key for key, value in vars(imported).items() if callable(value) and not key.startswith("_")]
        raise LookupError(f"the module {module} has no {path}.{did_you_mean(path, names)}") from None


def reference_to(target: Any) -> str:
    """Return "module:Name" of a class, of a function, or of an instance's class."""
    definition = target if hasattr(target, "__qualname__") else type(target)
    return f"{definition.__module__}:{definition.__qualname__}"


def source_of(target: Any) -> str:
    """Return where a class or function is: a file of yours, "a notebook", or an installed package."""
    definition = target if hasattr(target, "__qualname__") else type(target)
    file = getattr(sys.modules.get(definition.__module__), "__file__", None)
    if file is None:
        return "a notebook" if "ipykernel" in sys.modules else "an interactive session"
    path = Path(file).resolve()
    if is_installed(path):
        return str(definition.__module__).partition(".")[0]
    return path.relative_to(Path.cwd()).as_posix() if path.is_relative_to(Path.cwd()) else path.name


def is_installed(path: Path) -> bool:
    """Return whether a file belongs to Python's own library or to an installed package."""
    folders = {Path(place).resolve() for key, place in sysconfig.get_paths().items() if key.endswith(("lib", "stdlib"))}
    return any(path.is_relative_to(folder) for folder in folders)


def search_here() -> None:
    """Let imports find modules in the current folder, which the path of an installed program lacks."""
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    importlib.invalidate_caches()  # a file may be new


def how_to_bring(kind: str, reference: str, source: str = "") -> str:
    """Return sentences on how to bring what a run was made with. `source` is the file where it was."""
    keyword = {"wrapper": "wrappers=[...]", "observer": "observers=[...]"}.get(kind, f"{kind.replace('-', '_')}=...")
    if reference.startswith("__main__:"):
        origin = source or "a notebook or a script"
        move = f"Move it from {origin} into a file such as parts.py, and write parts:Name in the run's config.toml"
    elif ".py" in source:
        move = f"It was in {source}: bring that file into the current folder"
    elif source:
        move = f"It was in {source}: install that"
    else:
        return ""
    return f" {move}; or give it in Python: load(RUN, {keyword})."


def _summary(target: Any) -> str:
    return str(target.__doc__ or "").strip().partition("\n")[0]
