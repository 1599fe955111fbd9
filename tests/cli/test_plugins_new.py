from __future__ import annotations

import ast
import functools
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartpole_dqn.plugin.project import LONGEST, TEMPLATE_KINDS, ProjectNames, names_for, usage, write_project
from cartpole_dqn.plugin.registry import KINDS

New = Callable[..., Any]
LONG = "cartpole-dqn-" + "x" * (LONGEST - 13)


@pytest.fixture
def new(plugins: Callable[..., Any]) -> New:
    """Type `plugins new` in an empty folder."""
    return functools.partial(plugins, "new", allowed="")


def texts(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


def registrations(init: str) -> list[list[str]]:
    """The arguments of each `registry.add`."""
    calls = [node for node in ast.walk(ast.parse(init)) if isinstance(node, ast.Call)]
    added = [call for call in calls if ast.unparse(call.func) == "registry.add"]
    return [[ast.literal_eval(argument) for argument in call.args] for call in added]


# What is made ---------------------------------------------------------------------------------------------------------


def test_a_replay_by_default_named_after_the_folder(new: New, tmp_path: Path) -> None:
    result = new("projects/My_Replays")
    files = texts(tmp_path / "projects" / "My_Replays")
    assert result.out.split() == [f"projects/My_Replays/{path}" for path in sorted(files, key=Path)]
    assert set(files) == {
        ".github/workflows/tests.yml", ".gitignore", "README.md", "pyproject.toml", "my_replays/__init__.py",
        "my_replays/py.typed", "my_replays/replay.py", "tests/test_plugin.py", "tests/test_replay.py",
    }  # fmt: skip
    project = tomllib.loads(files["pyproject.toml"])
    assert project["project"]["name"] == "my-replays"
    assert project["project"]["entry-points"] == {"cartpole_dqn": {"my-replays": "my_replays"}}
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["my_replays"]
    ((kind, name, target, _),) = registrations(files["my_replays/__init__.py"])
    assert (kind, name, target) == ("replay", "my-replays", "my_replays.replay:StratifiedReplay")


def test_the_next_commands_are_said(new: New) -> None:
    result = new("a plugin", "--name", "cartpole-dqn-newest", "--kind", "network", "--kind", "target-update").err
    assert "cartpole-dqn-newest has network newest, target-update newest." in result
    assert re.findall(r"^    (.+)$", result, re.MULTILINE) == [
        "cd 'a plugin'",
        'pip install -e ".[test]"',
        "pytest",
        "cartpole-dqn plugins list",
        "cartpole-dqn run --obs state --network newest",
        "cartpole-dqn run --obs state --target-update newest",
    ]


@pytest.mark.parametrize("there", ["", "empty", "git"])
def test_an_empty_folder_will_do(new: New, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str) -> None:
    folder = tmp_path / "newest"
    if there:
        folder.mkdir()
        monkeypatch.chdir(folder)
    if there == "git":
        (folder / ".git").mkdir()
    result = new("." if there else "newest")
    assert (folder / "newest" / "__init__.py").is_file()
    assert ("cd newest" in result.err) == (not there)


@given(
    name=st.from_regex(r"(cartpole-dqn-)?[a-z][a-z0-9]{0,6}(-[a-z0-9]{1,6}){0,2}", fullmatch=True)
    | st.sampled_from(["cartpole-dqn-acme", "acme", "acme-cartpole-dqn-acme", "acmes", LONG]),
    kinds=st.sets(st.sampled_from(TEMPLATE_KINDS), min_size=1),
)
def test_a_copy_differs_from_the_template_by_names_alone(
    tmp_path_factory: pytest.TempPathFactory, name: str, kinds: set[str]
) -> None:
    names, folder = ProjectNames(name), tmp_path_factory.mktemp("project")
    written = write_project(folder, names, kinds)
    files = texts(folder)
    assert sorted(files) == sorted(map(str, written))
    init = files[f"{names.module}/__init__.py"]
    added = registrations(init)
    assert {arguments[0] for arguments in added} == kinds & {*KINDS}
    assert {arguments[1] for arguments in added} <= {names.component}
    for kind, _, target, _ in added:
        module, _, cls = target.partition(":")
        if kind == "preset":
            assert f"{module}/{cls}" in files
        else:
            assert f"class {cls}(" in files[f"{module.replace('.', '/')}.py"]
    hooks = {hook for hook in ("components", "environments") if f"def register_{hook}(" in init}
    assert hooks == {*["components"] * bool(added), *["environments"] * ("environment" in kinds)}
    assert ("hookimpl" in init) == bool(hooks)
    groups = {*["cartpole_dqn"] * bool(hooks), *["cartpole_dqn.commands"] * ("command" in kinds)}
    assert set(tomllib.loads(files["pyproject.toml"])["project"]["entry-points"]) == groups
    assert all(f"    {command}  # " in files["README.md"] for command in usage(names, kinds))
    for kind in TEMPLATE_KINDS:
        module = kind.replace("-", "_")
        chosen = kind in kinds
        assert (f"tests/test_{module}.py" in files) == chosen
        assert (f"  # {kind}\n" in files["README.md"]) == chosen
        assert (f"| {kind} | `{names.component}" in files["README.md"]) == chosen
        assert (f"* `{module}." in init) == chosen
    # Undoing the names gives the template's own text, so nothing else was touched.
    template = resources.files("cartpole_dqn") / "plugin" / "template"
    for path in (f"{names.module}/{kind.replace('-', '_')}.py" for kind in kinds - {"preset"}):
        original = (template / path.replace(names.module, "cartpole_dqn_acme", 1)).read_text()
        assert files[path] == original.replace("acme", names.component)


@pytest.mark.parametrize("name", ["ab", LONG])
@pytest.mark.process
def test_ruff_finds_nothing(tmp_path: Path, name: str) -> None:
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent)) or shutil.which("ruff")
    if ruff is None:
        pytest.skip("ruff is not installed")
    for kinds in [[kind] for kind in TEMPLATE_KINDS] + [list(TEMPLATE_KINDS)]:
        folder = tmp_path / "-".join(kinds)
        write_project(folder, ProjectNames(name), kinds)
        for command in (["check"], ["format", "--check"]):
            done = subprocess.run([ruff, *command, "--no-cache", "."], cwd=folder, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout


# What is refused ------------------------------------------------------------------------------------------------------


def test_a_name_that_another_component_has(new: New, tmp_path: Path) -> None:
    result = new("cartpole-dqn-uniform", code=2)
    assert re.search(r"the replay 'uniform' is cartpole-dqn \S+'s already", result.err)
    assert not (tmp_path / "cartpole-dqn-uniform").exists()
    new("cartpole-dqn-uniform", "--kind", "network")
    assert names_for(LONG).component == LONG.removeprefix("cartpole-dqn-"), "the longest name is no other's"


def test_a_folder_that_is_not_empty(new: New, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for folder, words in {
        "there": "there is there already",
        "file": "file is there already",
        "file/inside": "cannot write file/inside",
    }.items():
        result = new(folder, code=2)
        assert words in result.err
    assert texts(tmp_path) == {"there/mine.txt": "mine", "file": "mine"}
