"""The plugin stands on public names alone, as somebody else's would."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import cartpole_dqn_mlflow
import pytest

PUBLIC = ("cartpole_dqn", "cartpole_dqn.wrappers", "cartpole_dqn.testing")
FILES = [*Path(cartpole_dqn_mlflow.__file__).parent.rglob("*.py"), *Path(__file__).parent.rglob("*.py")]


def names_used(text: str) -> list[tuple[str, str]]:
    """(module, name) of everything that `text` imports from cartpole_dqn; the name is "" where a module is imported."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            found += [(node.module or "", alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
    return [(module, name) for module, name in found if module.split(".")[0] == "cartpole_dqn"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_only_public_names_are_imported(path: Path) -> None:
    for module, name in names_used(path.read_text(encoding="utf-8")):
        assert module in PUBLIC, f"{path.name} imports {module}, which is not public."
        assert not name or name in importlib.import_module(module).__all__, f"{module}.{name} is not public."


def test_the_files_are_found() -> None:
    used = [pair for path in FILES for pair in names_used(path.read_text(encoding="utf-8"))]
    assert ("cartpole_dqn", "ObserverContext") in used
    assert ("cartpole_dqn.testing", "checks_for") in used
    assert names_used("import cartpole_dqn.components.replay.ring") == [("cartpole_dqn.components.replay.ring", "")]


@pytest.mark.process
def test_registering_imports_nothing_heavy() -> None:
    code = "import sys, cartpole_dqn_mlflow; print({'torch', 'numpy', 'mlflow'} & set(sys.modules))"
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert printed.strip() == "set()"
