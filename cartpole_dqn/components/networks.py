"""Networks that turn observations into action values.

`TutorialConv` ("tutorial-conv"), `Conv` ("conv") and `Mlp` ("mlp"). Plugins use `channels_first` and `image_size` too.

Images are [H, W] or [H, W, C]. In stacks [S, H, W, C], S times C become the channels. Weights have PyTorch's default
initialisation, drawn from torch's generator; seed it before building a network.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from gymnasium import spaces
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from cartpole_dqn.contracts.options import NoOptions, option, options_class
from cartpole_dqn.contracts.parts import Context, Network
from cartpole_dqn.errors import ConfigError, UserError


class TutorialConv(Network):
    """Three 5x5 convolutions of stride 2 with BatchNorm and ReLU (16, 32, 32 channels), and a linear head.

    Source: "Reinforcement Learning (DQN) Tutorial" by Adam Paszke, the version for CartPole's screen. The head's input
    size follows from the image: 448 numbers for 40 x 80.

    In train mode, BatchNorm normalises each batch by its own mean and variance, and moves the running statistics by a
    tenth towards them. The values of an observation then depend on the rest of its batch, even when the agent acts on a
    single observation. In eval mode it uses the running statistics and leaves them. As in the tutorial, the online
    network always stays in train mode and the target in eval mode; the target update copies the statistics.

    Raises:
        UserError: observations are not images, smaller than 29 x 29, or leave only one number per channel.
    """

    Options = NoOptions

    def __init__(self, options: NoOptions, context: Context) -> None:
        super().__init__(context)
        channels, height, width = image_size(context.observation_space, "tutorial-conv")
        size = _size_after(context.observation_space, [5, 5, 5], [2, 2, 2], "tutorial-conv")
        if size == (1, 1):
            # The agent acts on one observation, and one number per channel has no variance.
            raise UserError(
                f"network tutorial-conv: images of {height} x {width} leave one number per channel, but BatchNorm "
                f"needs a variance. Make one side 37 or more."
            )
        widths = (channels, 16, 32, 32)
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Conv2d(before, after, 5, 2), nn.BatchNorm2d(after), nn.ReLU()]
        # Observations have their channels last in memory. Keeping that order halves the time of an update, and changes
        # results only by rounding.
        self.convolutions = nn.Sequential(*layers).to(memory_format=torch.channels_last)
        self.head = nn.Linear(widths[-1] * math.prod(size), self.num_actions)

    def forward(self, obs: Tensor) -> Tensor:
        """[B, H, W, C] (or the other forms of images) -> [B, A]."""
        x = channels_first(self.scale(obs)).contiguous(memory_format=torch.channels_last)
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
    pad: bool = option(
        default=False,
        effect="repeat the pixels at the edges of images so that the convolutions read every pixel; without it, they "
        "leave out rows at the bottom and columns at the right of images whose size does not fit",
    )
    hidden: int = option(default=128, ge=1, effect="units of the hidden layer", typical="128 to 512")
    zero: list[float] = option(
        default_factory=list,
        effect="the pixel value that the network reads as 0, one number per channel or one for all: 255 for a white "
        "background, 128 for a difference encoded as 128 + d/2; empty is 0",
        typical="[], [255, 128]",
    )
    spread: list[PositiveFloat] = option(
        default_factory=list,
        effect="divides the distance from `zero`, one number per channel or one for all; empty is the bound of the "
        "observation space for integers and 1 for floats",
        typical="[], [255, 127]",
    )
    norm: Literal["none", "layer", "hidden"] = option(
        default="none",
        effect="layer normalisation before each ReLU (Ba et al. 2016), or only before the hidden layer's",
    )
    channels_last: bool = option(
        default=True,
        effect="whether activations are stored as [B, H, W, C]; changes the speed, and results only by rounding",
    )


class Conv(Network):
    """Convolutions with ReLU, a hidden layer with ReLU, and a linear head (after Mnih et al. 2015, smaller).

    `zero` and `spread` change the first convolution's weights instead of the images, since there are far fewer weights
    than pixels: w * (x - zero) / spread = (w / spread) * x - w * zero / spread.

    Raises:
        ConfigError: the lengths of the lists don't match each other or the number of channels.
        UserError: observations are not images, or too small for the convolutions.
    """

    Options = ConvOptions
    gain: Tensor
    offset: Tensor

    def __init__(self, options: ConvOptions, context: Context) -> None:
        super().__init__(context)
        if not options.channels or not len(options.channels) == len(options.kernels) == len(options.strides):
            raise ConfigError(
                f"network conv: channels {options.channels}, kernels {options.kernels} and strides {options.strides} "
                f"must have one number for each convolution, and at least one."
            )
        channels, *size = image_size(context.observation_space, "conv")
        outputs = _size_after(context.observation_space, options.kernels, options.strides, "conv")
        self.padding: list[int] = []
        if options.pad and any(missing := [_missing(side, options.kernels, options.strides) for side in size]):
            self.padding = [half for total in reversed(missing) for half in (total // 2, total - total // 2)]
            padded = [side + more for side, more in zip(size, missing, strict=True)]
            outputs = _outputs(padded, options.kernels, options.strides)
        self.channels_last = options.channels_last
        self.shifts = bool(options.zero or options.spread)
        if self.shifts:
            # Buffers move between devices with the module. They are settings, so checkpoints don't hold them.
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
        dense = _dense([before * math.prod(outputs), options.hidden], dense_norm, nn.ReLU)
        self.head = nn.Sequential(*dense, nn.Linear(options.hidden, self.num_actions))

    def forward(self, obs: Tensor) -> Tensor:
        """[B, H, W, C] (or the other forms of images) -> [B, A]."""
        x = channels_first(obs.float() if self.shifts else self.scale(obs))
        if self.padding:
            x = nn.functional.pad(x, self.padding, mode="replicate")
        x = x.contiguous(memory_format=torch.channels_last if self.channels_last else torch.contiguous_format)
        if self.shifts:
            x = self._shifted_convolution(x)
        for layer in itertools.islice(self.convolutions, int(self.shifts), None):
            x = layer(x)
        output: Tensor = self.head(x.flatten(1))
        return output

    def _shifted_convolution(self, x: Tensor) -> Tensor:
        """[B, channels, H, W] -> the first convolution of (x - zero) / spread."""
        first: Any = self.convolutions[0]
        bias = first.bias - (first.weight * self.offset).sum((1, 2, 3))
        convolved: Tensor = nn.functional.conv2d(x, first.weight * self.gain, bias, first.stride)
        return convolved


@options_class
class MlpOptions:
    """Options of `Mlp`."""

    hidden: list[PositiveInt] = option(
        default_factory=lambda: [128, 128], effect="units of each hidden layer; empty makes a linear function"
    )
    activation: Literal["relu", "tanh"] = option(default="relu", effect="activation after each hidden layer")
    norm: Literal["none", "layer"] = option(default="none", effect="layer normalisation before each activation")


class Mlp(Network):
    """Fully connected layers; observations of any shape are flattened."""

    Options = MlpOptions

    def __init__(self, options: MlpOptions, context: Context) -> None:
        super().__init__(context)
        widths = [math.prod(context.observation_space.shape), *options.hidden]
        layer, self._activation = {"relu": (nn.ReLU, torch.relu), "tanh": (nn.Tanh, torch.tanh)}[options.activation]
        self.layers = nn.Sequential(*_dense(widths, options.norm, layer), nn.Linear(widths[-1], self.num_actions))
        self._linear = [m for m in self.layers if isinstance(m, nn.Linear)]
        self._norms = [m for m in self.layers if isinstance(m, nn.LayerNorm)]

    def forward(self, obs: Tensor) -> Tensor:
        """[B, ...] -> [B, A]."""
        x = self.scale(obs).reshape(obs.shape[0], -1)
        # The same as `self.layers(x)`: calling modules takes as long as the arithmetic of one observation.
        functional = nn.functional
        for linear, norm in itertools.zip_longest(self._linear[:-1], self._norms):
            x = functional.linear(x, linear.weight, linear.bias)
            if norm is not None:
                x = functional.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps)
            x = self._activation(x)
        return functional.linear(x, self._linear[-1].weight, self._linear[-1].bias)


def channels_first(images: Tensor) -> Tensor:
    """Return images as convolutions read them: [B, H, W], [B, H, W, C] or [B, S, H, W, C] -> [B, channels, H, W].

    A stack has S times C channels. The result is a view if possible.
    """
    if images.dim() == 3:
        return images[:, None]
    if images.dim() == 4:
        return images.permute(0, 3, 1, 2)
    return images.permute(0, 1, 4, 2, 3).flatten(1, 2)


def image_size(space: spaces.Box, who: str) -> tuple[int, int, int]:
    """Return (channels, H, W) of the images in `space`, as `channels_first` makes them.

    Args:
        space: the observations of one lane, [H, W], [H, W, C] or [S, H, W, C].
        who: the network's name, for the message.

    Raises:
        UserError: the observations are not images.
    """
    match space.shape:
        case height, width:
            return 1, height, width
        case height, width, channels:
            return channels, height, width
        case stack, height, width, channels:
            return stack * channels, height, width
    mend = "Choose the network mlp, or observe pixels."
    if len(space.shape) > 4:
        merged = [math.prod(space.shape[:-3]), *space.shape[-3:]]
        mend = f"If they are stacks of images, merge their first axes: {_reshaped(merged)}"
    raise UserError(
        f"network {who} reads images ([H, W], [H, W, C] or [S, H, W, C]), but observations are {space.dtype} "
        f"{list(space.shape)}. {mend}"
    )


def _dense(widths: Sequence[int], norm: str, activation: type[nn.Module]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers.append(nn.Linear(before, after))
        if norm == "layer":
            layers.append(nn.LayerNorm(after))
        layers.append(activation())
    return layers


def _reshaped(shape: Sequence[int]) -> str:
    entry = f'wrapper = "gymnasium.wrappers:ReshapeObservation" and shape = {list(shape)}'
    return f"end [[observation]] with an entry of {entry}."


def _size_after(space: spaces.Box, kernels: Sequence[int], strides: Sequence[int], who: str) -> tuple[int, ...]:
    """Return (H, W) after the convolutions, or raise a `UserError` if the images are too small."""
    size = image_size(space, who)[1:]
    least = 1
    for kernel, stride in zip(reversed(kernels), reversed(strides), strict=True):
        least = (least - 1) * stride + kernel
    if min(size) < least:
        mend = "Make observations larger with the wrapper resize, or choose other kernels, or another network."
        if len(space.shape) == 3 and min(space.shape[1:]) >= least:
            others = "If they are [C, H, W] or a stack of grey images, and not [H, W, C], say so"
            mend = f"{others}: {_reshaped([*space.shape, 1])}"
        raise UserError(
            f"network {who}: images of {size[0]} x {size[1]} are too small: with kernels {list(kernels)} and strides "
            f"{list(strides)} it needs {least} x {least} or more. {mend}"
        )
    return _outputs(size, kernels, strides)


def _outputs(size: Sequence[int], kernels: Sequence[int], strides: Sequence[int]) -> tuple[int, ...]:
    """Return each side of an image after the convolutions."""
    for kernel, stride in zip(kernels, strides, strict=True):
        size = [(side - kernel) // stride + 1 for side in size]
    return tuple(size)


def _missing(side: int, kernels: Sequence[int], strides: Sequence[int]) -> int:
    """Return how many pixels a side of an image lacks until the convolutions read all of it."""
    layers = list(zip(kernels, strides, strict=True))
    count = side
    for kernel, stride in layers:
        count = math.ceil((count - kernel) / stride) + 1
    for kernel, stride in reversed(layers):
        count = (count - 1) * stride + kernel
    return count - side


def _per_channel(values: Sequence[float], default: float, channels: int, name: str) -> Tensor:
    """Return `values` as [1, channels, 1, 1]."""
    if len(values) not in (0, 1, channels):
        raise ConfigError(
            f"network conv: {name} has {len(values)} numbers, but observations have {channels} channels: give one "
            f"for each channel, or one for all."
        )
    return torch.tensor(values or [default], dtype=torch.float32).expand(channels).reshape(1, channels, 1, 1).clone()
