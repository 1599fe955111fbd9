"""The optimiser checks: a right one passes them all, and each way to be wrong is named by its check."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pydantic
import pytest
import torch
from torch import Tensor, nn

from cartpole_dqn.contracts.options import option, options_class
from cartpole_dqn.contracts.parts import Context, Optimiser, State
from cartpole_dqn.testing import check_optimiser, checks_for, run_checks


@options_class
class PlainOptions:
    rate: float = option(default=0.05, gt=0, effect="learning rate at the first step")


class PlainOptimiser(Optimiser):
    """Gradient descent with momentum; the learning rate falls by 1% a step."""

    Options: ClassVar[type] = PlainOptions

    def __init__(self, options: Any, context: Context) -> None:
        self.rate: float = options.rate
        self.steps = 0
        self.parameters: list[nn.Parameter] | None = None
        self.momentum: list[Tensor] = []

    def attach(self, parameters: Sequence[nn.Parameter]) -> None:
        self.parameters = list(parameters)
        self.momentum = [torch.zeros_like(parameter) for parameter in parameters]

    def zero_grad(self) -> None:
        for parameter in self.parameters or ():
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        if self.parameters is None:
            raise RuntimeError("call attach first.")
        for parameter, momentum in zip(self.parameters, self.momentum, strict=True):
            if parameter.grad is not None:
                momentum.mul_(0.5).add_(parameter.grad)
                self.move(parameter, momentum)
        self.steps += 1

    def move(self, parameter: nn.Parameter, momentum: Tensor) -> None:
        parameter.sub_(self.lr * momentum)

    @property
    def lr(self) -> float:
        return float(self.rate * 0.99**self.steps)

    def state_dict(self) -> State:
        return {"momentum": list(self.momentum), "steps": self.steps}

    def load_state_dict(self, state: State) -> None:
        self.steps = state["steps"]
        for momentum, saved in zip(self.momentum, state["momentum"], strict=True):
            momentum.copy_(saved)


# Broken ones: each in one way -----------------------------------------------------------------------------------------


class NoOptions(PlainOptimiser):
    Options = int


class LaxOptions(PlainOptimiser):
    @pydantic.dataclasses.dataclass(frozen=True)
    class Options:
        rate: float = option(default=0.05, effect="learning rate")


class StepsUnattached(PlainOptimiser):
    def step(self) -> None:
        if self.parameters is not None:
            super().step()


class MovesOnlyTheFirst(PlainOptimiser):
    def attach(self, parameters: Sequence[nn.Parameter]) -> None:
        super().attach(parameters[:1])

    def zero_grad(self) -> None:
        super().zero_grad()


class Climbs(PlainOptimiser):
    def move(self, parameter: nn.Parameter, momentum: Tensor) -> None:
        parameter.add_(self.lr * momentum)


class ReplacesMemory(PlainOptimiser):
    def move(self, parameter: nn.Parameter, momentum: Tensor) -> None:
        parameter.data = parameter - self.lr * momentum


class DecaysTheIdle(PlainOptimiser):
    """Weight decay moves parameters that were not used at all."""

    @torch.no_grad()
    def step(self) -> None:
        super().step()
        for parameter in self.parameters or ():
            parameter.mul_(0.999)


class KeepsGradients(PlainOptimiser):
    def zero_grad(self) -> None:
        pass


class RateOfNothing(PlainOptimiser):
    @property
    def lr(self) -> float:
        return max(0.0, self.rate * (1 - self.steps / 5))


class RateIsATensor(PlainOptimiser):
    @property
    def lr(self) -> float:
        return torch.tensor(self.rate)  # type: ignore[return-value]


class Noisy(PlainOptimiser):
    def move(self, parameter: nn.Parameter, momentum: Tensor) -> None:
        super().move(parameter, momentum + 1e-3 * torch.randn_like(momentum))


class ForgetsMomentum(PlainOptimiser):
    def load_state_dict(self, state: State) -> None:
        super().load_state_dict(state)
        self.momentum = [torch.zeros_like(momentum) for momentum in self.momentum]


class ForgetsTheSchedule(PlainOptimiser):
    def load_state_dict(self, state: State) -> None:
        super().load_state_dict({**state, "steps": 0})


class StateOfParameters(PlainOptimiser):
    def state_dict(self) -> State:
        return {**super().state_dict(), "parameters": self.parameters and {p: p.grad for p in self.parameters}}


TABLE = [
    # (class, the check that names the fault, words of its message, other checks that fail for the same reason)
    (NoOptions, "check_options_are_declared", "int is no options class", "*"),
    (LaxOptions, "check_bad_options_are_refused", "option rate takes True", ""),
    (StepsUnattached, "check_attaching", "before attach(parameters) passed", ""),
    (MovesOnlyTheFirst, "check_parameters_move", "1 of 2 parameters had not moved", "check_zero_grad"),
    (Climbs, "check_parameters_move", "expected less", ""),
    (ReplacesMemory, "check_parameters_move", "move them in place", ""),
    (DecaysTheIdle, "check_only_attached_parameters_move", "without a gradient moved", ""),
    (KeepsGradients, "check_zero_grad", "there are gradients", "check_parameters_move check_state_round_trip"),
    (RateOfNothing, "check_learning_rate", "lr before step 6 is 0.0", ""),
    (RateIsATensor, "check_learning_rate", "expected a finite float", ""),
    (Noisy, "check_determinism", "state of torch", "check_state_round_trip"),
    (ForgetsMomentum, "check_state_round_trip", "parameters[0]", ""),
    (ForgetsTheSchedule, "check_state_round_trip", "lr[0]", ""),
    (StateOfParameters, "check_state_round_trip", "has the key Parameter", ""),
]


@pytest.mark.parametrize("check", checks_for("optimiser"), ids=lambda check: check.__name__)
def test_a_right_optimiser_passes(check: Any) -> None:
    check(PlainOptimiser)


@pytest.mark.parametrize(("cls", "name", "words", "also"), TABLE, ids=lambda value: getattr(value, "__name__", None))
def test_a_fault_is_named(cls: type[Optimiser], name: str, words: str, also: str) -> None:
    failed = {result.name: result.message for result in run_checks("optimiser", cls) if not result.passed}
    assert words in failed.get(name, "")
    assert also == "*" or failed.keys() == {name, *also.split()}


def test_every_check_has_a_fault_that_it_names() -> None:
    assert {name for _, name, *_ in TABLE} == {check.__name__ for check in checks_for("optimiser")}


def test_all_at_once() -> None:
    check_optimiser(PlainOptimiser, rate=0.01)
    with pytest.raises(AssertionError, match="Climbs fails 1 of 9 checks"):
        check_optimiser(Climbs)
