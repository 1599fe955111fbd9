"""Install plugins into the environment that runs, and write down which ones it has.

* `installer`: the command line of this environment's own installer, uv or pip.
* `install`, `uninstall`: run it.
* `frozen`, `frozen_now`, `read_frozen`: a set of plugins as lines that an installer takes, `name==version`.

A run folder keeps its plugins in `environment.json`; `frozen` makes lines of these. Only names with versions are ever
taken from a run or a file: nothing in them can name an address, a path or an option of the installer.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from cartpole_dqn.errors import RunError, UserError, bad, did_you_mean
from cartpole_dqn.files import reason
from cartpole_dqn.plugin.discovery import COMMAND_GROUP, DISTRIBUTION, GROUP, find_entry_points, origin


def installer() -> list[str]:
    """Return the start of the installer's command line: uv where uv made this environment, else pip, else uv.

    Raises:
        UserError: there is neither.
    """
    uv = shutil.which("uv")
    try:
        made_by_uv = "\nuv = " in f"\n{Path(sys.prefix, 'pyvenv.cfg').read_text(encoding='utf-8')}"
    except OSError:
        made_by_uv = False
    if importlib.util.find_spec("pip") is not None and not (uv and made_by_uv):
        return [sys.executable, "-m", "pip"]
    if uv is None:
        raise UserError(f"this environment ({sys.prefix}) has no pip, and there is no uv: install one of them.")
    return [uv, "pip"]


def install(arguments: Sequence[str]) -> list[str]:
    """Install what the installer is told, requirements and options. Return the plugins that came or changed.

    Raises:
        RunError: the installer failed. Its own output says why.
    """
    before = _installed()
    _run(command("install", arguments))
    return [f"{name} {version}" for name, version in _installed().items() if before.get(name) != version]


def uninstall(names: Sequence[str]) -> None:
    """Remove distributions, which `require_plugins` accepts. Raises `RunError` if the installer failed."""
    _run(command("uninstall", names))


def command(action: str, arguments: Sequence[str]) -> list[str]:
    """Return the command line that `install` or `uninstall` runs."""
    start = installer()
    if start[-2:] == ["-m", "pip"]:
        return [*start, action, *(["--yes"] if action == "uninstall" else []), *arguments]
    return [*start, action, "--python", sys.executable, *arguments]


def require_plugins(names: Sequence[str]) -> None:
    """Raise `UserError` unless each name is an installed distribution with plugins, so that no library is removed."""
    installed = _installed()
    for name in names:
        if canonicalize_name(name) not in installed:
            hint = did_you_mean(name, installed) if installed else " No plugin is installed."
            raise UserError(f"no installed distribution with plugins is named '{bad(name)}'.{hint}")


def frozen(plugins: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return `name==version` of each distribution in a run's `environment.json`, sorted, without this package.

    Args:
        plugins: as from `RunFolder.plugins` or `PluginHost.describe`.

    Raises:
        UserError: an entry is no name with a version.
    """
    loaded = [plugin for plugin in plugins if plugin.get("state", "loaded") == "loaded"]
    lines = {f"{plugin['distribution']}=={plugin['version']}" for plugin in loaded}
    return sorted(_pinned(line) for line in lines if not line.startswith(f"{DISTRIBUTION}=="))


def frozen_now() -> list[str]:
    """Return `name==version` of each installed distribution with plugins, sorted."""
    return [f"{name}=={version}" for name, version in sorted(_installed().items())]


def read_frozen(path: Path) -> list[str]:
    """Return the lines of a file that `plugins freeze` wrote, without blank lines and comments.

    Raises:
        UserError: it cannot be read, or a line is no name with a version.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {reason(error)}.") from None
    except ValueError:
        raise UserError(f"{path} cannot be read: expected text.") from None
    requirements = [line.partition("#")[0].strip() for line in lines]
    return sorted({_pinned(line) for line in requirements if line})


def missing(lines: Sequence[str]) -> list[str]:
    """Return the lines whose distribution is not here, or here with another version."""

    def is_here(name: str, version: str) -> bool:
        try:
            return importlib.metadata.version(name) == version
        except importlib.metadata.PackageNotFoundError:
            return False

    return [line for line in lines if not is_here(*line.split("=="))]


def _pinned(line: str) -> str:
    try:
        requirement = Requirement(line)
        (pin,) = requirement.specifier
        if requirement.url or requirement.extras or requirement.marker or pin.operator != "==" or "*" in pin.version:
            raise ValueError
    except (InvalidRequirement, ValueError):
        raise UserError(f"{line!r}: expected a distribution and its version, as in cartpole-dqn-acme==1.0.") from None
    return f"{canonicalize_name(requirement.name)}=={pin.version}"


def _installed() -> dict[str, str]:
    """Return the version of each distribution with plugins or commands, by its normalised name."""
    importlib.invalidate_caches()
    origins = [origin(entry) for group in (GROUP, COMMAND_GROUP) for entry in find_entry_points(group)[0]]
    return {str(canonicalize_name(name)): version for name, version in sorted(origins) if name}


def _run(line: Sequence[str]) -> None:
    try:
        code = subprocess.run(line, stdout=sys.stderr, check=False).returncode
    except OSError as error:
        raise RunError(f"{line[0]} cannot be started: {reason(error)}.") from None
    if code:
        raise RunError(f"the installer failed with exit code {code}; what it said is above.")
