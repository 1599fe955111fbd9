"""`Nesterov`: the optimiser `acme`; `NesterovOptions`: its options."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from cartpole_dqn import Context, Optimiser, State, option, options_class
from torch import nn


@options_class
class NesterovOptions:
    lr: float = option(default=0.01, gt=0, effect="learning rate", typical="0.001 to 0.1")
    momentum: float = option(default=0.9, ge=0, lt=1, effect="fraction of the last step that is kept", typical="0.9")


class Nesterov(Optimiser):
    """Gradient descent with Nesterov's momentum."""

    Options = NesterovOptions
    _sgd: torch.optim.Optimizer

    def __init__(self, options: NesterovOptions, context: Context) -> None:
        self._options = options

    def attach(self, parameters: Sequence[nn.Parameter]) -> None:
        momentum = self._options.momentum
        self._sgd = torch.optim.SGD(parameters, self._options.lr, momentum=momentum, nesterov=momentum > 0)

    def zero_grad(self) -> None:
        self._sgd.zero_grad()

    def step(self) -> None:
        self._sgd.step()

    @property
    def lr(self) -> float:
        return self._options.lr

    def state_dict(self) -> State:
        return {"moments": dict(self._sgd.state_dict()["state"])}

    def load_state_dict(self, state: State) -> None:
        self._sgd.load_state_dict({**self._sgd.state_dict(), "state": state["moments"]})
