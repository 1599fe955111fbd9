"""Whether the cart's motion is in an observation is measured, and not a matter of names."""

from __future__ import annotations

from typing import Any

import pytest

from cartpole_dqn.envs.factory import EnvFactory
from cartpole_dqn.plugin.host import load_plugins
from cartpole_dqn.training.resolve import resolve_config
from cartpole_dqn.views.motion import shows_cart_motion

RENDER = {"wrapper": "render", "rows": [160, 320]}
CROP = {"wrapper": "centered-crop", "width": 320, "locator": "cart"}
DIFFERENCE = {"wrapper": "frame-difference"}
CHAINS: dict[str, tuple[dict[str, Any], bool | None]] = {
    "one frame": ({"observation": [RENDER]}, False),
    "the window first": ({"observation": [RENDER, CROP, DIFFERENCE]}, False),
    "the difference first": ({"observation": [RENDER, DIFFERENCE, CROP]}, True),
    "frames on top of each other": (
        {"observation": [RENDER, {"wrapper": "gymnasium.wrappers:FrameStackObservation", "stack_size": 2}]},
        True,
    ),
    "numbers": ({"obs": "state"}, True),
    "another environment": ({"obs": "state", "env": {"id": "Acrobot-v1"}}, None),
}


@pytest.mark.parametrize("case", CHAINS)
def test_two_carts_that_end_alike_are_told_apart_or_not(case: str) -> None:
    settings, expected = CHAINS[case]
    host = load_plugins(allowed=())
    config, _ = resolve_config(host, flags={"obs": "pixels", "steps": 10, **settings})
    factory = EnvFactory(config, host.registry)
    assert shows_cart_motion(factory.base, factory.chain()) is expected


@pytest.mark.parametrize(("preset", "kept"), [("pixels", True), ("tutorial-pixels", False)])
def test_presets(preset: str, kept: bool) -> None:
    host = load_plugins(allowed=())
    config, _ = resolve_config(host, preset=preset)
    factory = EnvFactory(config, host.registry)
    assert shows_cart_motion(factory.base, factory.chain()) is kept
