from __future__ import annotations

from pathlib import Path

import pytest

from cartpole_dqn.api import train


@pytest.mark.parametrize("agent", [{}, {"n_step": 5}])
def test_a_run_of_many_lanes_can_be_evaluated(tmp_path: Path, agent: dict[str, int]) -> None:
    settings = {
        "env": {"num_envs": 256},
        "agent": {"learning_starts": 256, "train_every": 64, **agent},
        "evaluation": {"every": 256, "episodes": 2},
    }
    run = train(obs="state", steps=512, out=tmp_path / "r", settings=settings, plain=True)
    best, last = (run.evaluate(episodes=3, which=which) for which in ("best", "last"))
    assert len(best.returns) == len(last.returns) == 3
    assert (best.step, last.step) in ((256, 512), (512, 512))
