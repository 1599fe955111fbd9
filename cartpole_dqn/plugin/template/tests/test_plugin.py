"""What the plugin registers is there, and agents train with it: `pip install -e .` first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cartpole_dqn import Registry, train

from cartpole_dqn_acme import register_components

PARTS_OF_AGENTS = ("replay", "network", "target-update", "exploration", "optimiser")


def registered() -> Registry:
    registry = Registry("cartpole-dqn-acme")
    register_components(registry)
    return registry


@pytest.mark.parametrize(("kind", "name"), [(part.kind, part.name) for part in registered().components()])
def test_what_is_registered_can_be_used(kind: str, name: str, tmp_path: Path) -> None:
    assert registered().load(kind, name)
    if kind in PARTS_OF_AGENTS:
        key = kind.replace("-", "_")
        settings: dict[str, Any] = {
            "agent": {"learning_starts": 100, key: {"name": name}},
            "evaluation": {"every": 0},
        }
        run = train(obs="state", steps=200, settings=settings, plain=True, out=tmp_path / "run")
        assert run.config.agent[key]["name"] == name
