"""What an attempt may do once another one was made, or once its trial has ended."""

from __future__ import annotations

from pathlib import Path

import pytest
from cartpole_dqn_ray.home import Home
from cartpole_dqn_ray.nodes import Node

from cartpole_dqn import RunError, Trial

NODES = {id: Node(id=id, name=f"node-{id}", refused="", direct=True) for id in ("a", "b")}


def made(folder: Path, max_moves: int) -> Home:
    home = Home(max_moves)
    home.expect(Trial(name="t", config="", folder=folder))
    home.news(NODES, False)
    return home


def test_only_the_last_attempt_is_accepted(tmp_path: Path) -> None:
    home = made(tmp_path, 1)
    assert home.begin("t", "first", "new").node is None
    assert home.begin("t", "first", "a").moves == 0
    assert home.begin("t", "first", "a").moves == 0, "Ray repeated the call"
    assert home.begin("t", "second", "b").moves == 1
    with pytest.raises(RunError, match="goes on elsewhere"):
        home.take("t", "first", {"metrics.jsonl": "never read"})
    assert home.take("t", "second", {}) is False
    places, said = home.news(NODES, True)
    assert places == {"t": NODES["b"]}
    assert said == ["t: its worker on node-a is gone; it goes on from its last checkpoint."]
    assert home.take("t", "second", {}) is True
    home.finish("t")
    with pytest.raises(RunError, match="has ended"):
        home.take("t", "second", {})


def test_lost_attempts_are_counted_also_where_ray_does_not(tmp_path: Path) -> None:
    home = made(tmp_path, 0)
    home.begin("t", "first", "a")
    with pytest.raises(RunError, match="its worker on node-a is gone, and it was moved 0 times before"):
        home.begin("t", "second", "b")
