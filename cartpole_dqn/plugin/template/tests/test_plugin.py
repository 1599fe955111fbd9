"""The plugin as a run finds it: `pip install -e .` first."""

from __future__ import annotations

from pathlib import Path

import pytest
from cartpole_dqn import Registry, train

from cartpole_dqn_acme import register_components


def registered() -> Registry:
    registry = Registry("cartpole-dqn-acme")
    register_components(registry)
    return registry


PARTS = [(component.kind, component.name) for component in registered().components()]


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_what_is_registered_can_be_imported(kind: str, name: str) -> None:
    assert registered().load(kind, name).Options is not None


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_a_run_trains_with_it(kind: str, name: str, tmp_path: Path) -> None:
    agent = {"learning_starts": 100, kind.replace("-", "_"): {"name": name}}
    settings = {"agent": agent, "evaluation": {"every": 0}}
    run = train(obs="state", steps=200, settings=settings, plain=True, out=tmp_path / "run")
    assert run.config.agent[kind.replace("-", "_")]["name"] == name
    assert (run.path / "checkpoint").is_dir()
