"""The plugin as a plugin: public names alone, light to list, every part where it says."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import cartpole_dqn_rainbow
import pytest

import cartpole_dqn
import cartpole_dqn.testing
from cartpole_dqn import Exploration, Network, Registry

PROJECT = Path(__file__).parents[1]
MODULES = sorted([*PROJECT.glob("cartpole_dqn_rainbow/*.py"), *PROJECT.glob("tests/*.py")])
PUBLIC = {
    "cartpole_dqn": set(cartpole_dqn.__all__),
    "cartpole_dqn.testing": set(cartpole_dqn.testing.__all__),
}
PARTS = {
    ("network", "dueling"),
    ("network", "noisy"),
    ("network", "c51"),
    ("network", "quantile"),
    ("exploration", "greedy"),
    ("exploration", "boltzmann"),
}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_only_public_names_are_imported(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                assert alias.name.partition(".")[0] != "cartpole_dqn" or alias.name in PUBLIC, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            if (node.module or "").partition(".")[0] == "cartpole_dqn":
                names = {alias.name for alias in node.names}
                assert names <= PUBLIC.get(node.module or "", set()), f"{node.module}: {names}"


def test_every_part_is_what_its_kind_says() -> None:
    registry = Registry("cartpole-dqn-rainbow", "0.1.0")
    cartpole_dqn_rainbow.register_components(registry)
    assert {(part.kind, part.name) for part in registry.components()} == PARTS
    bases = {"network": Network, "exploration": Exploration}
    for part in registry.components():
        cls = part.load()
        assert issubclass(cls, bases[part.kind])
        assert cls is getattr(importlib.import_module(cls.__module__), cls.__name__)
        assert part.summary


def test_the_commands_in_the_readme_name_what_there_is() -> None:
    registry = Registry("cartpole-dqn-rainbow", "0.1.0")
    cartpole_dqn_rainbow.register_components(registry)
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"--(network|exploration) ([\w-]+)", text)
    assert set(named) - {("exploration", "linear")} == PARTS
    # Each run of flags about one network: what it sets must be among that network's options.
    for line in text.splitlines():
        for name in re.findall(r"--network ([\w-]+)", line):
            options = registry.load("network", name).Options
            for key, value in re.findall(r"agent\.network\.(\w+)=(\S+)", line.replace("`", "")):
                options(**{key: tomllib.loads(f"value = {value}")["value"]})


@pytest.mark.process
def test_listing_the_parts_imports_none() -> None:
    code = (
        "import sys, cartpole_dqn_rainbow; from cartpole_dqn import Registry; r = Registry();"
        "cartpole_dqn_rainbow.register_components(r); print(len(r.components()),"
        "[m for m in sys.modules if m.startswith('cartpole_dqn_rainbow.') or m == 'torch'])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == f"{len(PARTS)} []"
