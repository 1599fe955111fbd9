"""The contract of `Optimiser`: it turns gradients into steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from cartpole_dqn.contracts.parts import Optimiser
from cartpole_dqn.contracts.seeding import SeedTree, seeded_torch
from cartpole_dqn.testing._contract import Contract, Subject
from cartpole_dqn.testing._course import DETERMINISTIC, OPTIONS, Course
from cartpole_dqn.testing._spaces import context, devices


class Descent(Course):
    """A linear regression, and the optimiser that solves it."""

    part: Optimiser

    def __init__(self, part: Subject, device: str = "cpu", seed: int = 0) -> None:
        generator = SeedTree(0).torch("data")
        self.inputs = torch.randn(16, 3, generator=generator).to(device)
        self.goals = 3 * torch.randn(16, 2, generator=generator).to(device)
        with seeded_torch(0):
            self.model = nn.Linear(3, 2).to(device)
        self.part = part.build(context(device=device))
        self.part.attach(self.parameters)

    @property
    def parameters(self) -> list[nn.Parameter]:
        return list(self.model.parameters())

    def loss(self) -> Tensor:
        return nn.functional.mse_loss(self.model(self.inputs), self.goals)

    def step(self, times: int = 1) -> list[float]:
        """Take steps; return the learning rate before each."""
        rates = []
        for _ in range(times):
            self.part.zero_grad()
            self.loss().backward()  # type: ignore[no-untyped-call]
            rates.append(self.part.lr)
            self.part.step()
        return rates

    def weights(self) -> list[Tensor]:
        return [parameter.detach().clone() for parameter in self.parameters]

    def plan(self) -> tuple[int, Iterable[int]]:
        return 20, (0, 1, 7)

    def go(self, steps: int) -> dict[str, Any]:
        return {"lr": self.step(steps), "parameters": self.weights()}


OPTIMISER = Contract("optimiser", Descent, OPTIONS)


def check_optimiser(cls: Callable[..., Optimiser], /, **options: object) -> None:
    """Run every check of an optimiser."""
    OPTIMISER.hold(cls, **options)


@OPTIMISER.check
def check_attaching(part: Subject) -> None:
    """A step before `attach` raises an exception."""
    optimiser = part.build(context())
    try:
        optimiser.step()
    except Exception:
        return
    raise AssertionError("step() before attach(parameters) passed: it moves nothing, and should say so.")


@OPTIMISER.check
def check_parameters_move(part: Subject) -> None:
    """Steps change every attached parameter in place, on any device, and the loss falls."""
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
def check_only_attached_parameters_move(part: Subject) -> None:
    """Parameters that are not attached, or have no gradient, do not change."""
    descent = Descent(part)
    bystander, idle = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    descent.part = part.build(context())
    descent.part.attach([*descent.parameters, idle])
    bystander.grad = torch.ones(2)
    descent.step(3)
    assert bool((bystander == 1).all()), "a parameter that was never attached moved."
    assert bool((idle == 1).all()), "a parameter without a gradient moved."


@OPTIMISER.check
def check_zero_grad(part: Subject) -> None:
    """`zero_grad` removes every gradient, so that none is used twice."""
    descent = Descent(part)
    descent.step()
    descent.part.zero_grad()
    assert all(p.grad is None or not bool(p.grad.any()) for p in descent.parameters), (
        "after zero_grad there are gradients: they would be added to the next ones."
    )


@OPTIMISER.check
def check_learning_rate(part: Subject) -> None:
    """`lr` is a finite float above 0 before each of the first steps."""
    for number, rate in enumerate(Descent(part).step(20), start=1):
        fits = isinstance(rate, float) and 0 < rate < math.inf
        assert fits, f"lr before step {number} is {rate!r}: expected a finite float above 0."


OPTIMISER.share(DETERMINISTIC)
