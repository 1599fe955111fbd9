from __future__ import annotations

from pathlib import Path
from typing import Any

from cartpole_dqn import builtin_collection, train
from cartpole_dqn.testing import check_collector

from cartpole_dqn_acme.collector import Bursts


def test_contract() -> None:
    check_collector(Bursts, builtin_collection, steps=5)


def test_a_run_trains_with_it(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "collector": {"name": "acme", "steps": 5},
        "evaluation": {"every": 0},
    }
    run = train(obs="state", steps=200, settings=settings, plain=True, out=tmp_path / "run")
    assert (run.path / "checkpoint").is_dir()
