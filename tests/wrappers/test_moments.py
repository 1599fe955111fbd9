"""`as_torch` of each wrapper, and of chains: the same observations as those that the wrappers return."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.wrappers import (
    DtypeObservation,
    FlattenObservation,
    FrameStackObservation,
    GrayscaleObservation,
    MaxAndSkipObservation,
    TransformReward,
)
from hypothesis import example, given
from hypothesis import strategies as st

from cartpole_dqn.wrappers import CenteredCrop, Channel, Crop, FrameDifference, RenderObservation, Resize
from cartpole_dqn.wrappers.moments import TorchForm
from cartpole_dqn.wrappers.numeric import NumericObservation

Env = gymnasium.Env[Any, Any]


def both(env: Env, steps: int = 12, seed: int = 0) -> tuple[Any, Any, TorchForm]:
    """Play random actions: the observations of `env`, and those of its form."""
    env.reset(seed=seed)
    form = TorchForm(env)
    form.env.action_space.seed(seed)
    wanted, made = [], []
    over = True
    for _ in range(steps):
        if over:
            form.begin_episode()
            (observation, _), over = form.env.reset(seed=seed), False
        else:
            observation, _, terminated, truncated, _ = form.env.step(form.env.action_space.sample())
            over = terminated or truncated
        wanted.append(observation)
        given = form.look()
        made.append(form.observation({name: torch.from_numpy(value) for name, value in given.items()}).numpy())
    assert made[0].dtype == wanted[0].dtype
    return np.stack(wanted), np.stack(made), form


SHAPES = st.sampled_from([(23, 31), (23, 31, 3), (3, 23, 31), (2, 23, 31, 3), (40, 9, 1), (17, 50, 6)])


@given(
    shape=SHAPES,
    dtype=st.sampled_from(["uint8", "int8", "int16", "int32", "float16", "float32", "float64"]),
    height=st.integers(1, 60),
    width=st.just(1) | st.integers(1, 60),
    interpolation=st.sampled_from(["nearest", "nearest-exact", "bilinear", "bicubic"]),
    antialias=st.booleans(),
)
# torch gets narrow, high pictures lying, so the other axis comes first.
@example(shape=(17, 50, 6), dtype="uint8", height=2, width=1, interpolation="bilinear", antialias=False)
def test_resize(
    shape: tuple[int, ...],
    dtype: str,
    height: int,
    width: int,
    interpolation: str,
    antialias: bool,
    pictures: Callable[..., Env],
) -> None:
    env = Resize(pictures(shape, np.dtype(dtype)), height, width, interpolation, antialias)
    wanted, made, _ = both(env, 3)
    if dtype == "uint8":
        assert np.array_equal(made, wanted)
    elif np.dtype(dtype).kind == "i":
        assert np.abs(made.astype(np.float64) - wanted).max() <= 1  # a half may be rounded to either side
    else:
        bound = {"float16": 2e-3, "float32": 1e-5, "float64": 1e-12}[dtype]
        np.testing.assert_allclose(made, wanted, rtol=bound, atol=bound)


@given(
    shape=SHAPES,
    dtype=st.sampled_from(["uint8", "int16", "float32"]),
    gap=st.integers(1, 4),
    keep=st.booleans(),
    encoding=st.sampled_from(["int16", "uint8"]),
)
def test_frame_difference(
    shape: tuple[int, ...], dtype: str, gap: int, keep: bool, encoding: str, pictures: Callable[..., Env]
) -> None:
    bounds = (-100, 200) if dtype == "int16" else ()
    env = FrameDifference(
        pictures(shape, np.dtype(dtype), *bounds), gap, keep, encoding if dtype == "uint8" else "int16"
    )
    wanted, made, form = both(env)
    assert np.array_equal(made, wanted)
    assert [(one.name, one.ago) for one in form.inputs] == [("observation", [0, gap])]


@given(
    width=st.one_of(st.integers(1, 600), st.floats(0.05, 1.0)),
    locator=st.sampled_from(["cart", "centre"]),
    edges=st.sampled_from(["clamp", "pad"]),
    snap=st.sampled_from(["down", "nearest"]),
    height=st.sampled_from([None, 11, 0.5]),
    columns=st.sampled_from([None, [100, 480]]),
    channel=st.booleans(),
)
def test_centered_crop(
    width: float, locator: str, edges: str, snap: str, height: Any, columns: Any, channel: bool
) -> None:
    env: Env = RenderObservation(gymnasium.make("CartPole-v1", render_mode="rgb_array"), rows=[160, 200])
    if channel:
        env = Channel(env, 1)
    if isinstance(width, int) and columns and (edges == "clamp" or locator == "centre"):
        width = min(width, 380)
    env = CenteredCrop(env, width, locator, height, columns=columns, edges=edges, snap=snap)
    # Far out, where the window leaves the picture.
    env.unwrapped.x_threshold = 0.4
    wanted, made, form = both(env, 30)
    assert np.array_equal(made, wanted)
    assert [one.name for one in form.inputs] == (["place"] * (locator == "cart") + ["frame"])


CHAINS: dict[str, tuple[Callable[[], Env], dict[str, list[int]]]] = {
    "the default": (
        lambda: CenteredCrop(
            FrameDifference(
                Resize(Channel(strip(), 1), height=40, interpolation="bilinear"),
                gap=4,
                keep_current=True,
                encoding="uint8",
            ),
            width=80,
            locator="cart",
            edges="pad",
            snap="nearest",
        ),
        {"place": [0], "frame": [0, 4]},
    ),
    "the tutorial's": (
        lambda: FrameDifference(Resize(CenteredCrop(strip(), width=320, locator="cart"), height=40)),
        {"place": [0, 1], "frame": [0, 1]},
    ),
    "a stack of differences of grey": (
        lambda: FrameStackObservation(FrameDifference(Crop(GrayscaleObservation(strip()), [5, 50]), gap=2), 3),
        {"frame": [0, 1, 2, 3, 4]},
    ),
    "two windows": (
        lambda: CenteredCrop(
            FrameDifference(CenteredCrop(strip(), 600, "cart", edges="pad"), gap=3), 90, "centre", height=0.5
        ),
        {"place": [0, 3], "frame": [0, 3]},
    ),
    "numbers": (lambda: FlattenObservation(FrameStackObservation(numbers(), 2)), {"observation": [0, 1]}),
    "rewards and a limit": (lambda: TransformReward(numbers(), lambda reward: -reward), {"observation": [0]}),
    "whole numbers": (lambda: NumericObservation(gymnasium.make("CartPole-v1")), {"observation": [0]}),
}


def numbers() -> Env:
    return gymnasium.make("CartPole-v1", max_episode_steps=20)


def strip() -> Env:
    return RenderObservation(gymnasium.make("CartPole-v1", render_mode="rgb_array"), rows=[160, 320])


@pytest.mark.parametrize("name", CHAINS)
def test_chains(name: str) -> None:
    build, inputs = CHAINS[name]
    wanted, made, form = both(build(), 60)
    assert np.array_equal(made, wanted)
    assert {one.name: one.ago for one in form.inputs} == inputs
    assert form.stops == {}


STOPS: dict[str, tuple[Callable[[], Env], str, str]] = {
    "a locator that looks": (
        lambda: FrameDifference(Resize(CenteredCrop(strip(), 320, "darkest"), height=40)),
        "CenteredCrop",
        "its locator darkest looks at the picture",
    ),
    "a wrapper that says nothing": (
        lambda: FrameStackObservation(DtypeObservation(numbers(), np.float64), 2),
        "DtypeObservation",
        "it has no method as_torch",
    ),
    "skipped steps": (
        lambda: FrameDifference(MaxAndSkipObservation(strip(), 2)),
        "MaxAndSkipObservation",
        "it has no method as_torch",
    ),
    "padding": (
        lambda: FrameStackObservation(numbers(), 2, padding_type="zero"),
        "FrameStackObservation",
        "padding_type 'zero' fills in what was never observed",
    ),
}


@pytest.mark.parametrize("name", STOPS)
def test_a_form_begins_behind_what_it_cannot_express(name: str) -> None:
    build, stage, reason = STOPS[name]
    wanted, made, form = both(build(), 40)
    assert np.array_equal(made, wanted)
    assert form.stops == {stage: reason}
    assert [(one.name, one.source) for one in form.inputs] == [("observation", stage)]
