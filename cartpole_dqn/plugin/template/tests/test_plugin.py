"""What the plugin registers is there. The other tests train with it: `pip install -e .` first."""

from __future__ import annotations

import pytest
from cartpole_dqn import Registry

from cartpole_dqn_acme import register_components


def registered() -> Registry:
    registry = Registry("cartpole-dqn-acme")
    register_components(registry)
    return registry


@pytest.mark.parametrize(("kind", "name"), [(part.kind, part.name) for part in registered().components()])
def test_what_is_registered_can_be_imported(kind: str, name: str) -> None:
    assert registered().load(kind, name)
