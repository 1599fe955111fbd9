"""The plugins stand on public names alone, as somebody else's would, and cost nothing until they are chosen."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PUBLIC = ("cartpole_dqn", "cartpole_dqn.wrappers", "cartpole_dqn.testing")
PLUGINS = sorted(path.parent for path in HERE.glob("*/pyproject.toml"))


def names_used(text: str) -> list[tuple[str, str]]:
    """(module, name) of everything that `text` imports from cartpole_dqn; the name is "" where a module is imported."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            found += [(node.module or "", alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
    return [(module, name) for module, name in found if module.split(".")[0] == "cartpole_dqn"]


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
def test_only_public_names_are_imported(plugin: Path) -> None:
    used = set()
    for path in [*plugin.glob("cartpole_dqn_*/**/*.py"), *plugin.glob("tests/**/*.py")]:
        for module, name in names_used(path.read_text(encoding="utf-8")):
            assert module in PUBLIC, f"{path.name} imports {module}, which is not public."
            assert not name or name in importlib.import_module(module).__all__, f"{module}.{name} is not public."
            used.add(module)
    assert "cartpole_dqn" in used, "its files are found"


def test_a_private_module_is_seen() -> None:
    assert names_used("import cartpole_dqn.components.replay.ring") == [("cartpole_dqn.components.replay.ring", "")]


HEAVY = {"torch", "numpy", "gymnasium", "matplotlib", "mlflow", "ray", "tensorboard", "wandb"}
REGISTER = """
import importlib, sys
from cartpole_dqn import Registry
for name in sys.argv[1:]:
    registry = Registry(name)
    importlib.import_module(name).register_components(registry)
    assert registry.components()
"""


@pytest.mark.process
def test_registering_imports_nothing_heavy() -> None:
    projects = [tomllib.loads((plugin / "pyproject.toml").read_text(encoding="utf-8")) for plugin in PLUGINS]
    modules = [name for table in projects for name in table["project"]["entry-points"]["cartpole_dqn"].values()]
    installed = [name for name in modules if find_spec(name.partition(".")[0])]
    command = [sys.executable, "-c", f"{REGISTER}print({HEAVY} & set(sys.modules))", *installed]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() == "set()"
