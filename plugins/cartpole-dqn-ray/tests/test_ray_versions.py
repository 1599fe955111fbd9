"""Which versions keep a node from being used."""

from __future__ import annotations

import importlib.metadata
import platform

import pytest
from cartpole_dqn_ray.versions import breaking, differing, mismatch, versions_here

import cartpole_dqn

HERE = {"python": "3.11.7", "cartpole-dqn": "0.1.0", "torch": "2.15.0", "cartpole-dqn-hdqn": "0.1.0"}


def test_what_is_here() -> None:
    found = versions_here()
    assert found["python"] == platform.python_version()
    assert found["cartpole-dqn"] == cartpole_dqn.__version__
    assert found["torch"] == importlib.metadata.version("torch")
    assert found["cartpole-dqn-ray"] == importlib.metadata.version("cartpole-dqn-ray")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"python": "3.12.7"}, "Python 3.12.7"),
        ({"cartpole-dqn": "0.2.0"}, "cartpole-dqn 0.2.0"),
        ({"python": "3.11.9"}, ""),
        ({"torch": "2.14.0"}, ""),
    ],
)
def test_what_breaks(change: dict[str, str], said: str) -> None:
    sentence = breaking("node-7", {**HERE, **change}, HERE)
    assert said in sentence
    assert bool(sentence) == bool(said)
    assert not sentence or sentence.startswith("node-7 is not used: ")


def test_a_node_without_cartpole_dqn_is_not_used() -> None:
    assert "cartpole-dqn none" in breaking("node-7", {"python": "3.11.7"}, HERE)


def test_what_differs_is_named_with_both_versions() -> None:
    there = {**HERE, "torch": "2.14.0", "cartpole-dqn-rainbow": "0.1.0"}
    del there["cartpole-dqn-hdqn"]
    said = differing("node-7", there, HERE)
    for part in ("node-7", "torch 2.14.0 (here 2.15.0)", "hdqn none (here 0.1.0)", "rainbow 0.1.0 (here none)"):
        assert part in said
    assert "python" not in said
    assert differing("node-7", HERE, HERE) == ""


def test_an_actor_needs_the_plugin_too() -> None:
    names = ("python", "cartpole-dqn", "cartpole-dqn-ray")
    here = {**HERE, "cartpole-dqn-ray": "0.1.0"}
    assert mismatch({**here, "python": "3.11.2"}, here, names) == []
    assert mismatch({**here, "python": "3.12.7"}, here, names) == ["Python", "3.12.7", "3.11.7"]
    assert mismatch(HERE, here, names) == ["cartpole-dqn-ray", "none", "0.1.0"]
