"""The contract of `Optimiser`: gradients become steps.

* `check_optimiser`: every check of the kind.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from cartpole_dqn.contracts.parts import Optimiser, State
from cartpole_dqn.contracts.seeding import SeedTree
from cartpole_dqn.testing._contract import Contract
from cartpole_dqn.testing._course import DETERMINISTIC, Course, Lasting
from cartpole_dqn.testing._options import SHARED
from cartpole_dqn.testing._spaces import context, devices


class OptimiserSubject(Lasting[Optimiser]):
    """An optimiser class."""

    saved_after = (0, 1, 7)
    steps = 20

    def course(self, seed: int = 0) -> Descent:
        """See `Lasting`."""
        return Descent(self)


OPTIMISER: Contract[OptimiserSubject] = Contract("optimiser", OptimiserSubject, SHARED)


def check_optimiser(cls: Callable[..., Optimiser], /, **options: object) -> None:
    """Hold an optimiser to its contract."""
    OPTIMISER.hold(cls, **options)


class Descent(Course):
    """A regression with made-up data, and an optimiser on its way down."""

    def __init__(self, part: OptimiserSubject, device: str = "cpu") -> None:
        generator = SeedTree(0).torch("data")
        shapes = ((3, 2), (2,))
        start = [torch.randn(shape, generator=generator).to(device) for shape in shapes]
        self.parameters = [nn.Parameter(tensor) for tensor in start]
        self.inputs = torch.randn(16, 3, generator=generator).to(device)
        self.goals = 3 * torch.randn(16, 2, generator=generator).to(device)
        self.optimiser = part.build(context(device=device))
        self.optimiser.attach(list(self.parameters))

    def loss(self) -> Tensor:
        """Mean squared error."""
        weight, bias = self.parameters
        return (self.inputs @ weight + bias - self.goals).square().mean()

    def step(self, times: int = 1) -> list[float]:
        """Take steps; return the learning rate before each."""
        rates = []
        for _ in range(times):
            self.optimiser.zero_grad()
            self.loss().backward()  # type: ignore[no-untyped-call]
            rates.append(self.optimiser.lr)
            self.optimiser.step()
        return rates

    def weights(self) -> list[Tensor]:
        """A copy of the parameters."""
        return [parameter.detach().clone() for parameter in self.parameters]

    def go(self, steps: int) -> dict[str, Any]:
        """See `Course`."""
        return {"lr": self.step(steps), "parameters": self.weights()}

    def state(self) -> State:
        """See `Course`."""
        return self.optimiser.state_dict()

    @torch.no_grad()
    def take_over(self, state: State, other: Descent) -> None:
        """See `Course`."""
        for parameter, value in zip(self.parameters, other.parameters, strict=True):
            parameter.copy_(value)
        self.optimiser.load_state_dict(state)


@OPTIMISER.check
def check_attaching(part: OptimiserSubject) -> None:
    """A step before `attach` is an error, not a silent nothing."""
    optimiser = part.build(context())
    try:
        optimiser.step()
    except Exception:
        return
    raise AssertionError("step() before attach(parameters) passed: it moves nothing, and should say so.")


@OPTIMISER.check
def check_parameters_move(part: OptimiserSubject) -> None:
    """Steps move every attached parameter in place, on any device, and the loss falls."""
    for device in devices():
        descent = Descent(part, device)
        before, start, tensors = descent.weights(), descent.loss().item(), [p.data_ptr() for p in descent.parameters]
        descent.step(50)
        still = [i for i, (a, b) in enumerate(zip(before, descent.parameters, strict=True)) if torch.equal(a, b)]
        assert not still, f"after 50 steps {len(still)} of 2 parameters had not moved."
        assert [p.data_ptr() for p in descent.parameters] == tensors, "parameters were replaced: move them in place."
        assert all(p.requires_grad and p.is_leaf for p in descent.parameters), "parameters no longer take gradients."
        end = descent.loss().item()
        assert end < start, f"50 steps took the loss from {start:.6g} to {end:.6g}: expected less."


@OPTIMISER.check
def check_only_attached_parameters_move(part: OptimiserSubject) -> None:
    """Parameters that were not attached, or have no gradient, stay."""
    descent = Descent(part)
    bystander, idle = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimiser = part.build(context())
    optimiser.attach([*descent.parameters, idle])
    bystander.grad = torch.ones(2)
    descent.optimiser = optimiser
    descent.step(3)
    assert bool((bystander == 1).all()), "a parameter that was never attached moved."
    assert bool((idle == 1).all()), "a parameter without a gradient moved."


@OPTIMISER.check
def check_zero_grad(part: OptimiserSubject) -> None:
    """`zero_grad` leaves no gradient behind, so that none is counted twice."""
    descent = Descent(part)
    descent.step()
    descent.optimiser.zero_grad()
    assert all(p.grad is None or not bool(p.grad.any()) for p in descent.parameters), (
        "after zero_grad there are gradients: they would be added to the next ones."
    )


@OPTIMISER.check
def check_learning_rate(part: OptimiserSubject) -> None:
    """`lr` is a finite float above 0 before each of the first steps."""
    for number, rate in enumerate(Descent(part).step(20), start=1):
        fits = isinstance(rate, float) and 0 < rate < math.inf
        assert fits, f"lr before step {number} is {rate!r}: expected a finite float above 0."


OPTIMISER.share(DETERMINISTIC)
