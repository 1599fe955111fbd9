"""How gradients become steps: PyTorch's optimisers with a linear schedule of the learning rate.

* `RmsProp` ("rmsprop"), `Adam` ("adam"), `AdamW` ("adamw").
* `TorchOptimiser`: the base; a subclass makes the `torch.optim` object.
"""

from __future__ import annotations

import abc
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from cartpole_dqn.contracts.options import option, options_class
from cartpole_dqn.contracts.parts import Context, Optimiser, State
from cartpole_dqn.errors import ConfigError

_IMPORTING = ("add_param_group", "state_dict", "load_state_dict")
"""Methods of `torch.optim.Optimizer` that import torch's compiler to be left out by it; its `step` does too."""

Beta = Annotated[float, Field(ge=0, lt=1)]


@options_class
class ScheduleOptions:
    """Options that all optimisers have: the learning rate and its schedule."""

    lr: float = option(default=1e-3, gt=0, effect="learning rate at the first update", typical="0.0001 to 0.001")
    final_lr: float | None = option(
        default=None, ge=0, effect="learning rate that lr moves to along a line, over decay_updates; left out: lr stays"
    )
    decay_updates: int = option(
        default=0, ge=0, effect="updates until final_lr is reached", typical="the run's updates"
    )


class TorchOptimiser(Optimiser):
    """An optimiser of `torch.optim` under the schedule of its options.

    Raises:
        ConfigError: one of final_lr and decay_updates is set without the other.
    """

    def __init__(self, options: ScheduleOptions, context: Context) -> None:
        if (options.final_lr is None) != (options.decay_updates == 0):
            raise ConfigError(
                f"the optimiser has final_lr = {options.final_lr} and decay_updates = {options.decay_updates}: for a "
                f"schedule set both, for a constant learning rate neither."
            )
        self._schedule = options
        self._updates = 0
        self._parameters: list[nn.Parameter] = []
        self._attached: torch.optim.Optimizer | None = None
        self._kernel: _FusedAdam | None = None

    @abc.abstractmethod
    def make(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """Return the `torch.optim` object for `parameters`."""

    def attach(self, parameters: Sequence[nn.Parameter]) -> None:
        """See `Optimiser`. Raises `ValueError` where there are no parameters or some were named before."""
        if self._attached is not None or not parameters:
            raise ValueError("an optimiser is attached once, to one parameter or more.")
        self._parameters = list(parameters)
        self._attached = self.make(self._parameters)

    def zero_grad(self) -> None:
        """See `Optimiser`."""
        # What torch's own zero_grad does too, without its hooks and records, which cost more than the work.
        for parameter in self._parameters:
            parameter.grad = None

    def step(self) -> None:
        """See `Optimiser`."""
        optimiser = self._optimiser
        group = optimiser.param_groups[0]
        if self._schedule.decay_updates:
            group["lr"] = self.lr
        if self._kernel is None or not self._kernel.step(group):
            optimiser.step()
            self._kernel = _FusedAdam.of(optimiser)
        self._updates += 1

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        schedule = self._schedule
        if schedule.final_lr is None:
            return schedule.lr
        return schedule.lr + (schedule.final_lr - schedule.lr) * min(1.0, self._updates / schedule.decay_updates)

    def state_dict(self) -> State:
        """`updates`, and `moments`: for each parameter that moved its number and the tensors kept for it."""
        return {"updates": self._updates, "moments": dict(self._optimiser.state_dict()["state"])}

    def load_state_dict(self, state: State) -> None:
        """Take over what `state_dict` returned; the options stay this optimiser's own.

        Raises:
            ValueError: it was saved for other parameters.
        """
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
    alpha: float = option(default=0.99, ge=0, lt=1, effect="how much of the mean squared gradient is kept each update")
    eps: float = option(default=1e-8, gt=0, effect="added to the denominator", typical="1e-8 to 0.01")
    momentum: float = option(
        default=0.0, ge=0, lt=1, effect="how much of the last step is made again", typical="0 to 0.95"
    )
    centered: bool = option(
        default=False, effect="whether the mean gradient is taken off, so that the variance divides"
    )


class RmsProp(TorchOptimiser):
    """RMSprop (Tieleman and Hinton 2012; centred: Graves 2013). The defaults are PyTorch's."""

    Options = RmsPropOptions

    def __init__(self, options: RmsPropOptions, context: Context) -> None:
        super().__init__(options, context)
        self._options = options

    def make(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """See `TorchOptimiser`."""
        o = self._options
        return _light(torch.optim.RMSprop)(
            parameters, lr=o.lr, alpha=o.alpha, eps=o.eps, momentum=o.momentum, centered=o.centered, foreach=True
        )


@options_class
class AdamOptions(ScheduleOptions):
    """Options of `Adam`."""

    betas: tuple[Beta, Beta] = option(
        default=(0.9, 0.999), effect="how much of the mean and of the mean squared gradient is kept each update"
    )
    eps: float = option(default=1e-8, gt=0, effect="added to the denominator", typical="1e-8 to 1e-4")
    amsgrad: bool = option(
        default=False, effect="whether the largest mean squared gradient so far divides (Reddi et al. 2018)"
    )


class Adam(TorchOptimiser):
    """Adam (Kingma and Ba 2015)."""

    Options = AdamOptions

    def __init__(self, options: AdamOptions, context: Context) -> None:
        super().__init__(options, context)
        self._options = options

    def make(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """See `TorchOptimiser`."""
        o = self._options
        how = _fastest(parameters)
        return _light(torch.optim.Adam)(parameters, lr=o.lr, betas=o.betas, eps=o.eps, amsgrad=o.amsgrad, **how)


@options_class
class AdamWOptions(AdamOptions):
    """Options of `AdamW`."""

    weight_decay: float = option(
        default=0.01, ge=0, effect="share of each weight, times lr, taken off at each update", typical="0 to 0.01"
    )


class AdamW(TorchOptimiser):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    Options = AdamWOptions

    def __init__(self, options: AdamWOptions, context: Context) -> None:
        super().__init__(options, context)
        self._options = options

    def make(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """See `TorchOptimiser`."""
        o = self._options
        return _light(torch.optim.AdamW)(
            parameters,
            lr=o.lr,
            betas=o.betas,
            eps=o.eps,
            amsgrad=o.amsgrad,
            weight_decay=o.weight_decay,
            **_fastest(parameters),
        )


class _FusedAdam:
    """The kernel of torch's fused Adam and AdamW, called with lists made once.

    `torch.optim.Optimizer.step` gathers the same lists anew each time, within records for its profiler: for a network
    of a few layers that takes twice the time of the arithmetic. The tensors are the optimiser's own, so that both ways
    may follow each other.
    """

    def __init__(self, kernel: Callable[..., None], optimiser: torch.optim.Optimizer) -> None:
        self._kernel = kernel
        self._parameters: list[Tensor] = list(optimiser.param_groups[0]["params"])
        states = [optimiser.state[p] for p in self._parameters]
        self._means = [state["exp_avg"] for state in states]
        self._squares = [state["exp_avg_sq"] for state in states]
        self._largest = [state["max_exp_avg_sq"] for state in states if "max_exp_avg_sq" in state]
        self._steps = [state["step"] for state in states]

    @classmethod
    def of(cls, optimiser: torch.optim.Optimizer) -> _FusedAdam | None:
        """Return the kernel for an optimiser that made its first step; None where it is another, or not fused."""
        names = {_light(torch.optim.Adam): "_fused_adam_", _light(torch.optim.AdamW): "_fused_adamw_"}
        name = names.get(type(optimiser))
        kernel = None if name is None else getattr(torch, name, None)
        group = optimiser.param_groups[0]
        ready = group.get("fused") and all(p in optimiser.state and p.device.type == "cpu" for p in group["params"])
        return cls(kernel, optimiser) if kernel is not None and ready else None

    @torch.no_grad()
    def step(self, group: dict[str, Any]) -> bool:
        """Make a step with the settings in `group`; return whether it was made: some gradient may be missing."""
        gradients = [p.grad for p in self._parameters]
        if any(gradient is None for gradient in gradients):
            return False
        torch._foreach_add_(self._steps, 1)
        self._kernel(
            self._parameters,
            gradients,
            self._means,
            self._squares,
            self._largest,
            self._steps,
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=group["amsgrad"],
            maximize=group["maximize"],
            grad_scale=None,
            found_inf=None,
        )
        return True


@functools.cache
def _light(optimiser: type[torch.optim.Optimizer]) -> Callable[..., torch.optim.Optimizer]:
    """Return the class without the wrappers that import torch's compiler: nothing is compiled here.

    That import takes longer than torch's own: without it a run begins in little more than half the time.
    """
    methods = {name: inspect.unwrap(getattr(optimiser, name)) for name in _IMPORTING}
    methods["step"] = torch.no_grad()(inspect.unwrap(optimiser.step))
    return type(optimiser.__name__, (optimiser,), methods)


def _fastest(parameters: list[nn.Parameter]) -> dict[str, Any]:
    """Choose torch's implementation: the same formulas, different rounding in the last bits.

    One fused kernel takes a third of the time of the others for networks of a few layers, on the CPU too.
    """
    fused = all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in parameters)
    return {"fused": True} if fused else {"foreach": True}


def _like(parameter: nn.Parameter, value: Tensor) -> Tensor:
    """Return a copy of `value` with the parameter's strides: the fused kernels walk both memories side by side."""
    if value.shape != parameter.shape:
        return value.clone()
    return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
