"""A project that `plugins new` makes is a plugin: it is found, checked, tested and trained with, without changes.

No network is used: `expose_plugin.py` makes the project visible as an editable install would. Where hatchling is there,
pip itself installs it too.
"""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from cartpole_dqn.plugin.project import TEMPLATE_KINDS
from cartpole_dqn.plugin.registry import KINDS

ROOT = Path(__file__).parents[2]
Made = tuple[Path, Path]

pytestmark = pytest.mark.process


def python(*arguments: str | Path, cwd: Path, path: Path | None = None, isolated: bool = True) -> str:
    """Run Python with this package, and what is in `path`, to import; return what it printed on stdout."""
    search = os.pathsep.join(str(folder) for folder in (ROOT, path) if folder)
    own = {"PYTHONPATH": search, "OMP_NUM_THREADS": "1", "CARTPOLE_DQN_PLUGINS": "cartpole-dqn-newest"}
    # -P: as an installed program, it does not look into the current folder by itself.
    command = [sys.executable, *(["-P"] if isolated else []), *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, env={**os.environ, **own}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def cartpole_dqn(*arguments: str | Path, cwd: Path, path: Path | None = None) -> str:
    return python("-m", "cartpole_dqn", *arguments, cwd=cwd, path=path)


@pytest.fixture(scope="module")
def new_project(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A project with a component of every kind, and the folder that it is visible from."""
    place = tmp_path_factory.mktemp("template")
    kinds = [word for kind in TEMPLATE_KINDS for word in ("--kind", kind)]
    cartpole_dqn("plugins", "new", "cartpole-dqn-newest", *kinds, cwd=place)
    site = place / "site"
    site.mkdir()
    runpy.run_path(str(ROOT / "tests" / "support" / "expose_plugin.py"))["expose"](place / "cartpole-dqn-newest", site)
    return place / "cartpole-dqn-newest", site


def test_it_is_listed(new_project: Made) -> None:
    project, site = new_project
    listed = json.loads(cartpole_dqn("--strict-plugins", "plugins", "list", "--json", cwd=project, path=site))
    assert [(c["kind"], c["name"], c["distribution"], c["version"], c["state"]) for c in listed["components"]] == [
        (kind, "newest", "cartpole-dqn-newest", "0.1.0", "loaded") for kind in KINDS
    ]
    assert [command["name"] for command in listed["commands"]] == ["newest"]


def test_its_own_tests_pass(new_project: Made) -> None:
    project, site = new_project
    text = python("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=project, path=site)
    assert re.search(r"^\d+ passed", text, re.MULTILINE), "no test is skipped or fails"


@pytest.fixture(scope="module")
def trained(new_project: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that learned with the plugin's replay."""
    project, site = new_project
    out = tmp_path_factory.mktemp("trained") / "run"
    options = ["--plain", "--out", str(out), "--set", "agent.learning_starts=100"]
    cartpole_dqn("run", "--obs", "state", "--replay", "newest", "--steps", "300", *options, cwd=project, path=site)
    return out


@pytest.mark.smoke
def test_it_is_trained_with(trained: Path) -> None:
    plugins = json.loads((trained / "environment.json").read_text())["plugins"]
    assert ("cartpole-dqn-newest", "0.1.0") in [(plugin["distribution"], plugin["version"]) for plugin in plugins]
    assert 'name = "newest"' in (trained / "config.toml").read_text()
    assert (trained / "best").is_dir()


def test_a_run_without_its_plugin_says_what_to_install(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(
        AssertionError, match=r"replay 'newest'. It came from cartpole-dqn-newest 0\.1\.0: install that"
    ):
        cartpole_dqn("resume", trained, cwd=tmp_path)


@pytest.mark.slow
def test_mypy_finds_nothing(new_project: Made, tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    text = python("-m", "mypy", "--cache-dir", tmp_path, cwd=new_project[0], path=new_project[1], isolated=False)
    assert "Success" in text
