"""A new plugin project: a copy of `cartpole_dqn/plugin/template`, renamed.

* `TEMPLATE_KINDS`: the kinds of component that can be had.
* `ProjectNames`, `names_for`: what the project's distribution, module and components are called.
* `write_project`: the copy.

The template is a working plugin as it stands, with a component of each kind. A copy leaves out the kinds that were not
asked for, and has other names wherever the template has its own three.
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

TEMPLATE_KINDS = ("replay", "network", "target-update", "exploration")
LONGEST = 50
"""Characters of a distribution's name: with more, lines of the copy would be too long."""

_DISTRIBUTION = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_CACHES = re.compile(r"__pycache__|\..*_cache")


@dataclass(frozen=True)
class ProjectNames:
    """The names that a project has."""

    distribution: str
    """What pip installs: lower-case letters, digits and hyphens."""

    @property
    def module(self) -> str:
        """What Python imports."""
        return self.distribution.replace("-", "_")

    @property
    def component(self) -> str:
        """What the command line chooses, and the entry point."""
        return self.distribution.removeprefix("cartpole-dqn-")


_TEMPLATE = ProjectNames("cartpole-dqn-acme")


def names_for(distribution: str) -> ProjectNames:
    """Return the names of a project; capitals, dots and underscores become what pip makes of them.

    Raises:
        UserError: it is no name for a distribution and its module, too long, or taken.
    """
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
    """Write the project into `folder`, and return its files relative to it.

    Args:
        folder: new, or empty but for `.git`.
        names: see `names_for`.
        kinds: of `TEMPLATE_KINDS`, one or more.

    Raises:
        UserError: the folder is something else, or cannot be written.
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


def _taken(names: ProjectNames) -> str:
    """Return whose name it is already, "" where it is nobody's."""
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
    # A mere folder counts as a package without an origin: it may be the project's own.
    if spec is not None and spec.origin is not None:
        return f"a module '{names.module}' can be imported already ({spec.origin})"
    return ""


def _project(names: ProjectNames, kinds: Collection[str]) -> Iterator[tuple[Path, str]]:
    """Yield each file of the project: its path and its text."""
    others = [kind for kind in TEMPLATE_KINDS if kind not in kinds]
    skipped = {f"{prefix}{kind.replace('-', '_')}.py" for kind in others for prefix in ("", "test_")}
    for path, file in _files(resources.files("cartpole_dqn") / "plugin" / "template", Path()):
        if path.name not in skipped:
            text = file.read_text(encoding="utf-8")
            for kind in others:
                text = _without(kind, text)
            yield Path(_renamed(str(path), names)), _renamed(text, names)


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
    # All at once: a new name may have an old one in it.
    return re.sub("|".join(new), lambda match: new[match[0]], text)


def _without(kind: str, text: str) -> str:
    """Leave out what the template says of one kind: its registration, its rows in lists, its command."""
    text = re.sub(rf'^    registry\.add\(\n        "{kind}",\n(        .*\n)+    \)\n', "", text, flags=re.MULTILINE)
    line = rf"\| {kind} \| .*|    cartpole-dqn run .*--{kind} .*|\* `{kind.replace('-', '_')}\.\w+`: .*"
    return re.sub(rf"^({line})\n", "", text, flags=re.MULTILINE)
