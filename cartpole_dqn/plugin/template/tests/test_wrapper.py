from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from cartpole_dqn import train
from cartpole_dqn.testing import check_wrapper
from cartpole_dqn.wrappers import RenderObservation

from cartpole_dqn_acme.wrapper import Threshold


def test_contract() -> None:
    check_wrapper(Threshold, level=200)


def test_only_black_and_white_are_left() -> None:
    env = Threshold(RenderObservation(gymnasium.make("CartPole-v1", render_mode="rgb_array")))
    obs, _ = env.reset(seed=0)
    assert np.unique(obs).tolist() == [0, 255]


def test_a_run_trains_with_it(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "observation": [
            {"wrapper": "render"},
            {"wrapper": "acme", "level": 200},
            {"wrapper": "resize", "height": 40},
        ],
        "agent": {"learning_starts": 100},
        "evaluation": {"every": 0},
    }
    run = train(preset="tutorial-pixels", steps=120, settings=settings, plain=True, out=tmp_path / "run")
    assert (run.path / "checkpoint").is_dir()
