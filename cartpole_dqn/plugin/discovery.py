"""Finding plugins in the metadata of what is installed, without importing any.

* `find_entry_points`: a group's entry points, and the distributions that cannot be read.
* `origin`: the distribution and version that an entry point comes from.
* `switched_off`: whether a name is blocked, or not in the list of allowed ones.
* `allowed_names`: what the environment variable `CARTPOLE_DQN_PLUGINS` allows.
* `unmet_requirement`: how a distribution's need of another cartpole-dqn is not met.
* `import_entry_point`: what an entry point names, imported now.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import os
import re
import sys
from collections.abc import Collection
from importlib.metadata import Distribution, EntryPoint
from typing import Any, Literal

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from cartpole_dqn.plugin.registry import PluginError
from cartpole_dqn.system import __version__

GROUP = "cartpole_dqn"
"""The entry point group of plugins."""
COMMAND_GROUP = "cartpole_dqn.commands"
"""The entry point group of commands."""
ALLOW_VARIABLE = "CARTPOLE_DQN_PLUGINS"
"""The environment variable that names the only plugins to load, comma separated; empty: none."""
DISTRIBUTION = "cartpole-dqn"

Off = Literal["blocked", "not-allowed"]

WHY_OFF: dict[Off, str] = {
    "blocked": "blocked on the command line",
    "not-allowed": f"not in the list of allowed plugins ({ALLOW_VARIABLE})",
}

_VALUE = re.compile(r"(?P<module>[A-Za-z_][\w.]*)(:(?P<path>[A-Za-z_][\w.]*))?\s*(\[.*\])?")


def find_entry_points(group: str) -> tuple[list[EntryPoint], list[tuple[str, str]]]:
    """Return a group's entry points, sorted by distribution and name, and (distribution, reason) of unreadable ones.

    Unlike `importlib.metadata.entry_points`, one damaged distribution does not hide the others.
    """
    found: list[EntryPoint] = []
    unreadable: list[tuple[str, str]] = []
    seen: set[str] = set()
    heading = re.compile(rf"^\s*\[\s*{re.escape(group)}\s*\]", re.MULTILINE)
    for distribution in importlib.metadata.distributions():
        # Before it is known how a distribution is named, its folder stands for it.
        name = str(getattr(getattr(distribution, "_path", None), "name", ""))
        try:
            if not heading.search(distribution.read_text("entry_points.txt") or ""):
                continue
            name = _name_of(distribution)
            if canonicalize_name(name) in seen:
                continue
            seen.add(canonicalize_name(name))
            # Of two versions on the path the first is the installed one, even where only the second has the group.
            found += importlib.metadata.distribution(name).entry_points.select(group=group)
        except PluginError as error:
            unreadable.append((name, str(error)))
        except Exception:
            unreadable.append((name, "its entry_points.txt cannot be read: expected lines such as 'name = module'."))
    return sorted(found, key=sorting_key), unreadable


def sorting_key(entry: EntryPoint) -> tuple[str, str, str]:
    """Return what entry points are sorted by: distribution, name, value."""
    return canonicalize_name(origin(entry)[0]), entry.name, entry.value


def origin(entry: EntryPoint) -> tuple[str, str]:
    """Return the entry point's distribution and version; empty texts for one made by hand."""
    if entry.dist is None:
        return "", ""
    return _name_of(entry.dist), entry.dist.version or ""


def switched_off(names: Collection[str], blocked: Collection[str], allowed: Collection[str] | None) -> Off | None:
    """Return why what goes by any of `names` is not to be loaded, None where it is; `allowed` None allows all."""
    own = _canonical(names)
    if own & _canonical(blocked):
        return "blocked"
    if allowed is not None and not own & _canonical(allowed):
        return "not-allowed"
    return None


def allowed_names() -> list[str] | None:
    """Return the names that `CARTPOLE_DQN_PLUGINS` allows; None, for all, where it is not set."""
    text = os.environ.get(ALLOW_VARIABLE)
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def unmet_requirement(distribution: Distribution | None) -> str:
    """Return how a distribution's `Requires-Dist` on cartpole-dqn is not met, "" where it is."""
    for line in (distribution.requires if distribution is not None else None) or []:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if canonicalize_name(requirement.name) != DISTRIBUTION or not applies:
            continue
        # Whoever runs a pre-release of cartpole-dqn wants its plugins too.
        if not requirement.specifier.contains(__version__, prereleases=True):
            return f"it needs cartpole-dqn {requirement.specifier}, and this is {__version__}."
    return ""


def import_entry_point(entry: EntryPoint) -> Any:
    """Return what the entry point names. Raises `PluginError` where it names nothing, or whatever the import raises."""
    match = _VALUE.fullmatch(entry.value.strip())
    if match is None:
        raise PluginError(f"its entry point is {entry.value!r}: expected 'module' or 'module:object'.")
    with stdout_kept_clean():
        found: Any = importlib.import_module(match["module"])
        for step in match["path"].split(".") if match["path"] else ():
            found = getattr(found, step)
    return found


def stdout_kept_clean() -> contextlib.AbstractContextManager[Any]:
    """Send what a plugin prints to stderr: it must not end up among a command's results."""
    return contextlib.redirect_stdout(sys.stderr)


def _canonical(names: Collection[str]) -> set[str]:
    return {canonicalize_name(name) for name in names if name}


def _name_of(distribution: Distribution) -> str:
    # Without METADATA a name is None or an exception, depending on Python's version.
    name: str | None = None
    with contextlib.suppress(Exception):
        name = distribution.name
    if not name:
        raise PluginError("it has entry points, but no METADATA with a name: install it again.")
    return name
