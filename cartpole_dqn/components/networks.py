"""Networks that turn observations into action values.

* `TutorialConv` ("tutorial-conv"): the three 5x5 convolutions with BatchNorm of PyTorch's DQN tutorial.
* `Conv` ("conv"): convolutions and one hidden layer, for images.
* `Mlp` ("mlp"): fully connected layers, for anything.

Images are [H, W] or [H, W, C]; stacks of them are [S, H, W, C], and S and C together become the channels. Weights start
as PyTorch's layers start them (LeCun-like uniform, from torch's generator, which whoever builds the network seeds).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Literal

import torch
from gymnasium import spaces
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from cartpole_dqn.contracts.options import option, options_class
from cartpole_dqn.contracts.parts import Context, Network
from cartpole_dqn.errors import ConfigError, UserError


@options_class
class TutorialConvOptions:
    """`TutorialConv` is as it is written there: it has no options."""


class TutorialConv(Network):
    """Three 5x5 convolutions of stride 2 with BatchNorm and ReLU (16, 32, 32 channels), and a linear head.

    Source: "Reinforcement Learning (DQN) Tutorial" by Adam Paszke, the version for CartPole's screen. The head's size
    is derived from the image: 448 numbers for 40 x 80.

    BatchNorm: in train mode each batch is normalised by its own mean and variance, and the running statistics move by
    a tenth towards them; in eval mode the running statistics are used and stay. So in train mode the values of one
    observation depend on its batch, also when that batch is a single observation to act on. The tutorial leaves the
    online network in train mode always and the target in eval mode; the statistics reach the target as its buffers.

    Raises:
        UserError: observations are no images, smaller than 29 x 29, or so small that one number a channel is left.
    """

    Options = TutorialConvOptions

    def __init__(self, options: TutorialConvOptions, context: Context) -> None:
        super().__init__(context)
        channels, height, width = _image_size(context.observation_space, "tutorial-conv")
        kernels, strides = (5, 5, 5), (2, 2, 2)
        size = _size_after((height, width), kernels, strides, "tutorial-conv")
        if size == (1, 1):
            # BatchNorm has no variance to take of one observation with one number a channel, and the agent acts on one.
            raise UserError(
                f"network tutorial-conv: images of {height} x {width} leave one number a channel, of which BatchNorm "
                f"cannot take a variance. Make one side 37 or more."
            )
        widths = (channels, 16, 32, 32)
        layers: list[nn.Module] = []
        for i in range(3):
            layers += [
                nn.Conv2d(widths[i], widths[i + 1], kernels[i], strides[i]),
                nn.BatchNorm2d(widths[i + 1]),
                nn.ReLU(),
            ]
        # Observations lie in memory with their channels last. Staying with that order takes half the time of an update;
        # results differ by rounding only.
        self.convolutions = nn.Sequential(*layers).to(memory_format=torch.channels_last)
        self.head = nn.Linear(widths[-1] * math.prod(size), self.num_actions)

    def forward(self, obs: Tensor) -> Tensor:
        """[B, H, W, C] (or the other forms of images) -> [B, A]."""
        x = _channels_first(self.scale(obs)).contiguous(memory_format=torch.channels_last)
        output: Tensor = self.head(self.convolutions(x).flatten(1))
        return output


@options_class
class ConvOptions:
    """Options of `Conv`."""

    channels: list[PositiveInt] = option(
        default_factory=lambda: [16, 32], effect="output channels of each convolution", typical="[16, 32], [32, 64, 64]"
    )
    kernels: list[PositiveInt] = option(
        default_factory=lambda: [8, 4], effect="kernel size of each convolution", typical="[8, 4], [8, 4, 3]"
    )
    strides: list[PositiveInt] = option(
        default_factory=lambda: [4, 2], effect="stride of each convolution", typical="[4, 2], [4, 2, 1]"
    )
    hidden: int = option(default=128, ge=1, effect="units of the hidden layer", typical="128 to 512")
    zero: list[float] = option(
        default_factory=list,
        effect="what the network reads as 0, one number a channel or one for all: 255 for a white background, 128 for "
        "a difference encoded as 128 + d/2; empty is 0",
        typical="[], [255, 128]",
    )
    spread: list[PositiveFloat] = option(
        default_factory=list,
        effect="what the distance from zero is divided by, one number a channel or one for all; empty is the bound of "
        "the observation space for integers and 1 for floats",
        typical="[], [255, 127]",
    )
    norm: Literal["none", "layer", "hidden"] = option(
        default="none",
        effect="layer normalisation before each ReLU (Ba et al. 2016), or the hidden layer's alone",
    )
    channels_last: bool = option(
        default=True,
        effect="whether activations lie in memory as [B, H, W, C]; changes speed, and results by rounding only",
    )


class Conv(Network):
    """Convolutions with ReLU, a hidden layer with ReLU, and a linear head (after Mnih et al. 2015, smaller).

    What `zero` and `spread` ask for is done to the first convolution's weights, not to the images:
    w * (x - zero) / spread = (w / spread) * x - w * zero / spread, and there are far fewer weights than pixels.

    Raises:
        ConfigError: lists whose lengths don't fit together, or don't fit the channels.
        UserError: observations are no images, or too small for the convolutions.
    """

    Options = ConvOptions
    gain: Tensor
    offset: Tensor

    def __init__(self, options: ConvOptions, context: Context) -> None:
        super().__init__(context)
        if not options.channels or not len(options.channels) == len(options.kernels) == len(options.strides):
            raise ConfigError(
                f"network conv: channels {options.channels}, kernels {options.kernels} and strides {options.strides} "
                f"must name one number for each convolution, and at least one."
            )
        channels, height, width = _image_size(context.observation_space, "conv")
        size = _size_after((height, width), options.kernels, options.strides, "conv")
        self.channels_last = options.channels_last
        self.shifts = bool(options.zero or options.spread)
        if self.shifts:
            # Buffers move with the module between devices; they are settings, so no checkpoint needs them.
            zero = _per_channel(options.zero, 0.0, channels, "zero")
            spread = _per_channel(options.spread, self._bound, channels, "spread")
            self.register_buffer("gain", 1 / spread, persistent=False)
            self.register_buffer("offset", zero / spread, persistent=False)
        layers: list[nn.Module] = []
        before = channels
        for after, kernel, stride in zip(options.channels, options.kernels, options.strides, strict=True):
            layers.append(nn.Conv2d(before, after, kernel, stride))
            if options.norm == "layer":
                layers.append(nn.GroupNorm(1, after))
            layers.append(nn.ReLU())
            before = after
        self.convolutions = nn.Sequential(*layers)
        if self.channels_last:
            self.convolutions.to(memory_format=torch.channels_last)
        dense_norm = "none" if options.norm == "none" else "layer"
        dense = _dense([before * math.prod(size), options.hidden], dense_norm, nn.ReLU)
        self.head = nn.Sequential(*dense, nn.Linear(options.hidden, self.num_actions))

    def forward(self, obs: Tensor) -> Tensor:
        """[B, H, W, C] (or the other forms of images) -> [B, A]."""
        x = _channels_first(obs.float() if self.shifts else self.scale(obs))
        x = x.contiguous(memory_format=torch.channels_last if self.channels_last else torch.contiguous_format)
        if self.shifts:
            x = self._shifted_convolution(x)
            for layer in itertools.islice(self.convolutions, 1, None):
                x = layer(x)
        else:
            x = self.convolutions(x)
        output: Tensor = self.head(x.flatten(1))
        return output

    def _shifted_convolution(self, x: Tensor) -> Tensor:
        """[B, channels, H, W] -> the first convolution of (x - zero) / spread."""
        first = self.convolutions[0]
        assert isinstance(first, nn.Conv2d)
        assert first.bias is not None
        bias = first.bias - (first.weight * self.offset).sum((1, 2, 3))
        return nn.functional.conv2d(x, first.weight * self.gain, bias, first.stride)


@options_class
class MlpOptions:
    """Options of `Mlp`."""

    hidden: list[PositiveInt] = option(
        default_factory=lambda: [128, 128], effect="units of each hidden layer; empty is a linear function"
    )
    activation: Literal["relu", "tanh"] = option(default="relu", effect="what follows each hidden layer")
    norm: Literal["none", "layer"] = option(default="none", effect="layer normalisation before each activation")


class Mlp(Network):
    """Fully connected layers; observations of any shape are flattened."""

    Options = MlpOptions

    def __init__(self, options: MlpOptions, context: Context) -> None:
        super().__init__(context)
        widths = [math.prod(context.observation_space.shape), *options.hidden]
        dense = _dense(widths, options.norm, {"relu": nn.ReLU, "tanh": nn.Tanh}[options.activation])
        self.layers = nn.Sequential(*dense, nn.Linear(widths[-1], self.num_actions))
        self._activation = {"relu": torch.relu, "tanh": torch.tanh}[options.activation]
        self._linear = [m for m in self.layers if isinstance(m, nn.Linear)]
        self._norms = [m for m in self.layers if isinstance(m, nn.LayerNorm)]

    def forward(self, obs: Tensor) -> Tensor:
        """[B, ...] -> [B, A]."""
        x = self.scale(obs).reshape(obs.shape[0], -1)
        # As `self.layers` does, without the calls of modules: they take as long as the arithmetic of one observation.
        functional, hidden = nn.functional, self._linear[:-1]
        for k, linear in enumerate(hidden):
            x = functional.linear(x, linear.weight, linear.bias)
            if self._norms:
                norm = self._norms[k]
                x = functional.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps)
            x = self._activation(x)
        return functional.linear(x, self._linear[-1].weight, self._linear[-1].bias)


def _dense(widths: Sequence[int], norm: str, activation: type[nn.Module]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers.append(nn.Linear(before, after))
        if norm == "layer":
            layers.append(nn.LayerNorm(after))
        layers.append(activation())
    return layers


def _channels_first(images: Tensor) -> Tensor:
    """[B, H, W], [B, H, W, C] or [B, S, H, W, C] -> [B, channels, H, W]; a view where there is one."""
    if images.dim() == 3:
        return images[:, None]
    if images.dim() == 4:
        return images.permute(0, 3, 1, 2)
    return images.permute(0, 1, 4, 2, 3).flatten(1, 2)


def _image_size(space: spaces.Box, who: str) -> tuple[int, int, int]:
    """Return (channels, H, W) of the images in `space`, or raise a `UserError`."""
    shape = space.shape
    if len(shape) == 2:
        return 1, shape[0], shape[1]
    if len(shape) == 3:
        return shape[2], shape[0], shape[1]
    if len(shape) == 4:
        return shape[0] * shape[3], shape[1], shape[2]
    raise UserError(
        f"network {who} reads images ([H, W], [H, W, C] or [S, H, W, C]), but observations are {space.dtype} "
        f"{list(shape)}. Choose the network mlp, or observe pixels."
    )


def _size_after(size: tuple[int, int], kernels: Sequence[int], strides: Sequence[int], who: str) -> tuple[int, int]:
    """Return (H, W) after the convolutions, or raise a `UserError` where nothing would be left."""
    least = 1
    for kernel, stride in zip(reversed(kernels), reversed(strides), strict=True):
        least = (least - 1) * stride + kernel
    if min(size) < least:
        raise UserError(
            f"network {who}: images of {size[0]} x {size[1]} are too small: with kernels {list(kernels)} and strides "
            f"{list(strides)} it needs {least} x {least} or more. Make observations larger (images are [H, W, C]; a "
            f"stack of grey ones is [S, H, W, 1]), or choose another network."
        )
    for kernel, stride in zip(kernels, strides, strict=True):
        size = ((size[0] - kernel) // stride + 1, (size[1] - kernel) // stride + 1)
    return size


def _per_channel(values: Sequence[float], default: float, channels: int, name: str) -> Tensor:
    """Return `values` as [1, channels, 1, 1]."""
    if len(values) not in (0, 1, channels):
        raise ConfigError(
            f"network conv: {name} has {len(values)} numbers, but observations have {channels} channels: give one "
            f"for each, or one for all."
        )
    return torch.tensor(values or [default], dtype=torch.float32).expand(channels).reshape(1, channels, 1, 1).clone()
