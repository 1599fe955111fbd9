"""Which versions keep a machine from being used."""

from __future__ import annotations

import importlib.metadata
import platform

import pytest
from cartpole_dqn_ray.versions import differences, mismatch, versions_here

import cartpole_dqn

HERE = {"python": "3.11.7", "cartpole-dqn": "0.1.0", "cartpole-dqn-ray": "0.1.0", "torch": "2.15.0"}


def test_what_is_here() -> None:
    found = versions_here()
    assert found["python"] == platform.python_version()
    assert found["cartpole-dqn"] == cartpole_dqn.__version__
    for name in ("torch", "cartpole-dqn-ray"):
        assert found[name] == importlib.metadata.version(name)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cartpole-dqn": "0.2.0"}, "it has cartpole-dqn 0.2.0, and this machine has 0.1.0"),
        ({"cartpole-dqn-ray": "0.2.0"}, "it has cartpole-dqn-ray 0.2.0"),
        ({"python": "3.11.9", "torch": "2.14.0"}, ""),
    ],
)
def test_what_keeps_a_machine_from_being_used(change: dict[str, str], said: str) -> None:
    sentence = mismatch({**HERE, **change}, HERE)
    assert sentence.startswith(said)
    assert bool(sentence) == bool(said)


def test_a_machine_without_the_plugin_is_not_used() -> None:
    assert "cartpole-dqn-ray none" in mismatch({"cartpole-dqn": "0.1.0"}, HERE)


def test_what_differs_is_named_with_both_versions() -> None:
    there = {**HERE, "torch": "2.14.0", "cartpole-dqn-rainbow": "0.1.0"}
    assert differences(there, HERE) == "cartpole-dqn-rainbow 0.1.0 (here none), torch 2.14.0 (here 2.15.0)"
    assert differences(HERE, there) == "cartpole-dqn-rainbow none (here 0.1.0), torch 2.15.0 (here 2.14.0)"
    assert differences(HERE, HERE) == ""
