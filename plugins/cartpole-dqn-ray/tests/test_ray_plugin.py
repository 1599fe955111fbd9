"""What the plugin registers, what it imports, and what its options refuse."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import cartpole_dqn_ray
import pytest
from cartpole_dqn_ray.sweep import RaySweep, RaySweepOptions

from cartpole_dqn import SweepEngineContext, UserError, check_options

PUBLIC = ("cartpole_dqn", "cartpole_dqn.wrappers", "cartpole_dqn.testing")
FILES = [*Path(cartpole_dqn_ray.__file__).parent.rglob("*.py"), *Path(__file__).parent.rglob("*.py")]


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


@pytest.mark.process
def test_registering_imports_no_ray_and_no_torch() -> None:
    code = "import sys, cartpole_dqn_ray.plugin; print({'torch', 'numpy', 'ray'} & set(sys.modules))"
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert printed.strip() == "set()"


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"cpus": 1.5}, "cpus: expected a fraction below 1 or a whole number, got 1.5"),
        ({"gpus": 2.5}, "gpus: expected a fraction"),
        ({"address": "ray://head:10001"}, "expected HOST:PORT"),
        ({"cpus": 0}, "cpus: expected"),
        ({"storage": "floppy"}, "storage: expected"),
        ({"adress": "auto"}, "Did you mean 'address'"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(table: dict[str, object], said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        RaySweep(
            check_options(RaySweepOptions, table, where="engine"),
            SweepEngineContext(folder=tmp_path, jobs=1, say=lambda text: None),
        )
