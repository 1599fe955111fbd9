from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from cartpole_dqn.components.networks import Conv, Mlp, TutorialConv, channels_first, image_size
from cartpole_dqn.contracts.parts import Context
from cartpole_dqn.contracts.seeding import seeded_torch
from cartpole_dqn.errors import ConfigError, UserError
from cartpole_dqn.testing import check_network


def context(space: spaces.Box, actions: int = 2) -> Context:
    return Context(observation_space=space, action_space=spaces.Discrete(actions))


def box(shape: tuple[int, ...], dtype: Any = np.uint8) -> spaces.Box:
    low, high = (-1, 1) if np.issubdtype(dtype, np.floating) else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return spaces.Box(low, high, shape, dtype)


def build(part: Any, space: spaces.Box, actions: int = 2, seed: int = 0, **table: Any) -> Any:
    with seeded_torch(seed):
        return part(part.Options(**table), context(space, actions))


def observations(space: spaces.Box, count: int, seed: int = 0) -> Tensor:
    space = spaces.Box(space.low, space.high, space.shape, space.dtype.type, seed=seed)
    return torch.from_numpy(np.stack([space.sample() for _ in range(count)]))


DIFFERENCE = spaces.Box(-255, 255, (40, 80, 3), np.int16)
CASES = [
    (TutorialConv, box((29, 37)), {}),
    (Conv, box((20, 20, 1)), {}),
    (Conv, box((24, 28, 2)), {"norm": "layer", "channels_last": False}),
    (Conv, box((40, 80), np.float32), {"channels": [4], "kernels": [5], "strides": [3], "hidden": 7}),
    (Conv, box((42, 40, 1)), {"pad": True, "channels": [4, 4]}),
    (Mlp, box((4,), np.float32), {}),
    (Mlp, box((4,), np.float64), {"hidden": [5], "activation": "tanh", "norm": "layer"}),
    (Mlp, box((6, 5, 3)), {"hidden": []}),
]


@pytest.mark.parametrize(("part", "space", "table"), CASES)
def test_contract(part: Any, space: spaces.Box, table: dict[str, Any]) -> None:
    check_network(part, space, **table)


def test_tutorial_conv_against_its_formula() -> None:
    network = build(TutorialConv, DIFFERENCE)
    assert network.head.in_features == 448
    obs = observations(DIFFERENCE, 6)
    weights = {name: value.clone() for name, value in network.state_dict().items()}

    def by_hand(training: bool) -> Tensor:
        x = obs.float().permute(0, 3, 1, 2).contiguous() / 255
        for conv, norm in (("0", "1"), ("3", "4"), ("6", "7")):
            c, n = f"convolutions.{conv}.", f"convolutions.{norm}."
            x = F.conv2d(x, weights[c + "weight"], weights[c + "bias"], stride=2)
            mean, var = weights[n + "running_mean"].clone(), weights[n + "running_var"].clone()
            x = F.relu(F.batch_norm(x, mean, var, weights[n + "weight"], weights[n + "bias"], training))
        return F.linear(x.reshape(6, -1), weights["head.weight"], weights["head.bias"])

    torch.testing.assert_close(network.eval()(obs), by_hand(False), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(network.train()(obs), by_hand(True), atol=1e-5, rtol=1e-4)


def test_conv_against_its_formula() -> None:
    space = box((40, 80, 2))
    network = build(Conv, space)
    obs, weights = observations(space, 4), network.state_dict()
    x = obs.float().permute(0, 3, 1, 2) / 255
    x = F.relu(F.conv2d(x, weights["convolutions.0.weight"], weights["convolutions.0.bias"], stride=4))
    x = F.relu(F.conv2d(x, weights["convolutions.2.weight"], weights["convolutions.2.bias"], stride=2))
    x = F.relu(F.linear(x.reshape(4, -1), weights["head.0.weight"], weights["head.0.bias"]))
    x = F.linear(x, weights["head.2.weight"], weights["head.2.bias"])
    torch.testing.assert_close(network(obs), x, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("size", "read"), [((40, 42), (36, 36)), ((44, 37), (44, 36))])
def test_padding_lets_the_convolutions_read_every_pixel(size: tuple[int, int], read: tuple[int, int]) -> None:
    table = {"channels": [4, 4, 4], "kernels": [8, 4, 3], "strides": [4, 2, 1]}
    for pad, seen in ((False, read), (True, size)):
        obs = torch.rand(1, *size, 2, requires_grad=True)
        build(Conv, box((*size, 2), np.float32), pad=pad, **table)(obs).sum().backward()
        assert obs.grad is not None
        counts = obs.grad.abs().sum((0, 3)) > 0
        assert (int(counts.any(1).nonzero().max()) + 1, int(counts.any(0).nonzero().max()) + 1) == seen
    same = [build(Conv, box((84, 84, 1)), pad=pad, **table) for pad in (False, True)]
    obs = observations(box((84, 84, 1)), 2)
    assert torch.equal(same[0](obs), same[1](obs))


@pytest.mark.parametrize("norm", ["none", "layer"])
def test_channels_last_changes_rounding_only(norm: str) -> None:
    space = box((40, 80, 2))
    one, other = (build(Conv, space, channels_last=last, norm=norm) for last in (True, False))
    assert one.convolutions[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert other.convolutions[0].weight.is_contiguous()
    obs = observations(space, 4)
    torch.testing.assert_close(one(obs), other(obs), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("part", [Mlp, Conv, TutorialConv])
@pytest.mark.parametrize(
    ("dtype", "low", "high", "bound"),
    [(np.uint8, 0, 255, 255), (np.int16, -255, 255, 255), (np.int16, 0, 100, 100), (np.float32, -1, 1, 1)],
)
def test_integers_are_divided_by_their_bound(part: Any, dtype: Any, low: int, high: int, bound: int) -> None:
    space = spaces.Box(low, high, (40, 40, 2), dtype)
    network, plain = build(part, space), build(part, box((40, 40, 2), np.float32))
    obs = observations(space, 3)
    assert network.scale(obs).abs().max() <= 1
    torch.testing.assert_close(network(obs), plain(obs.float() / bound))


@given(
    shape=st.sampled_from([(9, 8), (9, 8, 3), (2, 9, 8, 3)]),
    zero=st.sampled_from(["none", "one", "each"]),
    spread=st.sampled_from(["none", "one", "each"]),
    dtype=st.sampled_from([np.uint8, np.float32]),
)
def test_zero_and_spread_agree_with_channels_taken_apart(
    shape: tuple[int, ...], zero: str, spread: str, dtype: Any
) -> None:
    small: dict[str, Any] = {"channels": [4], "kernels": [3], "strides": [2], "hidden": 8}
    space = box(shape, dtype)
    channels = {2: 1, 3: shape[-1], 4: shape[0] * shape[-1]}[len(shape)]
    zeros = {"none": [], "one": [200.0], "each": [10.0 * (i + 1) for i in range(channels)]}[zero]
    spreads = {"none": [], "one": [50.0], "each": [20.0 + i for i in range(channels)]}[spread]
    network = build(Conv, space, zero=zeros, spread=spreads, **small)
    plain = build(Conv, spaces.Box(-9, 9, (9, 8, channels), np.float32), **small)
    bound = 255.0 if dtype == np.uint8 else 1.0
    obs = observations(space, 3)
    planes = [obs[..., None]] if len(shape) == 2 else [obs] if len(shape) == 3 else list(obs.unbind(1))
    expected = torch.cat(planes, -1).float()
    for c in range(channels):
        shift = zeros[c % len(zeros)] if zeros else 0.0
        scale = spreads[c % len(spreads)] if spreads else bound
        expected[..., c] = (expected[..., c] - shift) / scale
    torch.testing.assert_close(network(obs), plain(expected), atol=1e-5, rtol=1e-4)


def test_settings_are_no_part_of_a_checkpoint() -> None:
    network = build(Conv, box((40, 80, 2)), zero=[255.0])
    assert {name.split(".")[0] for name in network.state_dict()} == {"convolutions", "head"}


@pytest.mark.parametrize(
    ("part", "space", "words"),
    [
        (TutorialConv, box((36, 29, 3)), "one number per channel.*37 or more"),
        (TutorialConv, box((28, 80, 3)), "images of 28 x 80 are too small.*29 x 29 or more"),
        (Conv, box((40, 19, 3)), "images of 40 x 19 are too small.*20 x 20 or more.*with the wrapper resize"),
        (Conv, box((4, 40, 80)), r'a stack of grey images, .*ReshapeObservation" and shape = \[4, 40, 80, 1\]'),
        (Conv, box((4,), np.float32), r"reads images .* float32 \[4\]. Choose the network mlp"),
        (TutorialConv, box((2, 3, 40, 80, 1)), r"merge their first axes: .*and shape = \[6, 40, 80, 1\]"),
    ],
)
def test_observations_that_do_not_fit_are_refused_in_words(part: Any, space: spaces.Box, words: str) -> None:
    with pytest.raises(UserError, match=words):
        build(part, space)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"channels": [8]}, "one number for each convolution"),
        ({"channels": [], "kernels": [], "strides": []}, "at least one"),
        ({"zero": [1.0, 2.0, 3.0]}, "zero has 3 numbers, but observations have 2 channels"),
        ({"spread": [1.0] * 5}, "spread has 5 numbers"),
    ],
)
def test_lists_that_do_not_fit_together_are_refused(table: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build(Conv, box((40, 80, 2)), **table)


@pytest.mark.parametrize("norm", ["none", "layer"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_an_mlp_computes_its_layers(norm: str, activation: str) -> None:
    assert build(Mlp, box((3,), np.float32)).layers[2].weight.shape == (128, 128), "the default"
    network = build(Mlp, box((3,), np.float32), hidden=[5, 4], norm=norm, activation=activation)
    obs = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    for net in (network, copy.deepcopy(network)):
        with torch.no_grad():
            net.layers[0].weight.mul_(2)
        assert torch.equal(net(obs), net.layers(obs))


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 3), (2, 4, 5, 3)])
def test_images_and_stacks_become_channels(shape: tuple[int, ...]) -> None:
    images = observations(box(shape), 6)
    pictures = channels_first(images)
    assert pictures.shape[1:] == image_size(box(shape), "mine")
    full = images.reshape(6, *((1,) * (len(shape) < 4)), *shape, *((1,) * (len(shape) < 3)))
    for channel, plane in enumerate(pictures[3]):
        stack, last = divmod(channel, full.shape[-1])
        assert torch.equal(plane, full[3, stack, :, :, last])
