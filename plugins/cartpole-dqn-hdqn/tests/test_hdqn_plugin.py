"""The plugin as a plugin: public names alone, light to list, everything where it says."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import cartpole_dqn_hdqn
import gymnasium
import pytest

import cartpole_dqn
import cartpole_dqn.testing
import cartpole_dqn.wrappers
from cartpole_dqn import Agent, Registry

PROJECT = Path(__file__).parents[1]
MODULES = sorted([*PROJECT.glob("cartpole_dqn_hdqn/*.py"), *PROJECT.glob("tests/*.py")])
PUBLIC = {
    module.__name__: set(module.__all__) for module in (cartpole_dqn, cartpole_dqn.testing, cartpole_dqn.wrappers)
}


def registry() -> Registry:
    made = Registry("cartpole-dqn-hdqn", "0.1.0")
    cartpole_dqn_hdqn.register_components(made)
    return made


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_only_public_names_are_imported(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                assert alias.name.partition(".")[0] != "cartpole_dqn" or alias.name in PUBLIC, alias.name
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "cartpole_dqn":
            assert node.module in PUBLIC, node.module
            for alias in node.names:
                assert alias.name in PUBLIC[str(node.module)], f"{node.module}.{alias.name}"


def test_every_component_is_where_it_says() -> None:
    found = {(part.kind, part.name) for part in registry().components()}
    assert {kind for kind, _ in found} == {"agent", "preset"}
    for part in registry().components():
        assert part.summary
        if part.kind == "agent":
            cls = part.load()
            assert issubclass(cls, Agent)
            assert cls is getattr(importlib.import_module(cls.__module__), cls.__name__)
        else:
            table: dict[str, Any] = tomllib.loads(part.load())
            assert table["summary"] == part.summary
    assert {name for kind, name in found if kind == "preset"} == {
        path.stem for path in PROJECT.glob("cartpole_dqn_hdqn/presets/*.toml")
    }


@pytest.mark.process
def test_listing_the_parts_imports_nothing_heavy() -> None:
    code = (
        "import sys, cartpole_dqn_hdqn; from cartpole_dqn import Registry; r = Registry();"
        "cartpole_dqn_hdqn.register_components(r); print(len(r.components()),"
        "{'torch', 'numpy', 'gymnasium', 'matplotlib'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == f"{len(registry().components())} set()"


def test_the_environment_is_registered_by_the_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gymnasium.envs.registration.registry", dict(gymnasium.registry))
    gymnasium.envs.registration.registry.pop(cartpole_dqn_hdqn.ENV_ID, None)
    cartpole_dqn_hdqn.register_environments()
    spec = gymnasium.spec(cartpole_dqn_hdqn.ENV_ID)
    assert (spec.reward_threshold, spec.max_episode_steps) == (0.19, 1000)


def test_the_readme_is_true() -> None:
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        assert re.match(r"[a-z]+:", target) or (PROJECT / target).exists(), target
    parts = registry()
    presets = {*re.findall(r"--preset ([\w-]+)", text)}
    assert presets
    assert presets <= set(parts.names("preset"))
    for block in re.findall(r"```toml\n(.*?)```", text, re.DOTALL):
        assert tomllib.loads(block)
    for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(code, "README.md", "exec"), {})
