"""What is published: the wheel and the sdist, built, looked into, checked, and run from an otherwise empty folder.

Needs `build`, `hatchling`, `hatch-fancy-pypi-readme` and `twine`, which the extra `test` brings; skipped without them.
"""

from __future__ import annotations

import email
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.message import Message
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest

import cartpole_dqn

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "cartpole_dqn"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MOST_BYTES = 1_000_000
pytestmark = [pytest.mark.process, pytest.mark.timeout(600)]  # the first test waits for what all of them look at


class Built(NamedTuple):
    """The distributions of one tree: the wheel made from it, its sdist, and the wheel made from that."""

    wheel: Path
    sdist: Path
    again: Path


def run(*arguments: str, cwd: Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(arguments)}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    missing = [name for name in ("build", "hatchling", "hatch_fancy_pypi_readme", "twine") if find_spec(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: pip install -e '.[test]'")
    direct, through = tmp_path_factory.mktemp("direct"), tmp_path_factory.mktemp("through")
    run("-m", "build", "--no-isolation", "--wheel", "--outdir", str(direct), ".", cwd=ROOT)
    # Without --wheel: the sdist first, then a wheel from it.
    run("-m", "build", "--no-isolation", "--outdir", str(through), ".", cwd=ROOT)
    return Built(*direct.glob("*.whl"), *through.glob("*.tar.gz"), *through.glob("*.whl"))


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def metadata(wheel: Path) -> Message:
    found = [data for name, data in contents(wheel).items() if name.endswith(".dist-info/METADATA")]
    return email.message_from_bytes(found[0])


def shipped() -> set[str]:
    """The package's files, as they lie in the tree, without what tools leave there."""
    names = (path.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("*") if path.is_file())
    return {name for name in names if not re.search(r"/(__pycache__|\.\w+_cache)/", name)}


def test_the_wheel_has_the_package_and_nothing_else(built: Built) -> None:
    names = set(contents(built.wheel))
    info = {name for name in names if name.partition("/")[0].endswith(".dist-info")}
    assert names - info == shipped()
    for name in (
        "py.typed",
        "config/presets/pixels.toml",
        "plugin/template/pyproject.toml",
        "plugin/template/.gitignore",
    ):
        assert f"cartpole_dqn/{name}" in names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in info)
    assert not [name for name in names if name.startswith(("tests/", "docs/", "examples/", "plugins/"))]


def test_the_wheel_is_small(built: Built) -> None:
    assert built.wheel.stat().st_size < MOST_BYTES
    assert built.wheel.name == f"cartpole_dqn-{cartpole_dqn.__version__}-py3-none-any.whl"


def test_the_sdist_makes_the_same_wheel(built: Built) -> None:
    first, second = contents(built.wheel), contents(built.again)
    assert set(first) == set(second)
    assert [name for name in first if first[name] != second[name]] == []


def test_the_sdist_has_what_its_tests_and_its_documentation_need(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "pyproject.toml"} <= names
    for folder in ("tests", "docs", "examples", "plugins"):
        files = [path for kind in ("*.py", "*.md") for path in (ROOT / folder).rglob(kind)]
        found = {path.relative_to(ROOT).as_posix() for path in files if not {"_build", "build"} & {*path.parts}}
        assert found <= names, f"the sdist lacks {sorted(found - names)[:3]}"
    assert not [name for name in names if re.search(r"(^|/)(_build|__pycache__|\.venv|dist)(/|$)|^runs/", name)]


def test_metadata(built: Built) -> None:
    said = metadata(built.wheel)
    assert (said["Name"], said["Version"]) == (PROJECT["name"], cartpole_dqn.__version__)
    assert said["License-Expression"] == "MIT"
    assert said["Requires-Python"] == ">=3.11"
    assert "Typing :: Typed" in said.get_all("Classifier", [])
    assert said["Description-Content-Type"] == "text/markdown"
    entry_points = next(data for name, data in contents(built.wheel).items() if name.endswith("/entry_points.txt"))
    assert b"cartpole-dqn = cartpole_dqn.cli:main" in entry_points
    # Lower bounds, no pins: the newest of each is what a user gets.
    for requirement in said.get_all("Requires-Dist", []):
        assert not re.search(r"==|<|~=", requirement.partition(";")[0]), requirement


def test_pictures_and_links_of_the_readme_work_without_the_repository(built: Built) -> None:
    """A package index shows the README alone: each relative address must have become one in the repository."""
    places = re.compile(r"""\]\(([^)\s]+)\)|(?:src|srcset)="([^"]+)\"""")
    before = ["".join(found) for found in places.findall((ROOT / "README.md").read_text(encoding="utf-8"))]
    after = ["".join(found) for found in places.findall(str(metadata(built.wheel).get_payload()))]
    repository = PROJECT["urls"]["Source"].removeprefix("https://github.com/")
    for written, shown in zip(before, after, strict=True):
        if written.endswith((".gif", ".png", ".svg")):
            assert shown == f"https://raw.githubusercontent.com/{repository}/main/{written}"
        elif not written.startswith("https:"):
            assert shown == f"https://github.com/{repository}/blob/main/{written}"
        else:
            assert shown == written
    assert sum(written.endswith(".gif") for written in before) == 4


def test_twine_finds_nothing(built: Built) -> None:
    said = run("-m", "twine", "check", "--strict", *map(str, built), cwd=built.wheel.parent)
    assert said.count("PASSED") == 3


def test_the_wheel_runs_where_nothing_else_of_this_tree_is(built: Built, tmp_path: Path) -> None:
    """Its dependencies, torch above all, are those of this environment: only the package itself is installed."""
    folder, work = tmp_path / "site", tmp_path / "work"
    work.mkdir()
    alone = ("--quiet", "--no-deps", "--no-index", "--target", str(folder))
    run("-m", "pip", "install", *alone, str(built.wheel), cwd=work)
    env = {**os.environ, "PYTHONPATH": str(folder), "CARTPOLE_DQN_PLUGINS": "", "NO_COLOR": "1"}
    where = run("-c", "import cartpole_dqn; print(cartpole_dqn.__file__)", cwd=work, env=env)
    assert Path(where.strip()).is_relative_to(folder)
    assert cartpole_dqn.__version__ in run("-m", "cartpole_dqn", "--version", cwd=work, env=env)
    assert "tutorial-pixels" in run("-m", "cartpole_dqn", "presets", "list", cwd=work, env=env)
    run("-m", "cartpole_dqn", "plugins", "new", "my-replay", cwd=work, env=env)
    assert (work / "my-replay" / ".gitignore").is_file()
    short = ("--obs", "state", "--steps", "200", "--plain", "--out", "run")
    run("-m", "cartpole_dqn", "run", *short, cwd=work, env=env)
    assert (work / "run" / "checkpoint").is_dir()


def test_versions_agree() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (.+)$", citation, re.MULTILINE)[1] == PROJECT["version"]  # type: ignore[index]
    assert re.search(r"^license: (.+)$", citation, re.MULTILINE)[1] == PROJECT["license"]  # type: ignore[index]
    assert PROJECT["version"] == cartpole_dqn.__version__
    assert f"## {PROJECT['version']} - " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
