"""The optimiser checks: a right one passes them all, and each way to be wrong is named by its check."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from broken import broken, name_all
from cartpole_dqn.contracts.parts import Context, Optimiser, State


class PlainOptimiser(Optimiser):
    """Gradient descent with momentum; the learning rate falls by 1% a step."""

    rate = 0.05

    def __init__(self, options: Any, context: Context) -> None:
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

StepsUnattached = broken(
    PlainOptimiser, step=lambda self: None if self.parameters is None else PlainOptimiser.step(self)
)
MovesOnlyTheFirst = broken(PlainOptimiser, attach=lambda self, parameters: PlainOptimiser.attach(self, parameters[:1]))
Climbs = broken(PlainOptimiser, move=lambda self, parameter, momentum: parameter.add_(self.lr * momentum))
ReplacesMemory = broken(
    PlainOptimiser, move=lambda self, parameter, momentum: setattr(parameter, "data", parameter - self.lr * momentum)
)
KeepsGradients = broken(PlainOptimiser, zero_grad=lambda self: None)
RateOfNothing = broken(PlainOptimiser, lr=property(lambda self: max(0.0, self.rate * (1 - self.steps / 5))))
RateIsATensor = broken(PlainOptimiser, lr=property(lambda self: torch.tensor(self.rate)))


class DecaysTheIdle(PlainOptimiser):
    """Weight decay moves parameters that were not used at all."""

    @torch.no_grad()
    def step(self) -> None:
        super().step()
        for parameter in self.parameters or ():
            parameter.mul_(0.999)


class ForgetsMomentum(PlainOptimiser):
    def load_state_dict(self, state: State) -> None:
        super().load_state_dict(state)
        self.momentum = [torch.zeros_like(momentum) for momentum in self.momentum]


name_all(globals())
RIGHT = [PlainOptimiser]
TABLE = [
    # (class, the check that names the fault, words of its message)
    (StepsUnattached, "check_attaching", "before attach(parameters) passed"),
    (MovesOnlyTheFirst, "check_parameters_move", "1 of 2 parameters had not moved"),
    (Climbs, "check_parameters_move", "expected less"),
    (ReplacesMemory, "check_parameters_move", "move them in place"),
    (DecaysTheIdle, "check_only_attached_parameters_move", "without a gradient moved"),
    (KeepsGradients, "check_zero_grad", "there are gradients"),
    (RateOfNothing, "check_learning_rate", "lr before step 6 is 0.0"),
    (RateIsATensor, "check_learning_rate", "expected a finite float"),
    (ForgetsMomentum, "check_state_round_trip", "['parameters'][0]"),
]
