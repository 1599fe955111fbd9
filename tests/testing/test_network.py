"""The network checks: three right networks pass them all, and each way to be wrong is named by its check."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor, nn

from broken import after, broken, name_all
from cartpole_dqn.components.networks import TutorialConv
from cartpole_dqn.contracts.options import option, options_class
from cartpole_dqn.contracts.parts import Batch, Context, Network
from cartpole_dqn.contracts.seeding import seeded_torch
from cartpole_dqn.errors import UserError
from cartpole_dqn.testing import check_network


@options_class
class PlainOptions:
    hidden: int = option(default=16, ge=1, effect="units of the hidden layer")


class PlainNetwork(Network):
    """One hidden layer, for anything of up to a hundred numbers."""

    Options: ClassVar[type] = PlainOptions

    def __init__(self, options: Any, context: Context) -> None:
        super().__init__(context)
        inputs = math.prod(context.observation_space.shape)
        if inputs > 100:
            raise UserError(f"PlainNetwork takes 100 numbers at most, got {inputs}.")
        self.body = nn.Linear(inputs, getattr(options, "hidden", 16))
        self.head = nn.Linear(self.body.out_features, self.num_actions)

    def features(self, obs: Tensor) -> Tensor:
        return torch.tanh(self.body(self.scale(obs).flatten(1)))

    def forward(self, obs: Tensor) -> Tensor:
        output: Tensor = self.head(self.features(obs))
        return output


class NoisyNetwork(PlainNetwork):
    """Explores by noise on its features, in training only."""

    noise: Tensor

    def __init__(self, options: Any, context: Context) -> None:
        super().__init__(options, context)
        self.sigma = nn.Parameter(torch.full((self.body.out_features,), 0.1))
        self.register_buffer("noise", torch.zeros(self.body.out_features))

    def features(self, obs: Tensor) -> Tensor:
        features = super().features(obs)
        return features + self.sigma * self.noise if self.training else features

    def resample_noise(self, generator: torch.Generator) -> None:
        self.noise.copy_(torch.randn(self.noise.shape, generator=generator))


# Broken ones: each in one way -----------------------------------------------------------------------------------------


class RefusesEverything(PlainNetwork):
    def __init__(self, options: Any, context: Context) -> None:
        raise UserError("not today.")


class OneValueTooMany(PlainNetwork):
    def __init__(self, options: Any, context: Context) -> None:
        super().__init__(options, context)
        self.head = nn.Linear(self.body.out_features, self.num_actions + 1)


DoubleValues = after(PlainNetwork, "forward", lambda output: output.double())
SqueezesSingles = after(PlainNetwork, "forward", lambda output: output.squeeze(0))
CentresTheBatch = after(PlainNetwork, "forward", lambda output: output - output.mean(0) / 2)
DetachedBody = after(PlainNetwork, "features", lambda features: features.detach())
ForgetsToScale = broken(PlainNetwork, features=lambda self, obs: torch.relu(self.body(obs.flatten(1).float())))
MeanLoss = after(PlainNetwork, "td_loss", lambda given: (given[0].mean(), given[1]))
AttachedErrors = after(PlainNetwork, "td_loss", lambda given: (given[0], given[0]))
DetachedLoss = after(PlainNetwork, "td_loss", lambda given: (given[0].detach(), given[1]))
RanksLosses = after(
    PlainNetwork, "td_loss", lambda given: (given[0] * torch.linspace(1, 2, len(given[0])).to(given[0]), given[1])
)


def learning_from(change: Callable[[Batch], dict[str, Tensor]]) -> Any:
    """A network whose loss changes some fields of the batch."""

    def td_loss(self: Network, *given: Any) -> tuple[Tensor, Tensor]:
        return PlainNetwork.td_loss(self, *given[:3], dataclasses.replace(given[3], **change(given[3])))

    return broken(PlainNetwork, td_loss=td_loss)


AlwaysBootstraps = learning_from(lambda batch: {"discounts": torch.full_like(batch.discounts, 0.9)})
NeverBootstraps = learning_from(lambda batch: {"discounts": torch.zeros_like(batch.discounts)})
TeachesAnotherAction = learning_from(lambda batch: {"actions": (batch.actions + 1) % 4})
ChoosesForItself = broken(
    PlainNetwork, td_loss=lambda self, q, after, _, batch: PlainNetwork.td_loss(self, q, after, after.argmax(1), batch)
)


class NormalisesTheBatch(PlainNetwork):
    """BatchNorm over a batch of one cannot be."""

    def __init__(self, options: Any, context: Context) -> None:
        super().__init__(options, context)
        self.norm = nn.BatchNorm1d(self.body.out_features)

    def features(self, obs: Tensor) -> Tensor:
        features: Tensor = self.norm(super().features(obs))
        return features


class SharedWithCopies(PlainNetwork):
    """A copy keeps the same layer."""

    def __deepcopy__(self, memo: dict[int, Any]) -> SharedWithCopies:
        clone = self.__class__.__new__(self.__class__)
        nn.Module.__init__(clone)
        clone.__dict__.update({key: value for key, value in self.__dict__.items() if key != "_modules"})
        clone.body, clone.head = self.body, self.head
        return clone


class CountsCalls(PlainNetwork):
    calls: Tensor

    def __init__(self, options: Any, context: Context) -> None:
        super().__init__(options, context)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, obs: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(obs)


class LooseTensor(PlainNetwork):
    def __init__(self, options: Any, context: Context) -> None:
        super().__init__(options, context)
        self.factor = torch.tensor(2.0)

    def forward(self, obs: Tensor) -> Tensor:
        return super().forward(obs) * self.factor


class OwnGenerator(PlainNetwork):
    """Draws noise in `forward`, from a generator that is not saved."""

    def forward(self, obs: Tensor) -> Tensor:
        output = super().forward(obs)
        if self.training:
            with seeded_torch(self.draws):
                output = output + 0.1 * torch.randn(self.num_actions, device=output.device)
        return output

    draws = 0

    def resample_noise(self, generator: torch.Generator) -> None:
        self.draws += 1


class ShiftOutsideTheState(PlainNetwork):
    """Its running mean of the inputs is no buffer."""

    shift = 0.0

    def features(self, obs: Tensor) -> Tensor:
        if self.training:
            self.shift = 0.9 * self.shift + 0.1 * float(self.scale(obs).mean())
        return torch.tanh(self.body(self.scale(obs).flatten(1) - self.shift))


Dropout = broken(
    PlainNetwork, features=lambda self, obs: torch.dropout(PlainNetwork.features(self, obs), 0.3, self.training)
)
name_all(globals())

RIGHT = [PlainNetwork, NoisyNetwork, TutorialConv]
TABLE = [
    # (class, the check that names the fault, words of its message)
    (RefusesEverything, "check_output_shapes", "refused every observation space"),
    (OneValueTooMany, "check_output_shapes", "returned a tensor float32 [2, 5], expected a tensor float32 [2, 4]"),
    (DoubleValues, "check_output_shapes", "returned a tensor float64 [2, 4], expected a tensor float32 [2, 4]"),
    (SqueezesSingles, "check_single_observations", "returned a tensor float32 [4], expected a tensor float32 [1, 4]"),
    (NormalisesTheBatch, "check_single_observations", "Expected more than 1 value"),
    (ForgetsToScale, "check_integers_are_scaled", "call self.scale(obs)"),
    (MeanLoss, "check_loss", "expected [1], got []"),
    (AttachedErrors, "check_loss", "detach it"),
    (DetachedLoss, "check_loss", "no gradients"),
    (DetachedBody, "check_gradients", "no gradient reached body.bias, body.weight"),
    (AlwaysBootstraps, "check_terminal_steps", "must not bootstrap"),
    (NeverBootstraps, "check_terminal_steps", "counts for nothing"),
    (ChoosesForItself, "check_next_actions", "whatever next_actions are"),
    (TeachesAnotherAction, "check_loss_teaches", "expected half"),
    (CentresTheBatch, "check_rows_stay_apart", "depends on the others"),
    (RanksLosses, "check_rows_stay_apart", "its place among them"),
    (SharedWithCopies, "check_target_copy", "shares tensors"),
    (CountsCalls, "check_target_copy", "changed its state: ['calls']"),
    (LooseTensor, "check_buffers_are_registered", "factor is a plain attribute"),
    (Dropout, "check_global_randomness", "state of torch"),
    (OwnGenerator, "check_noise", "equal generators"),
    (ShiftOutsideTheState, "check_state_round_trip", "continued differently"),
]


def test_the_space_can_be_given() -> None:
    check_network(PlainNetwork, spaces.Box(0, 1, (3, 3), np.float32), hidden=8)
    with pytest.raises(AssertionError, match="takes 100 numbers at most, got 128"):
        check_network(PlainNetwork, spaces.Box(0, 1, (128,), np.float32))
