"""How the target network follows the online one: `HardTargetUpdate` ("hard") and `SoftTargetUpdate` ("soft").

Both copy buffers, such as BatchNorm's running statistics, unchanged.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from cartpole_dqn.contracts.options import option, options_class
from cartpole_dqn.contracts.parts import Context, TargetUpdate


@options_class
class HardOptions:
    """Options of `HardTargetUpdate`."""

    every: int = option(default=500, ge=1, effect="updates or episodes between copies", typical="500 updates")
    unit: Literal["updates", "episodes"] = option(default="updates", effect="what `every` counts")
    first: int = option(
        default=0,
        ge=0,
        effect="the update or episode after which the first copy is made; 0: after the first interval. With 1 and "
        "every = 10, copies follow episodes 1, 11, 21, ...",
    )


class HardTargetUpdate(TargetUpdate):
    """Copies all weights and buffers after every `every` updates or episodes."""

    Options = HardOptions

    def __init__(self, options: HardOptions, context: Context) -> None:
        self._options = options
        self._pair = _Pair()

    def after_update(self, online: nn.Module, target: nn.Module, updates: int) -> None:
        self._copy_if_due(online, target, "updates", updates)

    def after_episode(self, online: nn.Module, target: nn.Module, episodes: int) -> None:
        self._copy_if_due(online, target, "episodes", episodes)

    @torch.no_grad()
    def _copy_if_due(self, online: nn.Module, target: nn.Module, unit: str, count: int) -> None:
        first = self._options.first
        if unit == self._options.unit and count >= first and (count - first) % self._options.every == 0:
            source, destination = self._pair.parameters(online, target)
            torch._foreach_copy_(destination, source)
            self._pair.copy_buffers()


@options_class
class SoftOptions:
    """Options of `SoftTargetUpdate`."""

    tau: float = option(
        default=0.005, gt=0, le=1, effect="fraction of the way to the online weights per step", typical="0.005 to 0.02"
    )
    every_updates: int = option(default=1, ge=1, effect="updates between steps", typical="1")


class SoftTargetUpdate(TargetUpdate):
    """Moves each weight a fraction `tau` of the way to the online weight; copies buffers."""

    Options = SoftOptions

    def __init__(self, options: SoftOptions, context: Context) -> None:
        self._options = options
        self._pair = _Pair()

    @torch.no_grad()
    def after_update(self, online: nn.Module, target: nn.Module, updates: int) -> None:
        if updates % self._options.every_updates == 0:
            source, destination = self._pair.parameters(online, target)
            torch._foreach_lerp_(destination, source, self._options.tau)
            self._pair.copy_buffers()


class _Pair:
    """The parameters and buffers of two networks, listed once: listing them takes longer than copying them."""

    def __init__(self) -> None:
        self._modules: tuple[nn.Module | None, nn.Module | None] = (None, None)
        self._parameters: tuple[list[Tensor], list[Tensor]] = ([], [])
        self._buffers: list[tuple[dict[str, Any], dict[str, Any]]] = []

    def parameters(self, online: nn.Module, target: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
        """Return the parameters of both networks, in the same order."""
        if self._modules[0] is not online or self._modules[1] is not target:
            self._modules = (online, target)
            self._parameters = (list(online.parameters()), list(target.parameters()))
            # The dicts, not the tensors in them: a module may replace a buffer by a new tensor.
            self._buffers = [
                (a._buffers, b._buffers) for a, b in zip(online.modules(), target.modules(), strict=True) if a._buffers
            ]
        return self._parameters

    def copy_buffers(self) -> None:
        """Copy the buffers of the networks last passed to `parameters`."""
        for source, destination in self._buffers:
            for name, buffer in source.items():
                if buffer is not None:
                    destination[name].copy_(buffer)
