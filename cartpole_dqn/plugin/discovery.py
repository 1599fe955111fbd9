"""Find plugins in the metadata of installed distributions, without importing them.

* `find_entry_points`: the entry points of a group, and the distributions that cannot be read.
* `origin`: the distribution of an entry point.
* `switched_off`, `allowed_names`: which plugins the user has disabled.
* `import_entry_point`: imports the object that an entry point names.
* `require_version`: raises `IncompatibleError` for a plugin that needs another cartpole-dqn.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import re
import sys
from collections.abc import Collection
from importlib.metadata import Distribution, EntryPoint
from typing import Any, Literal

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from cartpole_dqn.plugin.registry import PluginError
from cartpole_dqn.system import __version__

GROUP = "cartpole_dqn"
"""The entry point group of plugins."""
COMMAND_GROUP = "cartpole_dqn.commands"
"""The entry point group of commands."""
ALLOW_VARIABLE = "CARTPOLE_DQN_PLUGINS"
"""The environment variable with the only plugins to load, separated by commas. If it is empty, none load."""
DISTRIBUTION = "cartpole-dqn"

Off = Literal["blocked", "not-allowed"]

WHY_OFF: dict[Off, str] = {
    "blocked": "blocked on the command line",
    "not-allowed": f"not in the list of allowed plugins ({ALLOW_VARIABLE})",
}

_VALUE = re.compile(r"[A-Za-z_][\w.]*(:[A-Za-z_][\w.]*)?\s*(\[.*\])?")


def find_entry_points(group: str) -> tuple[list[EntryPoint], list[tuple[str, str]]]:
    """Return the entry points of a group, and (distribution, reason) for distributions that cannot be read.

    Entry points are sorted by distribution, name and value.

    Unlike with `importlib.metadata.entry_points`, one damaged distribution does not hide the others.
    """
    entry_points: list[EntryPoint] = []
    unreadable: list[tuple[str, str]] = []
    seen: set[str] = set()
    heading = re.compile(rf"^\s*\[\s*{re.escape(group)}\s*\]", re.MULTILINE)
    for distribution in importlib.metadata.distributions():
        # Until its name is read, a distribution goes by its folder.
        name = str(getattr(getattr(distribution, "_path", None), "name", ""))
        try:
            if not heading.search(distribution.read_text("entry_points.txt") or ""):
                continue
            name = _name_of(distribution)
            if canonicalize_name(name) in seen:
                continue
            seen.add(canonicalize_name(name))
            # Of two versions on the path the first one counts, even if only the second has the group.
            entry_points += importlib.metadata.distribution(name).entry_points.select(group=group)
        except PluginError as error:
            unreadable.append((name, str(error)))
        except Exception:
            unreadable.append((name, "its entry_points.txt cannot be read: expected lines such as 'name = module'."))
    return sorted(entry_points, key=lambda e: (canonicalize_name(origin(e)[0]), e.name, e.value)), unreadable


def origin(entry: EntryPoint) -> tuple[str, str]:
    """Return the distribution and version of an entry point; ("", "") if it was made by hand."""
    if entry.dist is None:
        return "", ""
    return _name_of(entry.dist), entry.dist.version or ""


def switched_off(names: Collection[str], blocked: Collection[str], allowed: Collection[str] | None) -> Off | None:
    """Return why a plugin with one of these names is disabled, or None. `allowed=None` allows all."""
    own = _canonical(names)
    if own & _canonical(blocked):
        return "blocked"
    if allowed is not None and not own & _canonical(allowed):
        return "not-allowed"
    return None


def allowed_names() -> list[str] | None:
    """Return the names in `CARTPOLE_DQN_PLUGINS`; None if it is not set."""
    text = os.environ.get(ALLOW_VARIABLE)
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


class IncompatibleError(PluginError):
    """A plugin needs another version of cartpole-dqn."""


def import_entry_point(entry: EntryPoint) -> Any:
    """Import what an entry point names.

    Raises:
        IncompatibleError: its distribution requires another version of cartpole-dqn.
        PluginError: its value is invalid.
        Exception: whatever the import raises.
    """
    for line in (entry.dist.requires if entry.dist is not None else None) or []:
        with contextlib.suppress(InvalidRequirement):
            requirement = Requirement(line)
            applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if canonicalize_name(requirement.name) == DISTRIBUTION and applies:
                require_version(requirement.specifier)
    if not _VALUE.fullmatch(entry.value.strip()):
        raise PluginError(f"its entry point is {entry.value!r}: expected 'module' or 'module:object'.")
    with stdout_kept_clean():
        return entry.load()


def require_version(specifier: SpecifierSet) -> None:
    """Raise `IncompatibleError` unless this cartpole-dqn fits. Plugins also load in a pre-release of one that fits."""
    if not specifier.contains(__version__, prereleases=True):
        raise IncompatibleError(f"it needs cartpole-dqn {specifier}, and this is {__version__}.")


def stdout_kept_clean() -> contextlib.AbstractContextManager[Any]:
    """Redirect the output of a plugin to stderr, away from the results of a command."""
    return contextlib.redirect_stdout(sys.stderr)


def _canonical(names: Collection[str]) -> set[str]:
    return {canonicalize_name(name) for name in names if name}


def _name_of(distribution: Distribution) -> str:
    # Without METADATA this is None or raises, depending on the version of Python.
    name: str | None = None
    with contextlib.suppress(Exception):
        name = distribution.name
    if not name:
        raise PluginError("it has entry points, but no METADATA with a name: install it again.")
    return name
