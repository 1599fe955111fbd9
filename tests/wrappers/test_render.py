"""`RenderObservation`: what it shows, what it refuses, and what it leaves alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.classic_control import CartPoleEnv
from hypothesis import given, settings
from hypothesis import strategies as st

from cartpole_dqn.wrappers import Channel, RenderObservation
from cartpole_dqn.wrappers.render import prepare_display

Env = Any
"""An environment; untyped, since the tests look into what is unwrapped."""


def make(env_id: str = "CartPole-v1", **kwargs: Any) -> Env:
    return gymnasium.make(env_id, render_mode="rgb_array", **kwargs)


def test_the_frame_after_reset_and_step(cartpole: Env) -> None:
    env: Any = RenderObservation(cartpole)
    assert env.observation_space == spaces.Box(0, 255, (400, 600, 3), np.uint8)
    observation, _ = env.reset(seed=1)
    assert np.array_equal(observation, cartpole.render())
    after, reward, terminated, truncated, _ = env.step(1)
    assert np.array_equal(after, cartpole.render())
    assert not np.array_equal(after, observation)
    assert (reward, terminated, truncated) == (1.0, False, False)


@given(st.integers(0, 399), st.integers(0, 599), st.floats(-4, 4), st.floats(-2, 2), st.data())
@settings(max_examples=15)
def test_rows_and_columns_in_pixels(top: int, left: int, x: float, angle: float, data: st.DataObject) -> None:
    rows = [top, data.draw(st.integers(top + 1, 400))]
    columns = (left, data.draw(st.integers(left + 1, 600)))
    env: Any = RenderObservation(make(), rows=rows, columns=columns)
    env.reset(seed=1)
    env.unwrapped.state = (x, 0.0, angle, 0.0)
    observation = env.observation(None)
    assert observation in env.observation_space
    assert np.array_equal(observation, env.render()[slice(*rows), slice(*columns)])


@pytest.mark.parametrize("env_id", ["FrozenLake-v1", "CliffWalking-v1", "Blackjack-v1"])
def test_environments_that_draw_in_other_ways(env_id: str, play: Callable[..., list[Any]]) -> None:
    env: Any = RenderObservation(make(env_id), rows=[0.25, 0.75])
    height = env.observation_space.shape[0]
    for observation in play(env, 4):
        assert observation.any()
    assert np.array_equal(observation, env.render()[height // 2 : height // 2 + height])


# What is left alone ---------------------------------------------------------------------------------------------------


def test_randomness_and_state_of_the_environment_stay() -> None:
    wrapped, untouched = make(), make()
    wrapped.reset(seed=5)
    untouched.reset(seed=5)
    wrapped.step(1)
    untouched.step(1)
    env: Any = RenderObservation(wrapped)
    for _ in range(3):
        env.step(0)
        untouched.step(0)
        assert np.array_equal(wrapped.unwrapped.state, untouched.unwrapped.state)
    assert np.array_equal(env.reset()[0], _shown(untouched))


def _shown(env: Env) -> Any:
    env.reset()
    return env.render()


def test_a_new_environment_is_not_reset_and_its_generator_not_made() -> None:
    env = make()
    RenderObservation(env)
    assert env.unwrapped._np_random is None
    assert env.unwrapped.state is None
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(0)


def test_global_random_state_stays() -> None:
    global_random: Any = np.random
    before = global_random.get_state()[1].copy()
    RenderObservation(make()).reset(seed=0)
    assert np.array_equal(before, global_random.get_state()[1])


class Unwilling(CartPoleEnv):
    """Cannot be copied, and has no spec to be made from."""

    def __deepcopy__(self, memo: Any) -> Any:
        raise TypeError("no")


def test_the_last_way_to_a_frame_puts_the_generator_back() -> None:
    base: Any = Unwilling(render_mode="rgb_array")
    env: Any = RenderObservation(base)
    assert env.observation_space.shape == (400, 600, 3)
    assert base._np_random is None
    other: Any = CartPoleEnv(render_mode="rgb_array")
    other.reset(seed=4)
    env.reset(seed=4)
    again = RenderObservation(base)
    assert np.array_equal(base.state, other.state), "it could be rendered as it was"
    again.reset()
    other.reset()
    assert np.array_equal(base.state, other.state)


def test_an_environment_that_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CartPoleEnv, "__deepcopy__", Unwilling.__deepcopy__, raising=False)
    env = make()
    assert RenderObservation(env).observation_space.shape == (400, 600, 3)
    assert env.unwrapped.state is None


def test_a_size_set_after_making(cartpole: Env) -> None:
    cartpole.unwrapped.screen_width = 333
    env: Any = RenderObservation(cartpole)
    assert env.observation_space.shape == (400, 333, 3)
    assert env.reset(seed=0)[0] in env.observation_space


# Wrappers in between --------------------------------------------------------------------------------------------------


class HalfSize(gymnasium.Wrapper[Any, Any, Any, Any]):
    def render(self) -> Any:
        return np.asarray(self.env.render())[::2, ::2]


def test_wrappers_that_change_the_rendering_count(cartpole: Env) -> None:
    env: Any = RenderObservation(gymnasium.wrappers.TimeLimit(HalfSize(cartpole), 20), rows=[100, 150])
    assert env.observation_space.shape == (50, 300, 3)
    observation, _ = env.reset(seed=0)
    assert np.array_equal(observation, cartpole.render()[200:300:2, ::2])


def test_a_wrapper_that_draws_into_its_own_array() -> None:
    class Same(gymnasium.Wrapper[Any, Any, Any, Any]):
        frame = np.zeros((20, 30, 3), np.uint8)

        def render(self) -> Any:
            self.frame += 1
            return self.frame

    env: Any = RenderObservation(Same(make()))
    first = env.reset(seed=0)[0]
    kept = first.copy()
    env.step(0)
    assert np.array_equal(first, kept)


# Refusals -------------------------------------------------------------------------------------------------------------


def test_another_render_mode_is_refused_with_the_mend() -> None:
    with pytest.raises(ValueError, match=r"render_mode='rgb_array', but .* has None\. Make it with gymnasium\.make"):
        RenderObservation(gymnasium.make("CartPole-v1"))
    with pytest.raises(ValueError, match="has 'rgb_array_list'"):
        RenderObservation(gymnasium.make("CartPole-v1", render_mode="rgb_array_list"))
    with pytest.raises(ValueError, match="It offers ansi, so it has no pixels to observe"):
        RenderObservation(TextOnly())


class TextOnly(CartPoleEnv):
    metadata = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012 - as gymnasium declares it


@pytest.mark.parametrize(
    ("rows", "error", "words"),
    [
        ([160, 500], ValueError, r"0 <= first < last <= 400\).*the picture has 400, got \[160, 500\]"),
        ([-10, 50], ValueError, "got"),
        ([50, 50], ValueError, "got"),
        ([0.5, 1.5], ValueError, "two fractions"),
        ([0.8, 0.4], ValueError, "two fractions"),
        ([0.5, 0.5001], ValueError, "leaves none of"),
        ([0, 0.5], TypeError, "both of the same kind"),
        ([True, 5], TypeError, "both of the same kind"),
        ([1, 2, 3], TypeError, "must be two whole numbers"),
        ("160:320", TypeError, r"got '160:320' \(str\)"),
        (160, TypeError, "must be two whole numbers"),
    ],
)
def test_rows_that_are_refused(rows: Any, error: type[Exception], words: str, cartpole: Env) -> None:
    with pytest.raises(error, match=f"(?s)RenderObservation: rows.*{words}"):
        RenderObservation(cartpole, rows=rows)


def test_pictures_before_it_are_refused(cartpole: Env) -> None:
    with pytest.raises(ValueError, match=r"Channel before it would do nothing\. Put RenderObservation first"):
        RenderObservation(Channel(RenderObservation(cartpole), 0))


def test_a_size_that_changes_later_is_refused(cartpole: Env) -> None:
    env: Any = RenderObservation(cartpole)
    env.reset(seed=0)
    cartpole.unwrapped.screen = None
    cartpole.unwrapped.screen_height = 300
    with pytest.raises(ValueError, match=r"uint8 \[400, 600, 3\] .* as when it was wrapped, got .*\[300, 600, 3\]"):
        env.step(0)


# Processes ------------------------------------------------------------------------------------------------------------


HEADLESS = """
import gymnasium, os, time
from cartpole_dqn.wrappers import RenderObservation
env = RenderObservation(gymnasium.make("{env_id}", render_mode="rgb_array"))
observation, _ = env.reset(seed=0)
colours = set(map(tuple, observation.reshape(-1, 3)))
print(os.environ["SDL_VIDEODRIVER"], len(colours), int(observation.max()), flush=True)
"""


def without_display() -> dict[str, str]:
    names = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER", "SDL_NO_SIGNAL_HANDLERS")
    return {name: value for name, value in os.environ.items() if name not in names}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="displays are found by environment variables on Linux")
@pytest.mark.parametrize("env_id", ["CartPole-v1", "MountainCar-v0"])
@pytest.mark.process
def test_frames_are_not_black_without_a_display(env_id: str) -> None:
    script = HEADLESS.format(env_id=env_id)
    done = subprocess.run(
        [sys.executable, "-c", script], env=without_display(), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    driver, colours, brightest = done.stdout.split()
    assert driver == "dummy"
    assert int(colours) > 3
    assert int(brightest) == 255


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
@pytest.mark.process
def test_a_process_that_renders_still_ends_when_told_to() -> None:
    script = HEADLESS.format(env_id="CartPole-v1") + "time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script], env=without_display(), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == -signal.SIGTERM


def test_settings_are_kept_and_a_display_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "x11")
    monkeypatch.setenv("SDL_NO_SIGNAL_HANDLERS", "0")
    prepare_display()
    assert (os.environ["SDL_VIDEODRIVER"], os.environ["SDL_NO_SIGNAL_HANDLERS"]) == ("x11", "0")
    monkeypatch.delenv("SDL_VIDEODRIVER")
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    prepare_display()
    assert "SDL_VIDEODRIVER" not in os.environ
