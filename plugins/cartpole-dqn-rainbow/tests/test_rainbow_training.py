"""Short runs from the state: each part with the agent, the replay and the optimiser of cartpole-dqn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cartpole_dqn import load, train

SMALL = {"hidden": [32, 32]}
RUNS: dict[str, dict[str, Any]] = {
    "quantile": {"network": {"name": "quantile", "quantiles": 8, **SMALL}, "exploration": {"name": "boltzmann"}},
    "all": {"network": {"name": "c51", "dueling": True, "noisy": True, **SMALL}, "exploration": {"name": "greedy"}},
}


def run(agent: dict[str, Any], out: Path, steps: int) -> Any:
    settings = {
        "agent": {"learning_starts": 200, "batch_size": 32, **agent},
        "evaluation": {"every": steps // 2, "episodes": 2},
    }
    return train(obs="state", steps=steps, seed=0, settings=settings, plain=True, out=out, device="cpu")


@pytest.mark.parametrize("name", RUNS)
def test_training(name: str, tmp_path: Path) -> None:
    done = run(RUNS[name], tmp_path, 1_200)
    assert done.config.agent["network"]["name"] == RUNS[name]["network"]["name"]
    rows = (tmp_path / "metrics.csv").read_text().splitlines()
    losses = [line.split(",")[rows[0].split(",").index("loss")] for line in rows[1:]]
    learned = [float(loss) for loss in losses if loss]
    assert len(learned) > 5
    assert np.isfinite(learned).all()
    # An untrained policy holds the pole for about 10 steps.
    assert done.evaluate(episodes=5, which="best").mean > 20
    again = load(tmp_path)
    assert again.evaluate(episodes=2).returns == done.evaluate(episodes=2).returns


def test_a_resumed_run_with_noise_goes_on_as_if_never_stopped(tmp_path: Path) -> None:
    through = run(RUNS["all"], tmp_path / "through", 500)
    stopped = run(RUNS["all"], tmp_path / "stopped", 300).resume(500, plain=True)
    whole, parts = (load(done.path).evaluate(episodes=5, which="last").returns for done in (through, stopped))
    assert whole == parts
