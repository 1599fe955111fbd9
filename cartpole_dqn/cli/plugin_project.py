"""Creates plugin projects from `cartpole_dqn/plugin/template`.

* `TEMPLATE_KINDS`: what the template has: every kind of component, an environment, a command.
* `ProjectNames`, `names_for`: the names of the project's distribution, module and components.
* `write_project`: copies the template with these names and the chosen kinds. `usage`: commands that use them.

The template itself is a working plugin with one part of each kind.
"""

from __future__ import annotations

import importlib.util
import keyword
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from importlib import resources
from importlib.metadata import PackageNotFoundError, version
from importlib.resources.abc import Traversable
from pathlib import Path

from packaging.utils import canonicalize_name

from cartpole_dqn.errors import UserError
from cartpole_dqn.files import reason
from cartpole_dqn.plugin.registry import KINDS

TEMPLATE_KINDS = (*KINDS, "environment", "command")
LONGEST = 50
"""Most characters of a distribution's name. Longer names would make lines of the copy too long."""

_DISTRIBUTION = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_CACHES = re.compile(r"__pycache__|\..*_cache")


@dataclass(frozen=True)
class ProjectNames:
    """The names in a project."""

    distribution: str
    """Name of the distribution: lower-case letters, digits and hyphens."""

    @property
    def module(self) -> str:
        """Name of the Python package."""
        return self.distribution.replace("-", "_")

    @property
    def component(self) -> str:
        """Name of the components and of the entry point."""
        return self.distribution.removeprefix("cartpole-dqn-")


_TEMPLATE = ProjectNames("cartpole-dqn-acme")


def names_for(distribution: str) -> ProjectNames:
    """Return the names of a project, normalised as pip does. Raises `UserError` if a name is invalid or taken."""
    names = ProjectNames(str(canonicalize_name(distribution)))
    if not _DISTRIBUTION.fullmatch(names.distribution) or len(names.distribution) > LONGEST:
        raise UserError(
            f"'{distribution}' is no name for a plugin: expected a letter first, then letters, digits and hyphens, "
            f"{LONGEST} at most, as in 'cartpole-dqn-something'. Choose one with --name."
        )
    taken = _taken(names)
    if taken:
        raise UserError(f"'{names.distribution}' cannot be the plugin's name: {taken}. Choose another with --name.")
    return names


def write_project(folder: Path, names: ProjectNames, kinds: Collection[str]) -> list[Path]:
    """Write a project with these kinds of component. Return its files, relative to `folder`.

    Raises:
        UserError: the folder contains anything but `.git`, or cannot be written.
    """
    try:
        if folder.exists() and (not folder.is_dir() or any(entry.name != ".git" for entry in folder.iterdir())):
            raise UserError(f"{folder} is there already: expected a new folder, or an empty one.")
        written = []
        for path, text in sorted(_project(names, kinds)):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
            written.append(path)
        return written
    except OSError as error:
        raise UserError(f"cannot write {folder}: {reason(error)}.") from None


def usage(folder: Path) -> list[str]:
    """Return the commands that a project's README shows for its parts."""
    return re.findall(r"^    (cartpole-dqn .*)  # [\w-]+$", (folder / "README.md").read_text("utf-8"), re.MULTILINE)


def _taken(names: ProjectNames) -> str:
    """Return why the names cannot be used, or ""."""
    if names.distribution == "cartpole-dqn":
        return "it is this package's own"
    if names.module == "tests":
        return "the project's tests are in a folder of that name"
    if keyword.iskeyword(names.module) or names.module in keyword.softkwlist:
        return "it is a word of Python's own"
    try:
        return f"{names.distribution} {version(names.distribution)} is installed"
    except PackageNotFoundError:
        pass
    spec = importlib.util.find_spec(names.module)
    # A folder without Python files is a package without an origin. It may be the project itself.
    if spec is not None and spec.origin is not None:
        return f"a module '{names.module}' can be imported already ({spec.origin})"
    return ""


def _project(names: ProjectNames, kinds: Collection[str]) -> Iterator[tuple[Path, str]]:
    """Yield the path and text of each file."""
    others = [kind for kind in TEMPLATE_KINDS if kind not in kinds]
    skipped = {f"{prefix}{kind.replace('-', '_')}" for kind in others for prefix in ("", "test_")}
    if not set(kinds) & set(KINDS):
        skipped.add("test_plugin")
    for path, file in _files(resources.files("cartpole_dqn") / "plugin" / "template", Path()):
        if path.stem not in skipped:
            text = file.read_text(encoding="utf-8")
            for kind in others:
                text = _without(kind, text)
            yield Path(_renamed(str(path), names)), _renamed(_without_hooks(text, kinds), names)


def _files(folder: Traversable, place: Path) -> Iterator[tuple[Path, Traversable]]:
    for entry in folder.iterdir():
        if entry.is_file():
            yield place / entry.name, entry
        elif not _CACHES.fullmatch(entry.name):
            yield from _files(entry, place / entry.name)


def _renamed(text: str, names: ProjectNames) -> str:
    new = {
        _TEMPLATE.distribution: names.distribution,
        _TEMPLATE.module: names.module,
        _TEMPLATE.component: names.component,
    }
    # In one pass, because a new name may contain an old one.
    return re.sub("|".join(new), lambda match: new[match[0]], text)


def _without(kind: str, text: str) -> str:
    """Remove a kind from a file: its registration, its rows in lists and its command."""
    text = re.sub(rf'^    registry\.add\(\n        "{kind}",\n(        .*\n)+    \)\n', "", text, flags=re.MULTILINE)
    line = rf"\| {kind} \| .*|    cartpole-dqn .*  # {kind}|\* `{kind.replace('-', '_')}\.\w+`: .*"
    return re.sub(rf"^({line})\n", "", text, flags=re.MULTILINE)


def _without_hooks(text: str, kinds: Collection[str]) -> str:
    """Remove the hooks and entry points that none of `kinds` needs, with their imports."""
    components = bool(set(kinds) & set(KINDS))
    for hook, needed in (("components", components), ("environments", "environment" in kinds)):
        if not needed:
            text = re.sub(rf"\n\n@hookimpl\ndef register_{hook}\(.*\n(    .*\n)+", "", text)
    if "environment" not in kinds:
        text = text.replace(
            "import gymnasium\nfrom cartpole_dqn import hookimpl\n", "from cartpole_dqn import hookimpl\n"
        )
    if not components:
        typing = "from typing import TYPE_CHECKING\n\n", "\nif TYPE_CHECKING:\n    from cartpole_dqn import Registry\n"
        text = text.replace(typing[0], "").replace(typing[1], "")
    if "command" not in kinds:
        text = re.sub(r'\[project\.entry-points\."cartpole_dqn\.commands"\]\n.*\n\n', "", text)
    if set(kinds) == {"command"}:
        text = re.sub(r"\[project\.entry-points\.cartpole_dqn\]\n.*\n\n", "", text)
        text = text.replace("\nfrom __future__ import annotations\n\nfrom cartpole_dqn import hookimpl\n", "")
    return text
