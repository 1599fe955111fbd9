"""What every wrapper of the package keeps: the conformance kit's checks and Gymnasium's, docstrings that run."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import AddRenderObservation, FrameStackObservation, GrayscaleObservation

import cartpole_dqn.wrappers
from cartpole_dqn.testing import checks_for
from cartpole_dqn.wrappers import (
    CenteredCrop,
    Channel,
    Crop,
    FrameDifference,
    LifeLost,
    RenderObservation,
    Resize,
    Select,
    Transform,
)

Env = Any


def cartpole() -> Env:
    return gymnasium.make("CartPole-v1", render_mode="rgb_array", max_episode_steps=12)


def render(**arguments: Any) -> Env:
    return RenderObservation(cartpole(), **arguments)


def strip() -> Env:
    return render(rows=[160, 320])


def lives() -> Env:
    return gymnasium.make("lives:Lives-v0")


def i(value: int) -> Any:
    """A number as NumPy gives it; a spec must hold Python's."""
    return np.int64(value)


def yes() -> Any:
    return np.bool_(True)


CHAINS: dict[str, Callable[[], Env]] = {
    "render": render,
    "render, arrays and tuples": lambda: render(rows=(np.int64(160), np.int64(320)), columns=(np.float64(0.25), 0.75)),
    "crop": lambda: Crop(render(), rows=(10, 50), columns=(0.5, 1.0)),
    "centered crop": lambda: CenteredCrop(strip(), width=i(320), locator="cart"),
    "centered crop, padded": lambda: CenteredCrop(strip(), 0.5, "darkest", 0.5, (10, 90), [0.1, 0.9], "pad"),
    "centered crop, color": lambda: CenteredCrop(
        strip(), width=100, locator={"color": (202, 152, np.uint8(101)), "tolerance": 3}
    ),
    "centered crop, in the plane": lambda: CenteredCrop(
        strip(), 200, "darkest", i(120), edges="pad", follow="both", columns=[0.1, 0.9]
    ),
    "centered crop, own": lambda: CenteredCrop(strip(), width=100, locator="cartpole_dqn.wrappers.locators:cart"),
    "resize": lambda: Resize(strip(), height=i(40), antialias=yes()),
    "difference": lambda: FrameDifference(strip(), gap=i(2), keep_current=yes(), encoding="uint8"),
    "channel": lambda: Channel(strip(), i(1)),
    "select": lambda: Crop(Select(AddRenderObservation(cartpole(), render_only=False), "pixels"), rows=[10, 50]),
    "life lost": lambda: LifeLost(lives()),
    "transforms": lambda: Transform(
        Transform(strip(), "RandomCrop", {"size": (i(100), 300)}), "GaussianBlur", {"kernel_size": i(5)}
    ),
    "the tutorial's": lambda: FrameDifference(Resize(CenteredCrop(strip(), width=320, locator="cart"), height=40)),
    "the one that learns": lambda: CenteredCrop(
        FrameDifference(Resize(Channel(strip(), 1), height=40, interpolation="bilinear"), gap=3, keep_current=True),
        width=80,
        locator="cart",
        edges="pad",
    ),
    "with gymnasium's": lambda: Resize(FrameStackObservation(GrayscaleObservation(strip()), 4), width=50),
}


def test_every_class_is_here() -> None:
    used = {type(wrapper).__name__ for build in CHAINS.values() for wrapper in _chain(build())}
    assert set(cartpole_dqn.wrappers.__all__) - {"Moments"} <= used


@pytest.mark.parametrize("check", checks_for("wrapper"), ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", CHAINS)
def test_contract(name: str, check: Callable[..., None]) -> None:
    check(CHAINS[name])


def _chain(env: Env) -> list[Env]:
    return [env, *_chain(env.env)] if isinstance(env, gymnasium.Wrapper) else [env]


@pytest.mark.parametrize("name", CHAINS)
def test_the_spec_survives_json(name: str) -> None:
    env = CHAINS[name]()
    assert env.spec is not None
    assert EnvSpec.from_json(env.spec.to_json()) == env.spec
    again = gymnasium.make(env.spec)
    assert again.spec == env.spec
    assert [type(w) for w in _chain(again)] == [type(w) for w in _chain(env)]


@pytest.mark.parametrize("name", CHAINS)
def test_gymnasiums_checks(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Said of any environment that is wrapped.
        warnings.filterwarnings("ignore", message=".*different from the unwrapped version.*")
        check_env(CHAINS[name](), skip_render_check=True)


@pytest.mark.parametrize("name", [name for name in CHAINS if name not in ("select", "with gymnasium's")])
def test_it_can_be_sent_to_another_process(name: str) -> None:
    env = CHAINS[name]()
    sent = pickle.loads(pickle.dumps(env))
    for both in zip(_some_observations(sent), _some_observations(env), strict=True):
        assert np.array_equal(*both)


def _some_observations(env: Env) -> list[Any]:
    return [env.reset(seed=7)[0], *(env.step(action)[0] for action in (0, 1, 1, 0))]


def test_every_class_has_an_example() -> None:
    for name in cartpole_dqn.wrappers.__all__:
        assert ">>> " in (getattr(cartpole_dqn.wrappers, name).__doc__ or ""), name
