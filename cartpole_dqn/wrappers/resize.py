"""`Resize`: a picture with another height and width."""

from __future__ import annotations

import functools
from typing import Any

import gymnasium
import numpy as np

from cartpole_dqn.wrappers.channel import Channel
from cartpole_dqn.wrappers.checks import one_of, whole_number, yes_or_no
from cartpole_dqn.wrappers.image import Image, ImageWrapper
from cartpole_dqn.wrappers.moments import Moments
from cartpole_dqn.wrappers.render import RenderObservation

INTERPOLATIONS = ("nearest", "nearest-exact", "bilinear", "bicubic")
SMOOTH = ("bilinear", "bicubic")
"""Interpolations over several pixels."""


class Resize(ImageWrapper):
    """Resizes the picture: [H, W, C] -> [height, width, C], also without C and for stacks. The dtype stays.

    Integers are rounded to the nearest. Values that bicubic interpolation overshoots are clamped to the bounds of the
    space. `torch.nn.functional.interpolate` does the work, without importing torchvision. On processors where
    torchvision's `resize` computes in bytes, the results are the same, bit for bit.

    Args:
        env: its observations are pictures of integers up to 32 bits, or floats.
        height: rows of the output. If only one of height and width is given, the other keeps the aspect ratio, rounded
            down (`height=40` turns 160x320 into 40x80).
        width: columns of the output.
        interpolation: "bicubic", "bilinear", "nearest" or "nearest-exact".
        antialias: whether to average pixels when shrinking (no effect on "nearest" and "nearest-exact").

    Raises:
        ImportError: torch is missing, or cannot be imported.
        TypeError: an argument or the pictures have the wrong type.
        ValueError: height and width are both None, a size is below 1, or the interpolation is unknown.

    >>> from cartpole_dqn.wrappers.render import RenderObservation
    >>> env = RenderObservation(gymnasium.make("CartPole-v1", render_mode="rgb_array"), rows=[160, 320])
    >>> Resize(env, height=40).observation_space
    Box(0, 255, (40, 150, 3), uint8)
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        height: int | None = None,
        width: int | None = None,
        interpolation: str = "bicubic",
        antialias: bool = True,
    ) -> None:
        super().__init__(env, height=height, width=width, interpolation=interpolation, antialias=antialias)
        self._size = self._target_size(height, width)
        self._interpolation = one_of(self.who, "interpolation", interpolation, INTERPOLATIONS)
        self._antialias = yes_or_no(self.who, "antialias", antialias)
        self._dtype = np.dtype(self.source.dtype)
        if self._dtype.kind != "f" and self._dtype.itemsize > 4:
            raise TypeError(
                f"Resize: expected integers of at most 32 bits or floats, but the pictures are {self._dtype}."
            )
        # The functions, not the modules, which cannot be pickled.
        self._from_numpy, self._interpolate, vectors = _torch_functions()
        # torch computes bytes four channels at once. It packs a single one slowly; NumPy packs two even more slowly.
        self._packs = vectors and self._dtype == np.uint8 and self._interpolation in SMOOTH
        self._packed = np.zeros((0, 0, 0, 4), np.uint8)
        self._low, self._high = self.layout.bounds(self.source)
        self._whole_range = bool((self._low == 0).all() and (self._high == 255).all())
        self._give(self.layout.resized(*self._size), self._low, self._high, self._dtype)
        # One channel of a pygame drawing is resized from the surface itself: the same bytes in two thirds of the time.
        self._render: RenderObservation | None = None
        if self._packs and self._whole_range and type(env) is Channel and type(env.env) is RenderObservation:
            self._render = env.env
            self._channel = env.kept

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Image, dict[str, Any]]:
        """Start an episode, and return its first picture in the new size."""
        if self._render is None:
            return super().reset(seed=seed, options=options)
        _, info = self._render.env.reset(seed=seed, options=options)
        return self._from_surface(self._render), info

    def step(self, action: Any) -> tuple[Image, Any, bool, bool, dict[str, Any]]:
        """Take a step, and return its picture in the new size."""
        if self._render is None:
            return super().step(action)
        _, reward, terminated, truncated, info = self._render.env.step(action)
        return self._from_surface(self._render), reward, terminated, truncated, info

    def _from_surface(self, render: RenderObservation) -> Image:
        """Resize the bytes that pygame drew, without the arrays of the wrappers in between."""
        rendered = render.pixels()
        if not isinstance(rendered, tuple):
            return self.observation(self.env.observation(rendered))  # type: ignore[attr-defined]
        view, red, upwards = rendered
        channel = abs(red - self._channel)
        small = self._interpolated(view)[..., channel : channel + 1]
        return np.array(small[::-1] if upwards else small, order="C")

    def observation(self, observation: Image) -> Image:
        """Return `observation` in the new size, as a new array."""
        if self._dtype == np.uint8:  # torch computes bytes as bytes, several times faster.
            resized = self._interpolated(observation)
            return resized if self._whole_range else np.clip(resized, self._low, self._high)
        # Wide integers and float16 are computed in floats that hold all of their values.
        computing = np.float64 if self._dtype.itemsize >= 4 and self._dtype != np.float32 else np.float32
        resized = self._interpolated(observation.astype(computing, copy=False))
        if self._dtype.kind != "f":
            np.rint(resized, out=resized)
        # Clipped before the cast, which may wrap around.
        return np.clip(resized, self._low.astype(computing), self._high.astype(computing)).astype(self._dtype)

    def as_torch(self, moments: Moments) -> Any:
        """See `cartpole_dqn.wrappers.moments`. Bytes are the same; other numbers agree up to rounding.

        Each axis is resized by sums of weighted pixels. torch computes bytes with weights that are whole numbers over a
        power of two, and rounds after each axis, columns first.
        """
        import torch

        x = picture = moments.observation()
        in_bytes = self._dtype == np.uint8
        wide = self._dtype.itemsize >= 4 and self._dtype != np.float32
        if not in_bytes:
            x = x.to(torch.float64 if wide else torch.float32)
        rows = self.layout.rows_axis
        axes = [(rows + 1, self._size[1]), (rows, self._size[0])]
        if self._lies:
            axes.reverse()
        for axis, size in axes:
            if x.shape[axis] == size:
                continue
            pixels, weights, unit = _weights(x.shape[axis], size, self._interpolation, self._antialias, in_bytes)
            x = x.to(weights.dtype if in_bytes else x.dtype)
            weights = weights.reshape(*weights.shape, *[1] * (x.dim() - axis - 1)).to(x.dtype)
            x = sum(x.index_select(axis, pixels[tap]) * weights[tap] for tap in range(len(pixels)))
            if in_bytes:
                x = ((x + unit / 2) / unit).floor().clamp(0, 255)
        if self._dtype.kind != "f":
            x = x.round()
        return x.clamp(*(torch.from_numpy(bound).to(x.dtype) for bound in (self._low, self._high))).to(picture.dtype)

    @property
    def _lies(self) -> bool:
        """Whether pictures are transposed first: torch (2.15 at least) computes narrow, high ones wrongly."""
        height, width = self._size
        return height > width == 1

    def _interpolated(self, picture: Image) -> Image:
        height, width = self._size
        if self._lies:
            rows, columns = self.layout.rows_axis, self.layout.rows_axis + 1
            lying = self._by_torch(picture.swapaxes(rows, columns).copy(), [width, height])
            return lying.swapaxes(rows, columns).copy()
        return self._by_torch(picture, [height, width])

    def _by_torch(self, picture: Image, size: list[int]) -> Image:
        rows = self.layout.rows_axis
        if list(picture.shape[rows : rows + 2]) == size:
            return np.array(picture, order="C")
        # A stack without channels becomes a batch too: torch fails on three channels of bytes that shrink to one pixel.
        channels = picture.shape[-1] if self.layout.channelled else 1
        batch = picture.reshape(-1, *picture.shape[rows : rows + 2], channels)
        # A view as [C, H, W]: torch calls that channels last, and keeps it.
        tensor = self._from_numpy(self._ready(batch)).permute(0, 3, 1, 2)
        smooth = self._interpolation in SMOOTH
        resized = self._interpolate(
            tensor,
            size,
            mode=self._interpolation,
            align_corners=False if smooth else None,
            antialias=self._antialias and smooth,
        )
        small = resized.permute(0, 2, 3, 1).numpy()[..., :channels]
        return np.array(small.reshape(*picture.shape[:rows], *size, *picture.shape[rows + 2 :]), order="C")

    def _ready(self, batch: Image) -> Image:
        """Return [N, H, W, C] in the form that torch computes fastest, possibly with channels of zeros added."""
        if self._packs and batch.shape[-1] == 1:
            if self._packed.shape[:3] != batch.shape[:3]:
                self._packed = np.zeros((*batch.shape[:3], 4), np.uint8)
            self._packed[..., :1] = batch
            return self._packed
        # torch accepts neither read-only arrays nor negative strides.
        return np.require(batch, requirements=["C", "W"])

    def _target_size(self, height: int | None, width: int | None) -> tuple[int, int]:
        if height is not None:
            height = whole_number(self.who, "height", height, least=1)
        if width is not None:
            width = whole_number(self.who, "width", width, least=1)
            return height or max(1, width * self.layout.height // self.layout.width), width
        if height is None:
            raise ValueError("Resize: expected height, width or both, got neither.")
        return height, max(1, height * self.layout.width // self.layout.height)


def _torch_functions() -> tuple[Any, Any, bool]:
    """Return torch.from_numpy, torch.nn.functional.interpolate, and whether that computes bytes in AVX2's vectors."""
    try:
        import torch
    except ModuleNotFoundError as error:
        raise ImportError(f"Resize needs torch, but there is no module {error.name!r}: pip install torch") from error
    except Exception as error:  # A build that does not fit the machine fails with any exception, such as OSError.
        raise ImportError(
            f"Resize needs torch, but importing it failed: {error}. Reinstall it: pip install --force-reinstall torch"
        ) from error
    vectors = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
    return torch.from_numpy, torch.nn.functional.interpolate, vectors


def _unit(greatest: float) -> float:
    """Return the power of two by which torch multiplies weights of bytes: the greatest weight fits in int16."""
    bits = 0
    while bits < 22 and int(0.5 + greatest * 2 ** (bits + 1)) < 2**15:
        bits += 1
    return 2.0**bits


@functools.cache  # so that they are constants, already computed, when a program is traced
def _weights(before: int, after: int, interpolation: str, antialias: bool, in_bytes: bool) -> tuple[Any, Any, float]:
    """Return the pixels [n, after] that each resized pixel is the sum of, their weights, and the weights' unit.

    Weights of bytes are whole numbers, multiples of the unit, of which torch takes the smallest that fits in int16.
    They are float32 if that computes the sum exactly; all others are float64.
    """
    import torch

    # The rows of an identity matrix, resized, are the weights of each pixel. They are channels of pictures of one row,
    # since torch computes pictures of one column wrongly.
    identity = torch.eye(before, dtype=torch.float64)[None, :, None]
    options = {"align_corners": False, "antialias": antialias} if interpolation in SMOOTH else {}
    resized = torch.nn.functional.interpolate(identity, [1, after], mode=interpolation, **options)
    weights = resized[0, :, 0]
    nonzero = (weights != 0).int()
    first = nonzero.argmax(0)
    count = int((before - nonzero.flip(0).argmax(0) - first).max())
    pixels = first.clamp(max=before - count) + torch.arange(count)[:, None]
    weights = weights.gather(0, pixels)
    if not in_bytes:
        return pixels, weights, 1.0
    unit = _unit(float(weights.max()))
    weights = (weights * unit + 0.5 * weights.sign()).trunc()
    greatest = 255 * float(weights.abs().sum(0).max()) + unit / 2
    return pixels, weights.float() if greatest < 2**24 else weights, unit
