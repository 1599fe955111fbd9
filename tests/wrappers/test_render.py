"""`RenderObservation`: what it shows, what it refuses, and what it leaves alone."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.classic_control import CartPoleEnv
from gymnasium.utils import RecordConstructorArgs
from gymnasium.wrappers import RecordVideo
from hypothesis import given, settings
from hypothesis import strategies as st

from cartpole_dqn.wrappers import Channel, RenderObservation
from cartpole_dqn.wrappers.probe import changes_rendering
from cartpole_dqn.wrappers.render import prepare_display

Env = Any
"""An environment; untyped, since the tests look into what is unwrapped."""


def make(env_id: str = "CartPole-v1", **kwargs: Any) -> Env:
    return gymnasium.make(env_id, render_mode="rgb_array", **kwargs)


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


class Client:
    """A handle to something outside Python, which ends when it is collected."""

    served: ClassVar[list[str]] = []

    def __del__(self) -> None:
        self.served.append("ended")


class Remote(gymnasium.Env[Any, Any]):
    """Draws what a server holds. There is one of it at a time, if `alone`."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    observation_space = action_space = spaces.Discrete(9)
    alive = 0
    log: ClassVar[list[str]] = []

    def __init__(self, render_mode: str | None = "rgb_array", alone: bool = False, draws: bool = True) -> None:
        self.log.append("made")
        if alone and Remote.alive:
            raise OSError("the port is taken")
        Remote.alive += 1
        self.render_mode, self.draws, self.client = render_mode, draws, Client()

    def __deepcopy__(self, memo: Any) -> Any:
        raise AssertionError("not ours to copy")

    def __copy__(self) -> Any:
        raise AssertionError("not ours to copy")

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.log.append("reset")
        return 0, {}

    def step(self, action: Any) -> Any:
        self.log.append("step")
        return 0, 0.0, False, False, {}

    def render(self) -> Any:
        self.log.append("render")
        if not self.draws:
            raise RuntimeError("no context")
        return np.zeros((4, 6, 3), np.uint8)

    def close(self) -> None:
        self.log.append("close")
        Remote.alive -= 1


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Register `Remote-v0`, and return what was called."""
    monkeypatch.setattr("gymnasium.envs.registration.registry", dict(gymnasium.registry))
    monkeypatch.setattr(Remote, "log", [])
    monkeypatch.setattr(Remote, "alive", 0)
    monkeypatch.setattr(Client, "served", [])
    gymnasium.register("Remote-v0", Remote)
    return Remote.log


def test_an_environment_without_a_spec_is_drawn_once_and_nothing_else(remote: list[str]) -> None:
    env = Remote()
    assert RenderObservation(env).observation_space.shape == (4, 6, 3)
    assert remote == ["made", "render"]
    gc.collect()
    assert Client.served == []


def test_one_that_was_not_reset_is_left_alone_and_a_second_one_closed(remote: list[str]) -> None:
    env = RenderObservation(make("Remote-v0"))
    assert remote == ["made", "made", "reset", "render", "close"]
    remote.clear()
    env.reset()
    assert RenderObservation(env.env).observation_space.shape == (4, 6, 3)
    assert remote == ["reset", "render", "render"], "once reset, it can be drawn as it is"


def test_a_renderer_that_fails_is_called_once(remote: list[str]) -> None:
    with pytest.raises(ValueError, match="cannot be rendered: RuntimeError: no context"):
        RenderObservation(make("Remote-v0", draws=False))
    assert remote == ["made", "made", "reset", "render", "close"]


def test_one_that_can_exist_only_once_must_be_reset_first(remote: list[str]) -> None:
    env = make("Remote-v0", alone=True)
    with pytest.raises(ValueError, match=r"the port is taken\)\. Call its reset\(\) before you wrap it"):
        RenderObservation(env)
    assert "render" not in remote
    env.reset()
    assert RenderObservation(env).observation_space.shape == (4, 6, 3)


def test_a_recording_goes_on() -> None:
    """A second `RecordVideo` would write into the folder of the first one."""
    assert not changes_rendering(RecordVideo.__new__(RecordVideo))


def test_a_size_set_after_making(cartpole: Env) -> None:
    cartpole.unwrapped.screen_width = 333
    cartpole.reset(seed=0)
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


class Every(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Takes an argument, and does not record it."""

    def __init__(self, env: Env, n: int) -> None:
        super().__init__(env)
        self.n = n

    def render(self) -> Any:
        return np.asarray(self.env.render())[:: self.n]


class EveryRecorded(Every, RecordConstructorArgs):
    def __init__(self, env: Env, n: int) -> None:
        RecordConstructorArgs.__init__(self, n=n)
        Every.__init__(self, env, n)


def test_wrappers_whose_arguments_are_known_or_not(cartpole: Env) -> None:
    assert RenderObservation(EveryRecorded(cartpole, 4)).observation_space.shape == (100, 600, 3)
    with pytest.raises(ValueError, match=r"Every does not inherit .*RecordConstructorArgs\)\. Call its reset\(\)"):
        RenderObservation(Every(cartpole, 4))
    cartpole.reset(seed=0)
    assert RenderObservation(Every(cartpole, 4)).observation_space.shape == (100, 600, 3)


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
    with pytest.raises(ValueError, match=r"has 'human'\. Remove HumanRendering"):
        RenderObservation(gymnasium.wrappers.HumanRendering(make()))


def test_a_render_mode_that_is_not_stored_is_told(remote: list[str]) -> None:
    gymnasium.register("Forgetful-v0", Forgetful)
    with pytest.raises(ValueError, match=r"Forgetful does not store that: .* must set self\.render_mode"):
        RenderObservation(make("Forgetful-v0"))


class Forgetful(CartPoleEnv):
    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__()


class TextOnly(CartPoleEnv):
    metadata = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012 - as gymnasium declares it


@pytest.mark.parametrize(
    ("rows", "error", "words"),
    [
        ([160, 500], ValueError, r"0 <= first < last <= 400\).*the picture has 400, got \[160, 500\]"),
        ([0.5, 1.5], ValueError, "two fractions"),
        ([0.5, 0.5001], ValueError, "leaves none of"),
        ([0, 0.5], TypeError, "both of the same kind"),
        ([True, 5], TypeError, "both of the same kind"),
        ([1, 2, 3], TypeError, "must be two whole numbers"),
        ("160:320", TypeError, r"got '160:320' \(str\)"),
    ],
)
def test_rows_that_are_refused(rows: Any, error: type[Exception], words: str, cartpole: Env) -> None:
    with pytest.raises(error, match=f"(?s)RenderObservation: rows.*{words}"):
        RenderObservation(cartpole, rows=rows)


def test_pictures_before_it_are_refused(cartpole: Env) -> None:
    with pytest.raises(ValueError, match=r"Channel before it would do nothing\. Put RenderObservation first"):
        RenderObservation(Channel(RenderObservation(cartpole), 0))


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
