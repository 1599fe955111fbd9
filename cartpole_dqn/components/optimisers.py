"""PyTorch's optimisers with a linear learning-rate schedule.

`RmsProp` ("rmsprop"), `Adam` ("adam"), `AdamW` ("adamw"), and their base `TorchOptimiser`.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from cartpole_dqn.contracts.options import option, options_class
from cartpole_dqn.contracts.parts import Context, Optimiser, State
from cartpole_dqn.errors import ConfigError

Beta = Annotated[float, Field(ge=0, lt=1)]


@options_class
class ScheduleOptions:
    """Options of every optimiser: the learning rate and its schedule."""

    lr: float = option(default=1e-3, gt=0, effect="learning rate at the first update", typical="0.0001 to 0.001")
    final_lr: float | None = option(
        default=None, ge=0, effect="learning rate reached linearly after decay_updates; left out: lr stays constant"
    )
    decay_updates: int = option(
        default=0, ge=0, effect="updates until final_lr is reached", typical="the run's updates"
    )


class TorchOptimiser(Optimiser):
    """An optimiser of `torch.optim` with a learning-rate schedule.

    The options besides the schedule's are the constructor's arguments of `kind`.

    Raises:
        ConfigError: final_lr is set without decay_updates, or decay_updates without final_lr.
    """

    kind: ClassVar[Any]
    """The class of `torch.optim`."""
    fused: ClassVar[str] = ""
    """The name of its fused kernel in `torch`; empty if it has none."""

    def __init__(self, options: ScheduleOptions, context: Context) -> None:
        if (options.final_lr is None) != (options.decay_updates == 0):
            raise ConfigError(
                f"the optimiser has final_lr = {options.final_lr} and decay_updates = {options.decay_updates}: for a "
                f"schedule set both, for a constant learning rate neither."
            )
        self._options: Any = options
        self._updates = 0
        self._parameters: list[nn.Parameter] = []
        self._attached: torch.optim.Optimizer | None = None
        self._kernel: _FusedAdam | None = None

    def make(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """Return the `torch.optim` object for `parameters`."""
        names = {field.name for field in dataclasses.fields(self._options)} - {"final_lr", "decay_updates"}
        arguments = {name: getattr(self._options, name) for name in names}
        # For small networks one fused kernel takes a third of the time of the others, also on the CPU. The formulas are
        # the same; the last bits differ.
        fused = self.fused and all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in parameters)
        return _light(self.kind)(parameters, **arguments, **{"fused" if fused else "foreach": True})

    def attach(self, parameters: Sequence[nn.Parameter]) -> None:
        """Set the parameters to update. Raises `ValueError` if there are none, or on a second call."""
        if self._attached is not None or not parameters:
            raise ValueError("an optimiser is attached once, to one parameter or more.")
        self._parameters = list(parameters)
        self._attached = self.make(self._parameters)

    def zero_grad(self) -> None:
        # Like torch's own zero_grad, without its hooks and profiler records, which cost more than the work.
        for parameter in self._parameters:
            parameter.grad = None

    def step(self) -> None:
        optimiser = self._optimiser
        group = optimiser.param_groups[0]
        if self._options.decay_updates:
            group["lr"] = self.lr
        if self._kernel is None or not self._kernel.step(group):
            optimiser.step()
            self._kernel = _FusedAdam.of(optimiser, self.fused)
        self._updates += 1

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        schedule: ScheduleOptions = self._options
        if schedule.final_lr is None:
            return schedule.lr
        return schedule.lr + (schedule.final_lr - schedule.lr) * min(1.0, self._updates / schedule.decay_updates)

    def state_dict(self) -> State:
        """Return `updates`, and `moments`: the tensors kept for each updated parameter, by its number."""
        return {"updates": self._updates, "moments": dict(self._optimiser.state_dict()["state"])}

    def load_state_dict(self, state: State) -> None:
        """Restore `updates` and `moments`, but not the options. Raises `ValueError` if they are of other parameters."""
        own = self._optimiser.state_dict()
        for number, moments in state["moments"].items():
            shapes = [tuple(value.shape) for value in moments.values()]
            if number >= len(self._parameters) or {*shapes, ()} != {tuple(self._parameters[number].shape), ()}:
                raise ValueError(
                    f"the saved optimiser keeps {shapes} for parameter {number}, which does not fit the "
                    f"{len(self._parameters)} parameters of this network: it was saved with another one."
                )
        own["state"] = {
            number: {name: _like(self._parameters[number], value) for name, value in moments.items()}
            for number, moments in state["moments"].items()
        }
        self._optimiser.load_state_dict(own)
        self._kernel = None
        self._updates = int(state["updates"])

    @property
    def _optimiser(self) -> torch.optim.Optimizer:
        if self._attached is None:
            raise RuntimeError("the optimiser has no parameters yet: call attach(parameters) first.")
        return self._attached


@options_class
class RmsPropOptions(ScheduleOptions):
    """Options of `RmsProp`."""

    lr: float = option(default=0.01, gt=0, effect="learning rate at the first update", typical="0.00025 to 0.01")
    alpha: float = option(default=0.99, ge=0, lt=1, effect="decay per update of the running mean squared gradient")
    eps: float = option(default=1e-8, gt=0, effect="added to the denominator", typical="1e-8 to 0.01")
    momentum: float = option(
        default=0.0, ge=0, lt=1, effect="fraction of the last step added to this one", typical="0 to 0.95"
    )
    centered: bool = option(
        default=False, effect="whether to subtract the squared mean gradient, so that the variance divides"
    )


class RmsProp(TorchOptimiser):
    """RMSprop (Tieleman and Hinton 2012; centred: Graves 2013). The defaults are PyTorch's."""

    Options = RmsPropOptions
    kind = torch.optim.RMSprop


@options_class
class AdamOptions(ScheduleOptions):
    """Options of `Adam`."""

    betas: tuple[Beta, Beta] = option(
        default=(0.9, 0.999), effect="decay per update of the running mean and mean squared gradient"
    )
    eps: float = option(default=1e-8, gt=0, effect="added to the denominator", typical="1e-8 to 1e-4")
    amsgrad: bool = option(
        default=False, effect="whether to divide by the largest mean squared gradient so far (Reddi et al. 2018)"
    )


class Adam(TorchOptimiser):
    """Adam (Kingma and Ba 2015)."""

    Options = AdamOptions
    kind = torch.optim.Adam
    fused = "_fused_adam_"


@options_class
class AdamWOptions(AdamOptions):
    """Options of `AdamW`."""

    weight_decay: float = option(
        default=0.01, ge=0, effect="fraction of each weight, times lr, subtracted at each update", typical="0 to 0.01"
    )


class AdamW(TorchOptimiser):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    Options = AdamWOptions
    kind = torch.optim.AdamW
    fused = "_fused_adamw_"


class _FusedAdam:
    """The kernel of torch's fused Adam or AdamW, with its argument lists built once.

    `torch.optim.Optimizer.step` builds the same lists in each call and records it for the profiler. For the network of
    the preset `state`, this step takes 30 us, torch's fused one 57, and torch's default 170
    (`tests/benchmarks/update.py`). The tensors are the optimiser's own, so its `step` and this
    one can alternate.
    """

    def __init__(self, kernel: Callable[..., None], optimiser: torch.optim.Optimizer) -> None:
        self._kernel = kernel
        self._parameters: list[Tensor] = list(optimiser.param_groups[0]["params"])
        states = [optimiser.state[p] for p in self._parameters]
        largest = [state["max_exp_avg_sq"] for state in states if "max_exp_avg_sq" in state]
        self._steps = [state["step"] for state in states]
        self._moments = [[state[name] for state in states] for name in ("exp_avg", "exp_avg_sq")] + [largest]

    @classmethod
    def of(cls, optimiser: torch.optim.Optimizer, name: str) -> _FusedAdam | None:
        """Return the kernel `name` for an optimiser after its first step; None if it is not fused, or on a GPU."""
        kernel = getattr(torch, name, None)
        group = optimiser.param_groups[0]
        ready = group.get("fused") and all(p in optimiser.state and p.device.type == "cpu" for p in group["params"])
        return cls(kernel, optimiser) if kernel is not None and ready else None

    @torch.no_grad()
    def step(self, group: dict[str, Any]) -> bool:
        """Make a step with the settings in `group`. Return False, having done nothing, if a gradient is missing."""
        gradients = [p.grad for p in self._parameters]
        if any(gradient is None for gradient in gradients):
            return False
        torch._foreach_add_(self._steps, 1)
        self._kernel(
            self._parameters,
            gradients,
            *self._moments,
            self._steps,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            grad_scale=None,
            found_inf=None,
            **{name: group[name] for name in ("lr", "weight_decay", "eps", "amsgrad", "maximize")},
        )
        return True


@functools.cache
def _light(optimiser: type[torch.optim.Optimizer]) -> Callable[..., torch.optim.Optimizer]:
    """Return the class without the decorators that import torch's compiler, which nothing here uses.

    That import takes longer than torch's own: without it, a run starts in little more than half the time.
    """
    decorated = ("add_param_group", "state_dict", "load_state_dict")
    methods = {name: inspect.unwrap(getattr(optimiser, name)) for name in decorated}
    methods["step"] = torch.no_grad()(inspect.unwrap(optimiser.step))
    return type(optimiser.__name__, (optimiser,), methods)


def _like(parameter: nn.Parameter, value: Tensor) -> Tensor:
    """Return a copy of `value` with the parameter's strides: the fused kernels read both memories in parallel."""
    if value.shape != parameter.shape:
        return value.clone()
    return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
