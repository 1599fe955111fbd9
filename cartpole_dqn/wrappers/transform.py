"""`Transform`: any transform of `torchvision.transforms.v2`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np

from cartpole_dqn.wrappers.checks import one_of, value_and_type
from cartpole_dqn.wrappers.image import Image, ImageWrapper, Layout, wrappers_of

NOT_FOR_PICTURES = {
    "ClampBoundingBoxes", "ClampKeyPoints", "ConvertBoundingBoxFormat", "CutMix", "FiveCrop", "Lambda",
    "LinearTransformation", "MixUp", "PILToTensor", "RandomIoUCrop", "SanitizeBoundingBoxes", "SanitizeKeyPoints",
    "SetClampingMode", "TenCrop", "ToImage", "ToPILImage", "ToPureTensor", "ToTensor", "Transform",
    "UniformTemporalSubsample",
}  # fmt: skip
"""Transforms of boxes, batches, functions and other data, and those that return several pictures."""


class Transform(ImageWrapper):
    """Applies a transform of `torchvision.transforms.v2`, chosen by name.

    Works on pictures [H, W, C], [H, W] and stacks of them; the transform itself gets [C, H, W]. The frames of a stack
    get the same random choices. The wrapper tries the transform to find the size, channels and dtype of the output.

    ======================  ======================================================
    output                  bounds of the observation space
    ======================  ======================================================
    uint8                   0 to 255
    the dtype of the input  those of the input; interpolation is clamped to them
    floats                  none
    ======================  ======================================================

    Each picture gets new random choices, from a generator that `reset(seed=...)` seeds. The same seed and actions give
    the same pictures. torch's global generator does not change.

    The constructor imports torchvision, which takes about as long as importing torch.

    Args:
        env: its observations are pictures.
        name: a class of `torchvision.transforms.v2`, such as "GaussianBlur" or "ColorJitter".
        options: the arguments of its constructor. Write dtypes and interpolation modes by name ("float32", "bilinear"),
            and transforms inside a transform (`RandomApply`, `Compose`) as tables of `name` and `options`.

    Raises:
        ImportError: torchvision is missing, or does not match torch.
        TypeError: an argument has the wrong type, or the transform does not work on these pictures.
        ValueError: there is no such transform or option, or the size of the pictures would vary.

    >>> from cartpole_dqn.wrappers.render import RenderObservation
    >>> env = RenderObservation(gymnasium.make("CartPole-v1", render_mode="rgb_array"), rows=[160, 320])
    >>> Transform(env, "Grayscale").observation_space
    Box(0, 255, (160, 600, 1), uint8)
    """

    def __init__(self, env: gymnasium.Env[Any, Any], name: str, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(env, name=name, options=options)
        self.who = f"Transform {name}"
        self._transform = _build_transform(self.who, {"name": name, "options": options or {}})
        # Each transform in a chain has its own generator.
        self._place = sum(isinstance(wrapper, Transform) for wrapper in wrappers_of(self.env))
        self._dtype = np.dtype(self.source.dtype)
        self._clip: tuple[Any, Any] | None = None
        self._seed(0)
        self._declare()
        self._seed(None)
        self.narrows = type(self._transform).__module__.endswith("_geometry") and name != "Resize"

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Image, dict[str, Any]]:
        """Start an episode; a seed also seeds the random choices."""
        if seed is not None:
            self._seed(seed)
        return super().reset(seed=seed, options=options)

    def observation(self, observation: Image) -> Image:
        """Return the transformed picture, as a new array."""
        picture = self._apply(observation)
        if picture.shape != self.out.shape or picture.dtype != self.observation_space.dtype:
            raise ValueError(
                f"{self.who}: made {picture.dtype} {list(picture.shape)}, after {self.observation_space.dtype} "
                f"{list(self.out.shape)} at first; observations must keep one size. Set the size in its options."
            )
        return picture if self._clip is None else np.clip(picture, *self._clip)

    def _seed(self, seed: int | None) -> None:
        """Seed the random choices; None takes fresh entropy."""
        import torch

        entropy = None if seed is None else [seed, self._place, 0x7472616E]
        number = int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1)
        self._random_state = torch.Generator().manual_seed(number).get_state()

    def _apply(self, picture: Image) -> Image:
        """Transform a picture, with this wrapper's generator state in torch's global generator."""
        import torch

        contiguous = np.require(picture, requirements=["C", "W"])
        tensor = torch.from_numpy(contiguous)
        tensor = tensor.movedim(-1, -3) if self.layout.channelled else tensor.unsqueeze(-3)
        outside = torch.get_rng_state()
        torch.set_rng_state(self._random_state)
        try:
            output = self._transform(tensor)
        finally:
            self._random_state = torch.get_rng_state()
            torch.set_rng_state(outside)
        if not isinstance(output, torch.Tensor):
            raise TypeError(f"{self.who}: expected the transform to return one picture, got a {type(output).__name__}.")
        keeps_plane = not self.layout.channelled and output.shape[-3] == 1
        output = output.squeeze(-3) if keeps_plane else output.movedim(-3, -1)
        return np.array(output.numpy(), order="C")

    def _declare(self) -> None:
        """Find the size, channels, dtype and bounds of the output by trying extreme values and noise."""
        low, high = self._finite_bounds()
        noise = np.random.default_rng(0)
        samples = [np.full(self.source.shape, value, self._dtype) for value in (low, high)]
        samples += [noise.uniform(low, high, self.source.shape).astype(self._dtype) for _ in range(4)]
        try:
            outputs = [self._apply(picture) for picture in samples]
        except (TypeError, ValueError, RuntimeError, NotImplementedError) as error:
            raise TypeError(
                f"{self.who}: does not work on these pictures, {self._dtype} {list(self.source.shape)}: "
                f"{' '.join(str(error).split())}"
            ) from error
        kinds = sorted({(picture.shape, picture.dtype.name) for picture in outputs})
        if len(kinds) > 1:
            sizes = " and ".join(f"{dtype} {list(shape)}" for shape, dtype in kinds[:2])
            raise ValueError(
                f"{self.who}: the pictures that it makes differ ({sizes}); observations must keep one size."
            )
        shape, dtype = outputs[0].shape, outputs[0].dtype
        channelled = self.layout.channelled or len(shape) > len(self.layout.shape)
        out = Layout(shape, self.layout.stacked, channelled)
        self._give(out, *self._bounds(outputs, low, high), dtype)
        if out.channels != self.layout.channels:
            self.shows_now = (any(self.shows_now),) * out.channels

    def _finite_bounds(self) -> tuple[Any, Any]:
        low, high = self.source.low.min(), self.source.high.max()
        if self._dtype.kind != "f":
            return low, high
        return max(low, self._dtype.type(-1e3)), min(high, self._dtype.type(1e3))

    def _bounds(self, outputs: Sequence[Image], low: Any, high: Any) -> tuple[Any, Any]:
        dtype = outputs[0].dtype
        if dtype.kind == "f":
            return np.asarray(-np.inf), np.asarray(np.inf)
        if dtype == np.uint8:
            return np.asarray(0), np.asarray(255)
        if dtype != self._dtype:
            limits = np.iinfo(dtype)
            return np.asarray(limits.min), np.asarray(limits.max)
        margin = (int(high) - int(low)) // 2  # Bicubic interpolation overshoots by less than that.
        if any(int(m.min()) < int(low) - margin or int(m.max()) > int(high) + margin for m in outputs):
            raise TypeError(
                f"{self.who}: works on the whole range of {dtype}, but these pictures are between {low} and {high}. "
                f"Put it before FrameDifference, or set encoding = 'uint8' there."
            )
        self._clip = (low, high)
        return np.asarray(low), np.asarray(high)


def _build_transform(who: str, table: Mapping[str, Any]) -> Any:
    """Build the transform that a table of `name` and `options` describes."""
    v2 = _torchvision(who)
    names = [
        key
        for key, cls in vars(v2).items()
        if inspect.isclass(cls) and issubclass(cls, v2.Transform) and key not in NOT_FOR_PICTURES
    ]
    cls = getattr(v2, one_of(who, "name", table.get("name"), sorted(names)))
    options = table.get("options", {})
    if not isinstance(options, Mapping):
        raise TypeError(f"{who}: options must be a table of names and values, got {value_and_type(options)}.")
    parameters = [name for name in inspect.signature(cls).parameters if name not in ("self", "args", "kwargs")]
    values = {one_of(who, "an option", key, parameters): _value(who, key, v) for key, v in options.items()}
    try:
        return cls(**values)
    except (TypeError, ValueError, AttributeError) as error:
        raise type(error)(f"{who}: {' '.join(str(error).split())}") from error


def _value(who: str, name: str, value: Any) -> Any:
    """Convert an option for torchvision: dtypes, interpolation modes and inner transforms have names."""
    if isinstance(value, Mapping) and "name" in value:
        return _build_transform(f"{who}, {name}", value)
    if isinstance(value, list | tuple):
        return [_value(who, name, element) for element in value]
    if not isinstance(value, str):
        return value
    if name == "interpolation":
        modes = _torchvision(who).InterpolationMode
        return modes(one_of(who, name, value, [mode.value for mode in modes]))
    if name == "dtype":
        import torch

        return getattr(torch, one_of(who, name, value, ["uint8", "int16", "int32", "float16", "float32", "float64"]))
    return value


def _torchvision(who: str) -> Any:
    try:
        from torchvision.transforms import v2
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{who} needs torchvision, but there is no module {error.name!r}: pip install torchvision"
        ) from error
    except Exception as error:  # A torchvision built for another torch fails with any exception.
        raise ImportError(
            f"{who} needs torchvision, but importing it failed: {' '.join(str(error).split())}. torch and torchvision "
            f"must be of the same release: pip install --force-reinstall torch torchvision"
        ) from error
    return v2
