"""What every network here begins with: an observation becomes a row of features.

* `TrunkOptions`: its sizes. Their names are those of the built-in networks, so that a preset's values are kept when
  only the network's name changes.
* `Trunk`: convolutions for images, fully connected layers for vectors and after the convolutions.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from gymnasium import spaces
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from cartpole_dqn import UserError, channels_first, option, options_class


@options_class
class TrunkOptions:
    """Options that all networks here have."""

    channels: list[PositiveInt] = option(
        default_factory=lambda: [16, 32], effect="for images: output channels of each convolution", typical="[16, 32]"
    )
    kernels: list[PositiveInt] = option(
        default_factory=lambda: [8, 4], effect="for images: kernel size of each convolution", typical="[8, 4]"
    )
    strides: list[PositiveInt] = option(
        default_factory=lambda: [4, 2], effect="for images: stride of each convolution", typical="[4, 2]"
    )
    hidden: list[PositiveInt] | PositiveInt = option(
        default_factory=lambda: [128, 128],
        effect="units of each fully connected layer, or of the only one. The last belongs to the head: dueling has it "
        "twice, noise is in it",
        typical="128, [128, 128], 512",
    )
    zero: list[float] = option(
        default_factory=list,
        effect="what is read as 0: one number for each channel of images or entry of vectors, or one for all",
        typical="[], [255, 128]",
    )
    spread: list[PositiveFloat] = option(
        default_factory=list,
        effect="what the distance from zero is divided by, one number each or one for all; empty is the bound of the "
        "observation space for integers and 1 for floats",
        typical="[], [255, 127.5]",
    )


class Trunk(nn.Module):
    """Observations [B, ...] -> features [B, `features`] float32, none of them negative behind a layer.

    Vectors are [n]; images are [H, W], [H, W, C], or stacked [S, H, W, C], where S and C together are the channels.
    All layers but the last of `hidden` are in here, each followed by ReLU.

    Args:
        options: the sizes.
        space: one lane's observations.
        who: the network's name, for messages.

    Raises:
        UserError: the sizes do not fit together, or not the observations.
    """

    zero: Tensor
    spread: Tensor

    def __init__(self, options: TrunkOptions, space: spaces.Box, who: str) -> None:
        super().__init__()
        shape = space.shape
        if len(shape) > 4:
            raise UserError(
                f"network {who} reads vectors and images, but observations are {space.dtype} {list(shape)}."
            )
        self._bound = _bound(space)
        self._shifts = bool(options.zero or options.spread)
        if self._shifts:
            # They are settings, so no checkpoint needs them; as buffers they move with the module between devices.
            zero = _each(options.zero, 0.0, shape, f"network {who}: zero")
            spread = _each(options.spread, self._bound, shape, f"network {who}: spread")
            self.register_buffer("zero", zero, persistent=False)
            self.register_buffer("spread", spread, persistent=False)
        width = math.prod(shape)
        self.convolutions: nn.Sequential | None = None
        if len(shape) > 1:
            self.convolutions, width = _convolutions(options, shape, who)
        widths = [width, *hidden_widths(options)[:-1]]
        dense = [(nn.Linear(before, after), nn.ReLU()) for before, after in itertools.pairwise(widths)]
        self.dense = nn.Sequential(*itertools.chain.from_iterable(dense))
        self.features = widths[-1]

    def forward(self, obs: Tensor) -> Tensor:
        """[B, ...] as in the observation space -> [B, features]."""
        x = (obs.float() - self.zero) / self.spread if self._shifts else obs.float() / self._bound
        if self.convolutions is not None:
            # In this order in memory, small convolutions take less time on a CPU.
            images = channels_first(x).contiguous(memory_format=torch.channels_last)
            x = self.convolutions(images)
        features: Tensor = self.dense(x.reshape(x.shape[0], -1))
        return features


def hidden_widths(options: TrunkOptions) -> list[int]:
    """Return `options.hidden` as a list."""
    return [options.hidden] if isinstance(options.hidden, int) else list(options.hidden)


def _convolutions(options: TrunkOptions, shape: tuple[int, ...], who: str) -> tuple[nn.Sequential, int]:
    """Return the convolutions for images of `shape`, and how many numbers they make of one."""
    if not options.channels or not len(options.channels) == len(options.kernels) == len(options.strides):
        raise UserError(
            f"network {who}: expected channels, kernels and strides to have one number for each convolution, and at "
            f"least one, got {options.channels}, {options.kernels} and {options.strides}."
        )
    stack, height, width, last = _image(shape)
    layers: list[nn.Module] = []
    before, size = stack * last, (height, width)
    for after, kernel, stride in zip(options.channels, options.kernels, options.strides, strict=True):
        if min(size) < kernel:
            raise UserError(
                f"network {who}: images of {height} x {width} are too small for kernels {options.kernels} with strides "
                f"{options.strides}. Choose smaller ones, or larger images; what is no image needs the wrapper flatten."
            )
        layers += [nn.Conv2d(before, after, kernel, stride), nn.ReLU()]
        before, size = after, ((size[0] - kernel) // stride + 1, (size[1] - kernel) // stride + 1)
    return nn.Sequential(*layers).to(memory_format=torch.channels_last), before * math.prod(size)


def _image(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """[H, W], [H, W, C] or [S, H, W, C] -> (S, H, W, C)."""
    stack = shape[0] if len(shape) == 4 else 1
    last = shape[-1] if len(shape) > 2 else 1
    height, width = shape[1:3] if len(shape) == 4 else shape[:2]
    return stack, height, width, last


def _each(values: list[float], default: float, shape: tuple[int, ...], who: str) -> Tensor:
    """Return `values`, one a channel or a vector's entry, at every place of `shape`."""
    stack, height, width, last = _image(shape) if len(shape) > 1 else (1, 1, 1, math.prod(shape))
    count = stack * last
    if len(values) not in (0, 1, count):
        raise UserError(f"{who}: expected one number for all or {count} in observations {list(shape)}, got {values}.")
    numbers = torch.tensor(values or [default], dtype=torch.float32).expand(count)
    # Laid out in full: to broadcast along the last axis takes several times as long.
    return numbers.reshape(stack, 1, 1, last).expand(stack, height, width, last).reshape(shape).clone()


def _bound(space: spaces.Box) -> float:
    if not np.issubdtype(space.dtype, np.integer):
        return 1.0
    return float(max(abs(int(space.low.min())), abs(int(space.high.max())), 1))
