"""Creates plugin projects from `cartpole_dqn/plugin/template`.

* `TEMPLATE_KINDS`: what the template has: every kind of component, an environment, a command.
* `ProjectNames`, `names_for`: the names of the project's distribution, module and components.
* `write_project`: copies the template with these names and the chosen kinds. `usage`: commands that use them.

The template has a part of each kind, in a file of its own with a test. `parts.toml` lists them. What lists the chosen
ones, such as the README, is a Jinja template.
"""

from __future__ import annotations

import importlib.util
import keyword
import re
import tomllib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from importlib import resources
from importlib.metadata import PackageNotFoundError, version
from importlib.resources.abc import Traversable
from pathlib import Path

from packaging.utils import canonicalize_name

from cartpole_dqn.errors import UserError, bad
from cartpole_dqn.files import reason
from cartpole_dqn.plugin.registry import KINDS
from cartpole_dqn.text.pages import render

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


_ACME = ProjectNames("cartpole-dqn-acme")
"""The names in the template."""
_TEMPLATE = resources.files("cartpole_dqn") / "plugin" / "template"


def names_for(distribution: str) -> ProjectNames:
    """Return the names of a project, normalised as pip does. Raises `UserError` if a name is invalid or taken."""
    names = ProjectNames(str(canonicalize_name(distribution)))
    if not _DISTRIBUTION.fullmatch(names.distribution) or len(names.distribution) > LONGEST:
        raise UserError(
            f"'{bad(distribution)}' is no name for a plugin: expected a letter first, then letters, digits and "
            f"hyphens, {LONGEST} at most, as in 'cartpole-dqn-something'. Choose one with --name."
        )
    if problem := _name_problem(names):
        name = bad(names.distribution)
        raise UserError(f"'{name}' cannot be the plugin's name: {problem}. Choose another with --name.")
    return names


def write_project(folder: Path, names: ProjectNames, kinds: Collection[str]) -> list[Path]:
    """Write a project with these kinds of component. Return its files, relative to `folder`.

    Raises:
        UserError: the folder contains anything but `.git`, or cannot be written.
    """
    try:
        if folder.exists() and (not folder.is_dir() or any(entry.name != ".git" for entry in folder.iterdir())):
            raise UserError(f"{folder} is there already: expected a new folder, or an empty one.")
        paths = []
        for path, text in sorted(_project(names, kinds)):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
            paths.append(path)
        return paths
    except OSError as error:
        raise UserError(f"cannot write {folder}: {reason(error)}.") from None


def usage(names: ProjectNames, kinds: Collection[str]) -> list[str]:
    """Return the commands that use a project's parts."""
    return [_rename(f"cartpole-dqn {part['command']}", names) for part in _parts(kinds)]


def _name_problem(names: ProjectNames) -> str:
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
    parts = _parts(kinds)
    components = [part for part in parts if part["kind"] in KINDS]
    environment = next((part for part in parts if part["kind"] == "environment"), None)
    others = [kind.replace("-", "_") for kind in TEMPLATE_KINDS if kind not in kinds]
    skipped = {"parts", *others, *(f"test_{kind}" for kind in others), *["test_plugin"] * (not components)}
    for path, file in _files(_TEMPLATE, Path()):
        if path.stem in skipped:
            continue
        text = file.read_text(encoding="utf-8")
        if path.suffix == ".jinja":
            source = f"plugin/template/{path.as_posix()}"
            text = render(source, parts=parts, components=components, environment=environment)
            path = path.with_suffix("")
        elif path.name == "pyproject.toml":
            text = _without_entry_points(text, plugin=bool(components or environment), command="command" in kinds)
        yield Path(_rename(str(path), names)), _rename(text, names)


def _parts(kinds: Collection[str]) -> list[dict[str, str]]:
    """Return the template's parts of these kinds: what `parts.toml` says, with `kind`, `name` and `path`."""
    parts = []
    for kind, part in tomllib.loads((_TEMPLATE / "parts.toml").read_text(encoding="utf-8")).items():
        if kind in kinds:
            path = part["target"].removeprefix(_ACME.module)[1:].replace(":", ".")
            parts.append({"kind": kind, "name": _ACME.component, "path": path, **part})
    return parts


def _files(folder: Traversable, place: Path) -> Iterator[tuple[Path, Traversable]]:
    for entry in folder.iterdir():
        if entry.is_file():
            yield place / entry.name, entry
        elif not _CACHES.fullmatch(entry.name):
            yield from _files(entry, place / entry.name)


def _rename(text: str, names: ProjectNames) -> str:
    replacements = {
        _ACME.distribution: names.distribution,
        _ACME.module: names.module,
        _ACME.component: names.component,
    }
    # In one pass, because a new name may contain an old one.
    return re.sub("|".join(replacements), lambda match: replacements[match[0]], text)


def _without_entry_points(text: str, *, plugin: bool, command: bool) -> str:
    """Remove the tables of entry points that a project does not need."""
    for group, needed in (("cartpole_dqn", plugin), ('"cartpole_dqn.commands"', command)):
        if not needed:
            text = re.sub(rf"\[project\.entry-points\.{re.escape(group)}\]\n.*\n\n", "", text)
    return text
