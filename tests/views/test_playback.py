"""A run's model at play: the episodes that `evaluate` plays, each moment drawn once."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from cartpole_dqn.api import Run
from cartpole_dqn.contracts.seeding import Stream, episode_seed
from cartpole_dqn.envs.factory import EnvFactory
from cartpole_dqn.errors import RunError, UnsuitableEnvError
from cartpole_dqn.training.models import load_policy
from cartpole_dqn.views.playback import Playback
from cartpole_dqn.views.scene import draw_scene

Trained = Callable[..., Run]


class Blind(gymnasium.Env[Any, Any]):
    """Draws nothing."""

    metadata = {"render_modes": ["ansi"]}  # noqa: RUF012
    observation_space = spaces.Box(-1, 1, (2,))
    action_space = spaces.Discrete(2)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.steps = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        return np.zeros(2, np.float32), 1.0, False, self.steps == 10, {}


class Odd(Blind):
    """Draws what is no picture of bytes."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012

    def render(self) -> Any:
        return np.zeros((4, 4, 3), np.float32)


class Counting(Blind):
    """Draws how often it was drawn, and fails where it is told to."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    fails_at = -1
    drawn = 0

    def render(self) -> Any:
        type(self).drawn += 1
        return np.full((4, 4), type(self).drawn % 256, np.uint8)

    def step(self, action: Any) -> Any:
        if self.steps == self.fails_at:
            raise ValueError("the motor broke")
        return super().step(action)


@pytest.fixture(autouse=True, scope="module")
def _registered() -> None:
    for cls in (Blind, Odd, Counting):
        entry_point: Any = cls
        gymnasium.register(f"{cls.__name__}Playback-v0", entry_point=entry_point, max_episode_steps=20)


def test_it_plays_the_episodes_that_evaluate_plays(trained: Trained) -> None:
    run = trained()
    evaluated = run.evaluate(episodes=3, seed=5, which="last")
    with Playback(run, seed=5) as shown:
        for number in (1, 2, 3):
            scenes = list(shown.episode(number))
            assert scenes[-1].total == evaluated.returns[number - 1]
            assert scenes[-1].step == evaluated.lengths[number - 1] == len(scenes) - 1
            assert [scene.step for scene in scenes] == list(range(len(scenes)))
            assert {scene.episode for scene in scenes} == {number}
            assert scenes[-1].ending == "terminated"
            assert scenes[-1].action is None
            assert not any(scene.ending for scene in scenes[:-1])


def test_a_scene_has_what_was_there_and_what_was_made_of_it(trained: Trained) -> None:
    run = trained()
    policy, _, _ = load_policy(run, "last")
    with Playback(run) as shown:
        assert (shown.fps, shown.limit) == (50.0, 500)
        for scene in itertools.islice(shown.episode(1), 5):
            values = policy.q_values(scene.panels[0].values[None])
            assert values is not None
            assert scene.q_values is not None
            assert (values[0] == scene.q_values).all()
            assert scene.action == values[0].argmax()
            assert scene.frame.shape == (400, 600, 3)
            assert scene.actions == ("left", "right")
            assert scene.panels[0].names == ("position", "velocity", "angle", "angular velocity")
            assert scene.observed == "4  float32"
            assert scene.reaches is not None
            np.testing.assert_allclose(scene.reaches, [4.8, np.nan, 0.41887903, np.nan])


@pytest.mark.parametrize("env", ["CartPole-v1", "LunarLander-v3"])
def test_looking_changes_nothing_of_what_an_agent_sees_in_pixels(trained: Trained, env: str) -> None:
    if env == "LunarLander-v3":
        pytest.importorskip("Box2D")
    small = [{"wrapper": "render"}, {"wrapper": "resize", "height": 20}, {"wrapper": "grayscale", "keep_dim": True}]
    run = trained(env, "pixels", steps=4, observation=small, agent={"network": {"name": "mlp"}})
    unseen = EnvFactory(run.config, run.host).make(evaluating=True)
    obs, _ = unseen.reset(seed=episode_seed(Stream.REPORT, 0, 0, 0))
    with Playback(run) as shown:
        for scene in itertools.islice(shown.episode(1), 40):
            assert (scene.panels[0].values == np.asarray(obs)[..., 0]).all()
            if env == "CartPole-v1":  # LunarLander's sparks age by being drawn
                assert (scene.frame == np.asarray(unseen.render())).all()
            if scene.action is None:
                break
            obs, *_ = unseen.step(scene.action)
    unseen.close()


def test_each_moment_is_drawn_once(trained: Trained) -> None:
    run = trained("CountingPlayback-v0", steps=12)
    Counting.drawn = 0
    with Playback(run) as shown:
        scenes = list(shown.episode(1))
    assert Counting.drawn == len(scenes) == 11
    assert [int(scene.frame[0, 0, 0]) for scene in scenes] == list(range(1, 12))
    assert scenes[0].frame.shape == (4, 4, 3)


def test_an_episode_is_cut_off_where_it_is_asked_for(trained: Trained) -> None:
    with Playback(trained(), max_steps=3) as shown:
        scenes = list(shown.episode(1))
    assert [scene.ending for scene in scenes] == ["", "", "", "cut off"]
    assert scenes[-1].total == 3
    with Playback(trained("CountingPlayback-v0", steps=12)) as shown:
        assert list(shown.episode(1))[-1].ending == "truncated"


def test_masks_are_kept_and_told(trained: Trained) -> None:
    run = trained(max(name for name in gymnasium.registry if name.startswith("Taxi-")), steps=40)
    with Playback(run, max_steps=30) as shown:
        scenes = list(shown.episode(1))
        assert shown.fps == 4
    assert scenes[0].actions == ("south", "north", "east", "west", "pick up", "drop off")
    assert any(scene.allowed is not None for scene in scenes)
    for scene in scenes:
        if scene.action is not None and scene.allowed is not None:
            assert scene.allowed[scene.action]
    assert draw_scene(scenes[0]).shape == draw_scene(scenes[-1]).shape


def test_repeated_actions_take_their_time(trained: Trained) -> None:
    skipping = [{"wrapper": "render"}, {"wrapper": "max-and-skip", "skip": 5}, {"wrapper": "resize", "height": 8}]
    run = trained("CartPole-v1", "pixels", steps=4, observation=skipping, agent={"network": {"name": "mlp"}})
    with Playback(run) as shown:
        assert shown.fps == 10


def test_an_environment_that_draws_nothing_is_refused_in_words(trained: Trained) -> None:
    with pytest.raises(UnsuitableEnvError, match=r"BlindPlayback-v0 cannot be drawn: .*its modes: ansi\)"):
        Playback(trained("BlindPlayback-v0", steps=12))
    with (
        Playback(trained("OddPlayback-v0", steps=12)) as shown,
        pytest.raises(UnsuitableEnvError, match=r"expected frames uint8 \[H, W, 3\].*got float32 \[4, 4, 3\]"),
    ):
        next(shown.episode(1))
    assert shown.fps == 30


def test_an_environment_that_fails_is_named_with_the_step(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained("CountingPlayback-v0", steps=12)
    monkeypatch.setattr(Counting, "fails_at", 4)
    with (
        Playback(run) as shown,
        pytest.raises(RunError, match=r"environment 0 \(episode seed \d+, step 5\) raised ValueError: the motor broke"),
    ):
        list(shown.episode(1))
