from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from cartpole_dqn_rainbow.dueling import Dueling
from cartpole_dqn_rainbow.trunk import Trunk, TrunkOptions
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from cartpole_dqn import UserError

SMALL: dict[str, Any] = {"channels": [4], "kernels": [3], "strides": [2], "hidden": 8}
PRESET = spaces.Box(0, 255, (40, 80, 2), np.uint8)
STATE = spaces.Box(-np.inf, np.inf, (4,), np.float32)


def box(shape: tuple[int, ...], dtype: Any = np.uint8) -> spaces.Box:
    low, high = (-1, 1) if np.issubdtype(dtype, np.floating) else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return spaces.Box(low, high, shape, dtype)


def trunk(space: spaces.Box, seed: int = 0, **table: Any) -> Trunk:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Trunk(TrunkOptions(**table), space, "test")


@pytest.mark.parametrize(
    ("space", "table", "features"),
    [
        (STATE, {}, 128),
        (STATE, {"hidden": [5, 6, 7]}, 6),
        (STATE, {"hidden": 64}, 4),
        (STATE, {"hidden": []}, 4),
        (spaces.Box(-1, 1, (), np.float64), {"hidden": 64}, 1),
        (PRESET, {"hidden": 128}, 32 * 3 * 8),
        (PRESET, {}, 128),
        (box((9, 8)), SMALL, 4 * 4 * 3),
        (box((2, 9, 8, 3), np.int16), SMALL, 4 * 4 * 3),
    ],
)
def test_shapes(space: spaces.Box, table: dict[str, Any], features: int, observations: Any) -> None:
    part = trunk(space, **table)
    assert part.features == features
    for count in (1, 5):
        out = part(observations(space, count))
        assert out.shape == (count, features)
        assert out.dtype == torch.float32


def test_a_stack_of_images_is_images_of_more_channels(observations: Any) -> None:
    stacked, flat = box((4, 40, 80, 3)), box((40, 80, 12))
    obs = observations(stacked, 3)
    merged = torch.cat(list(obs.unbind(1)), -1)
    torch.testing.assert_close(trunk(stacked)(obs), trunk(flat)(merged))
    grey = box((40, 80))
    torch.testing.assert_close(
        trunk(grey)(observations(grey, 3)), trunk(box((40, 80, 1)))(observations(grey, 3)[..., None])
    )


@given(
    shape=st.sampled_from([(5,), (9, 8), (9, 8, 3), (2, 9, 8, 3)]),
    zero=st.sampled_from(["none", "one", "each"]),
    spread=st.sampled_from(["none", "one", "each"]),
    dtype=st.sampled_from([np.uint8, np.int16, np.float32]),
)
def test_zero_and_spread_against_places_taken_one_by_one(
    shape: tuple[int, ...], zero: str, spread: str, dtype: Any, observations: Any
) -> None:
    space = box(shape, dtype)
    channels = {1: shape[-1], 2: 1, 3: shape[-1], 4: shape[0] * shape[-1]}[len(shape)]
    zeros = {"none": [], "one": [200.0], "each": [10.0 * (i + 1) for i in range(channels)]}[zero]
    spreads = {"none": [], "one": [50.0], "each": [20.0 + i for i in range(channels)]}[spread]
    bound = {np.uint8: 255.0, np.int16: 32768.0, np.float32: 1.0}[dtype]
    obs = observations(space, 2)
    expected = obs.double().numpy().copy()
    for place in np.ndindex(*expected.shape):
        inside = place[1:]
        channel = {1: inside[-1], 2: 0, 3: inside[-1], 4: inside[0] * shape[-1] + inside[-1]}[len(shape)]
        shift = zeros[channel % len(zeros)] if zeros else 0.0
        scale = spreads[channel % len(spreads)] if spreads else bound
        expected[place] = (expected[place] - shift) / scale
    plain = trunk(box(shape, np.float32), **SMALL)
    shifted = trunk(space, zero=zeros, spread=spreads, **SMALL)
    torch.testing.assert_close(shifted(obs), plain(torch.from_numpy(expected).float()), atol=1e-5, rtol=1e-4)


def test_the_pixel_preset_reads_white_and_no_difference_as_zero(make: Any) -> None:
    table = {"channels": [16, 32], "kernels": [8, 4], "strides": [4, 2], "hidden": 128}
    network = make(Dueling, PRESET, zero=[255, 128], spread=[255, 127.5], **table)
    blank = torch.tensor([255, 128], dtype=torch.uint8).expand(1, 40, 80, 2)
    plain = make(Dueling, PRESET, **table)
    torch.testing.assert_close(network(blank), plain(torch.zeros(1, 40, 80, 2, dtype=torch.uint8)))
    assert set(network.state_dict()) == set(plain.state_dict())


@pytest.mark.parametrize(
    ("hidden", "layers"),
    [
        (64, [(4, 64), (64, 3), (4, 64), (64, 1)]),
        ([32, 64], [(4, 32), (32, 64), (64, 3), (32, 64), (64, 1)]),
        ([], [(4, 3), (4, 1)]),
    ],
)
def test_the_last_hidden_layer_is_the_heads(hidden: Any, layers: list[tuple[int, int]], make: Any) -> None:
    network = make(Dueling, STATE, actions=3, hidden=hidden)
    linear = [module for module in network.modules() if isinstance(module, torch.nn.Linear)]
    assert [(module.in_features, module.out_features) for module in linear] == layers


@pytest.mark.parametrize(
    ("space", "table", "words"),
    [
        (box((40, 80, 2)), {"channels": [8]}, r"one number for each convolution.* got \[8\], \[8, 4\] and \[4, 2\]"),
        (box((40, 80, 2)), {"channels": [], "kernels": [], "strides": []}, "at least one"),
        (box((40, 80, 2)), {"zero": [1.0, 2.0, 3.0]}, "network dueling: zero: expected one number for all or 2"),
        (STATE, {"spread": [1.0, 2.0]}, "spread: expected one number for all or 4"),
        (box((40, 19, 3)), {}, "images of 40 x 19 are too small"),
        (box((4, 4), np.float32), {}, "needs the wrapper flatten"),
        (box((2, 3, 9, 8, 1)), {}, "reads vectors and images"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(space: spaces.Box, table: dict[str, Any], words: str, make: Any) -> None:
    with pytest.raises(UserError, match=words):
        make(Dueling, space, **table)


@pytest.mark.parametrize(
    "table",
    [{"hidden": 0}, {"hidden": [0]}, {"hidden": True}, {"spread": [0.0]}, {"zero": [math.nan]}, {"kernels": [-1]}],
)
def test_bad_sizes_are_refused(table: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(table))):
        TrunkOptions(**table)
