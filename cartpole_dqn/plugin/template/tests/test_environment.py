from __future__ import annotations

from pathlib import Path
from typing import Any

from cartpole_dqn import train
from gymnasium.utils.env_checker import check_env

from cartpole_dqn_acme.environment import Catch


def test_gymnasium_finds_nothing_wrong() -> None:
    check_env(Catch(render_mode="rgb_array"))


def test_a_paddle_below_the_ball_catches_it() -> None:
    env = Catch(render_mode="rgb_array")
    env.reset(seed=1)
    landed, rewards = False, []
    while not landed:
        towards = 1 + (env.ball > env.paddle) - (env.ball < env.paddle)
        _, reward, landed, _, _ = env.step(towards)  # type: ignore[arg-type]
        rewards.append(reward)
    assert rewards == [0.0] * 8 + [1.0]
    frame = env.render()
    assert frame is not None
    assert frame.shape == (80, 64, 3)


def test_a_run_trains_with_it(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"agent": {"learning_starts": 100}, "evaluation": {"every": 0}}
    run = train(
        env="acme/Catch-v0",
        obs="state",
        steps=200,
        settings=settings,
        plain=True,
        out=tmp_path / "run",
    )
    assert (run.path / "checkpoint").is_dir()
