from __future__ import annotations

from pathlib import Path

from cartpole_dqn import train


def test_a_run_trains_with_it(tmp_path: Path) -> None:
    settings = {"steps": 200, "agent": {"learning_starts": 100}, "evaluation": {"every": 0}}
    run = train(preset="acme", settings=settings, plain=True, out=tmp_path / "run")
    assert run.config.agent["network"]["hidden"] == [64, 64]
