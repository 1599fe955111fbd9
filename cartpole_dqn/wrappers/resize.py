"""`Resize`: a picture of another height and width."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from cartpole_dqn.wrappers.checks import one_of, plain, whole_number, yes_or_no
from cartpole_dqn.wrappers.image import Image, ImageWrapper

INTERPOLATIONS = ("nearest", "nearest-exact", "bilinear", "bicubic")


class Resize(ImageWrapper):
    """The picture in another size, by torchvision: [H, W, C] -> [height, width, C], likewise without C and for stacks.

    The dtype stays. Integers are rounded to the nearest; what bicubic interpolation overshoots is clamped to the bounds
    of the space.

    Args:
        env: its observations are pictures of integers up to 32 bits, or floats.
        height: rows that come out. Where only one of height and width is given, the other keeps the picture's aspect
            ratio, rounded down as torchvision does (`height=40` makes 40x80 of 160x320).
        width: columns that come out.
        interpolation: "bicubic", "bilinear", "nearest" or "nearest-exact".
        antialias: whether pixels are averaged when shrinking (no effect on "nearest" and "nearest-exact").

    Raises:
        ImportError: torchvision is missing, or does not match torch.
        TypeError: an argument or the pictures are of another kind.
        ValueError: neither height nor width, a size below 1, another interpolation.

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
        super().__init__(
            env, height=plain(height), width=plain(width), interpolation=interpolation, antialias=plain(antialias)
        )
        self._size = self._wanted(height, width)
        self._interpolation = one_of(self.who, "interpolation", interpolation, INTERPOLATIONS)
        self._antialias = yes_or_no(self.who, "antialias", antialias)
        self._dtype = np.dtype(self.source.dtype)
        if self._dtype.kind != "f" and self._dtype.itemsize > 4:
            raise TypeError(
                f"Resize: expected integers of at most 32 bits or floats, but the pictures are {self._dtype}."
            )
        # The functions are kept, not the modules: an environment may be copied, a module may not.
        self._from_numpy, self._resize, self._mode = _torchvision(self._interpolation)
        self._low, self._high = self.layout.bounds(self.source)
        self._whole_range = bool((self._low == 0).all() and (self._high == 255).all())
        stack = range(self.layout.rows_axis)
        axes = len(self.layout.shape)
        self._channels_first = (*stack, axes - 1, axes - 3, axes - 2)
        self._channels_last = (*stack, axes - 2, axes - 1, axes - 3)
        self._give(self.layout.resized(*self._size), self._low, self._high, self._dtype)

    def observation(self, observation: Image) -> Image:
        """Return `observation` in the new size, as a new array."""
        if self._dtype == np.uint8:  # torchvision computes these as they are, several times faster, within 0..255.
            resized = self._interpolated(observation)
            return resized if self._whole_range else np.clip(resized, self._low, self._high)
        # Wide integers and halves are computed in floats that hold all of their values.
        computing = np.float64 if self._dtype.itemsize >= 4 and self._dtype != np.float32 else np.float32
        resized = self._interpolated(observation.astype(computing, copy=False))
        if self._dtype.kind != "f":
            np.rint(resized, out=resized)
        # Compared as they were computed, since casting may wrap around.
        return np.clip(resized, self._low.astype(computing), self._high.astype(computing)).astype(self._dtype)

    def _interpolated(self, picture: Image) -> Image:
        height, width = self._size
        if height > width == 1:
            # torch (2.15 at least) computes pictures one pixel wide and several high wrongly, but lying ones rightly.
            rows, columns = self.layout.rows_axis, self.layout.rows_axis + 1
            lying = self._by_torch(picture.swapaxes(rows, columns).copy(), [width, height])
            return lying.swapaxes(rows, columns).copy()
        return self._by_torch(picture, [height, width])

    def _by_torch(self, picture: Image, size: list[int]) -> Image:
        if not picture.flags.writeable or min(picture.strides) < 0:  # torch takes neither
            picture = picture.copy()
        # [H, W, C] seen as [C, H, W] without a copy: torch calls that channels last, and keeps it. Without channels, a
        # stack becomes a batch: as channels, three planes of bytes that shrink to one pixel make torch fail.
        seen = picture.transpose(self._channels_first) if self.layout.channelled else picture[..., None, :, :]
        resized = self._resize(
            self._from_numpy(seen), size, interpolation=self._mode, antialias=self._antialias
        ).numpy()
        small = resized.transpose(self._channels_last) if self.layout.channelled else resized[..., 0, :, :]
        return np.array(small, order="C")

    def _wanted(self, height: int | None, width: int | None) -> tuple[int, int]:
        layout = self.layout
        if height is None and width is None:
            raise ValueError("Resize: expected height, width or both, got neither.")
        rows = None if height is None else whole_number(self.who, "height", height, least=1)
        columns = None if width is None else whole_number(self.who, "width", width, least=1)
        if rows is None:
            assert columns is not None
            rows = max(1, columns * layout.height // layout.width)
        if columns is None:
            columns = max(1, rows * layout.width // layout.height)
        return rows, columns


def _torchvision(interpolation: str) -> tuple[Any, Any, Any]:
    """Return torch.from_numpy, torchvision's resize and its name for the interpolation."""
    try:
        import torch
        from torchvision.transforms import InterpolationMode
        from torchvision.transforms.v2 import functional
    except ModuleNotFoundError as error:
        raise ImportError(
            f"Resize needs torch and torchvision, but there is no module {error.name!r}: pip install torch torchvision"
        ) from error
    except Exception as error:  # A pair that does not match fails in several ways, RuntimeError among them.
        raise ImportError(
            f"Resize needs a torchvision that matches torch, but importing them failed: {error}. Install both at once, "
            f"from the same index: pip install --force-reinstall torch torchvision"
        ) from error
    return torch.from_numpy, functional.resize, InterpolationMode(interpolation)
