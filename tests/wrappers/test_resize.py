"""`Resize` against torchvision. `test_moments.py` compares it with weighted sums, `test_get_screen.py` with Pillow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2.functional import resize

from cartpole_dqn.wrappers import Channel, Crop, RenderObservation, Resize


def test_one_size_keeps_the_aspect(pictures: Any) -> None:
    assert Resize(pictures((160, 320, 3)), height=40).observation_space.shape == (40, 80, 3)
    assert Resize(pictures((160, 320, 3)), width=81).observation_space.shape == (40, 81, 3)
    assert Resize(pictures((3, 300)), width=10).observation_space.shape == (1, 10)


def test_bounds_are_kept_and_overshoot_is_clamped(pictures: Any) -> None:
    for dtype, low, high in [(np.uint8, 10, 200), (np.int16, -255, 255), (np.float32, 0.0, 1.0)]:
        env: Any = Resize(pictures((12, 12, 1), dtype, low, high), height=20)
        assert env.observation_space.low.min() == low
        assert env.observation_space.high.max() == high
        step = np.full((12, 12, 1), low, dtype)
        step[:, 6:] = high
        result = env.observation(step)
        assert result.min() == low
        assert result.max() == high
        assert result in env.observation_space


def test_infinite_bounds(pictures: Any) -> None:
    env: Any = Resize(pictures((8, 8), np.float32, -np.inf, np.inf), height=4)
    assert env.observation_space.high.max() == np.inf
    assert env.observation(np.full((8, 8), 3e5, np.float32)) == pytest.approx(3e5)


def test_the_same_size_is_a_copy(pictures: Any) -> None:
    env = Resize(pictures((5, 6, 3)), height=5)
    picture = np.arange(90, dtype=np.uint8).reshape(5, 6, 3)
    result = env.observation(picture)
    assert np.array_equal(result, picture)
    assert not np.shares_memory(result, picture)


def test_arrays_that_torch_does_not_take_as_they_are(pictures: Any) -> None:
    env = Resize(pictures((8, 6, 3)), height=4)
    picture = np.random.default_rng(0).integers(0, 256, (8, 6, 3), np.uint8)
    expected = env.observation(picture)
    read_only = picture.copy()
    read_only.flags.writeable = False
    assert np.array_equal(env.observation(read_only), expected)
    assert np.array_equal(env.observation(picture[::-1].copy()[::-1]), expected)
    assert np.array_equal(env.observation(np.asfortranarray(picture)), expected)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({}, ValueError, "expected height, width or both, got neither"),
        ({"height": 0}, ValueError, "height must be at least 1, got 0"),
        ({"height": 4.0}, TypeError, r"height must be a whole number, got 4.0 \(float\)"),
        ({"height": 4, "interpolation": "cubic"}, ValueError, "Did you mean 'bicubic'"),
        ({"height": 4, "antialias": 1}, TypeError, r"antialias must be true or false, got 1 \(int\)"),
    ],
)
def test_sizes_that_are_refused(pictures: Any, arguments: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=f"Resize: .*{words}"):
        Resize(pictures((8, 8)), **arguments)
    with pytest.raises(TypeError, match="at most 32 bits or floats, but the pictures are int64"):
        Resize(pictures((8, 8), np.int64, 0, 9), height=4)


@given(
    st.sampled_from(["nearest", "nearest-exact", "bilinear", "bicubic"]),
    st.booleans(),
    st.sampled_from([np.uint8, np.float32]),
    st.tuples(st.integers(1, 30), st.integers(1, 30), st.integers(1, 30), st.integers(2, 30)),
    st.integers(1, 4),
)
def test_it_is_torchvisions_resize_to_the_bit(
    pictures: Any, play: Any, interpolation: str, antialias: bool, dtype: Any, sizes: tuple[int, ...], channels: int
) -> None:
    height, width, *size = sizes
    shape = (height, width, channels)
    pictured = pictures(shape, dtype)
    low, high = pictured.observation_space.low.min(), pictured.observation_space.high.max()
    seen = [torch.from_numpy(picture.copy()).permute(2, 0, 1) for picture in play(pictured, 2)]
    results = play(Resize(pictures(shape, dtype), *size, interpolation, antialias), 2)
    for picture, result in zip(seen, results, strict=True):
        theirs = resize(picture, size, InterpolationMode(interpolation), antialias=antialias)
        assert np.array_equal(result, theirs.permute(1, 2, 0).numpy().clip(low, high))


BROKEN = """
from gymnasium import Env, spaces
from cartpole_dqn.wrappers import Resize
env = Env()
env.observation_space, env.action_space = spaces.Box(0, 255, (8, 8), "uint8"), spaces.Discrete(2)
try:
    Resize(env, height=4)
except ImportError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("raise OSError('libtorch_cpu.so: cannot open')", "libtorch_cpu.so: cannot open. Reinstall it: pip install"),
        ("raise ModuleNotFoundError(name='torch')", "there is no module 'torch': pip install torch"),
    ],
)
@pytest.mark.process
def test_a_torch_that_does_not_work_is_said_in_words(tmp_path: Path, source: str, words: str) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(source)
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    done = subprocess.run(
        [sys.executable, "-c", BROKEN], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert words in done.stdout, done.stderr


# Straight from the surface --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Acrobot-v1", "MountainCar-v0"])
@given(seed=st.integers(0, 2**31), channel=st.integers(0, 2), rows=st.sampled_from([None, [0.4, 0.8], [7, 201]]))
def test_one_channel_is_resized_straight_from_the_surface_to_the_same_bytes(
    env_id: str, seed: int, channel: int, rows: Any
) -> None:
    def chain(direct: bool) -> Any:
        env = RenderObservation(gymnasium.make(env_id, render_mode="rgb_array"), rows=rows, columns=[0.1, 0.9])
        # A wrapper that does nothing keeps the wrappers from knowing each other.
        below = Channel(env, channel) if direct else Crop(Channel(env, channel), rows=[0.0, 1.0])
        return Resize(below, height=40, interpolation="bilinear" if seed % 2 else "bicubic")

    one, other = chain(True), chain(False)
    assert one._render is not None, "else this compares nothing"
    assert other._render is None
    assert one.observation_space == other.observation_space
    other.action_space.seed(seed)
    assert np.array_equal(one.reset(seed=seed)[0], other.reset(seed=seed)[0])
    for _ in range(5):
        action = other.action_space.sample()
        (seen, *rest), (expected, *others) = one.step(action), other.step(action)
        assert rest == others
        assert seen.dtype == expected.dtype
        assert seen.flags.c_contiguous
        assert np.array_equal(seen, expected)
        assert not one.unwrapped.screen.get_locked()
        assert np.array_equal(one.render(), other.render())


def test_rendering_that_is_redefined_counts_for_it_too() -> None:
    base: Any = gymnasium.make("CartPole-v1", render_mode="rgb_array")
    env = Resize(Channel(RenderObservation(base), 1), height=40, interpolation="bilinear")
    env.reset(seed=0)
    picture = base.render() // 2
    base.unwrapped.render = lambda: picture
    plain = Resize(Channel(RenderObservation(base), 1), height=40, interpolation="bilinear")
    plain._render = None
    assert np.array_equal(env.step(0)[0], plain.observation(plain.env.observation(picture)))
