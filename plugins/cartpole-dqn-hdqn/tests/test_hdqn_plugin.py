"""The plugin as a plugin: everything is where it says."""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path

import cartpole_dqn_hdqn
import gymnasium
import pytest

from cartpole_dqn import Agent, Registry

PROJECT = Path(__file__).parents[1]


def registry() -> Registry:
    registry = Registry("cartpole-dqn-hdqn", "0.1.0")
    cartpole_dqn_hdqn.register_components(registry)
    return registry


def test_every_component_is_where_it_says() -> None:
    parts = {(part.kind, part.name) for part in registry().components()}
    assert {kind for kind, _ in parts} == {"agent", "preset"}
    for part in registry().components():
        assert part.summary
        if part.kind == "agent":
            cls = part.load()
            assert issubclass(cls, Agent)
            assert cls is getattr(importlib.import_module(cls.__module__), cls.__name__)
        else:
            assert tomllib.loads(part.load())
    assert {name for kind, name in parts if kind == "preset"} == {
        path.stem for path in PROJECT.glob("cartpole_dqn_hdqn/presets/*.toml")
    }


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
