from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from cartpole_dqn import builtin_builder, train
from cartpole_dqn.testing import check_agent

from cartpole_dqn_acme.agent import Table, TabularAgent


def test_contract() -> None:
    check_agent(TabularAgent, builtin_builder(), rate=0.3)


def test_observations_are_told_apart_to_a_number_of_decimals() -> None:
    table = Table(actions=2, decimals=1)
    table.move(np.array([0.51], np.float32), 1, by=2.0)
    seen = np.array([[0.49], [0.58]], np.float32)
    assert table.values(seen).tolist() == [[0.0, 2.0], [0.0, 0.0]]


def test_a_run_trains_with_it(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "agent": {"name": "acme", "decimals": 0},
        "evaluation": {"every": 0},
    }
    run = train(obs="state", steps=200, settings=settings, plain=True, out=tmp_path / "run")
    assert run.config.agent["name"] == "acme"
