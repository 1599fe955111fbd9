from __future__ import annotations

from pathlib import Path
from typing import Any

from cartpole_dqn import train
from cartpole_dqn.testing import check_observer

from cartpole_dqn_acme.observer import BestNotes


def test_contract() -> None:
    check_observer(BestNotes)


def test_a_run_trains_with_it(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"evaluation": {"every": 100, "episodes": 2}}
    run = train(
        obs="state",
        steps=200,
        settings=settings,
        observers=["acme"],
        plain=True,
        out=tmp_path / "run",
    )
    assert (run.path / "best.txt").read_text().startswith("step 100: ")
