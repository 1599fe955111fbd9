"""What an attempt may do once another one was made, or once its trial has ended."""

from __future__ import annotations

from pathlib import Path

import pytest
from cartpole_dqn_ray.home import Home
from cartpole_dqn_ray.nodes import Node

from cartpole_dqn import RunError, Trial

NODES = {id: Node(id=id, name=f"node-{id}", places=1) for id in ("a", "b")}


def made(folder: Path, max_moves: int) -> Home:
    home = Home(max_moves, folder / "ray")
    home.expect(Trial(name="t", config="", folder=folder))
    home.news(NODES, False, ["t"])
    return home


def test_only_the_last_attempt_is_accepted(tmp_path: Path) -> None:
    home = made(tmp_path, 1)
    assert home.begin("t", "first", "new") is None
    assert home.begin("t", "first", "a") == (NODES["a"], 0, {})
    assert home.begin("t", "first", "a") == (NODES["a"], 0, {}), "Ray repeated the call"
    assert home.begin("t", "second", "b") == (NODES["b"], 1, {})
    with pytest.raises(RunError, match="goes on elsewhere"):
        home.take("t", "first", {"metrics.jsonl": "never read"})
    assert home.take("t", "second", {}) is False
    places, over, said = home.news(NODES, True, ["t"])
    assert (places, over) == ({"t": "node-b"}, {})
    assert said == ["t: its worker on node-a is gone; it goes on from its last checkpoint."]
    assert home.take("t", "second", {}, b"it failed") is True
    assert (tmp_path / "ray" / "t.log").read_bytes() == b"it failed"
    assert home.begin("t", "third", "a") is None, "the sweep stops"
    home.news(NODES, True, [])
    with pytest.raises(RunError, match="has ended"):
        home.take("t", "second", {})


def test_lost_attempts_are_counted_also_where_ray_does_not(tmp_path: Path) -> None:
    home = made(tmp_path, 1)
    home.begin("t", "first", "a")
    home.begin("t", "second", "a", "on node-a, its process was ended by SIGKILL")
    _, over, said = home.news(NODES, False, ["t"])
    assert over == {}
    assert said == ["t: on node-a, its process was ended by SIGKILL; it goes on from its last checkpoint."]
    with pytest.raises(RunError, match="its worker on node-a is gone, and it was moved 1 times before"):
        home.begin("t", "third", "b")
    _, over, _ = home.news({"b": NODES["b"]}, False, ["t"])
    assert "its worker on node-a is gone, and it was moved 1 times before" in over["t"]
