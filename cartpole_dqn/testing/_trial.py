"""Networks on trial: built in every observation space that they take, fed with random batches.

* `NetworkSubject`: a network class, and the spaces it is tried on.
* `Trial`, `trials`: a new network in one space; one in each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from cartpole_dqn.contracts.parts import Batch, Context, Network
from cartpole_dqn.contracts.seeding import SeedTree
from cartpole_dqn.errors import UserError
from cartpole_dqn.testing._contract import Subject
from cartpole_dqn.testing._spaces import VECTOR, context, random_obs

SPACES = (
    VECTOR,
    spaces.Box(-20, 20, (6,), np.int16),
    spaces.Box(0, 255, (40, 48, 2), np.uint8),
    spaces.Box(-255, 255, (44, 40, 1), np.int16),
)
"""Where a network is tried: it takes at least one, and refuses the others by a `UserError` or a `ValueError`."""


class NetworkSubject(Subject[Network]):
    """A network class; `space` is the only one it is tried on, if given."""

    def __init__(self, cls: Callable[..., Network], space: spaces.Box | None = None, /, **options: Any) -> None:
        super().__init__(cls, **options)
        self.spaces = SPACES if space is None else (space,)


class Trial:
    """A new network in one space, with what it can be asked."""

    def __init__(self, part: NetworkSubject, where: Context) -> None:
        self.context = where
        self.space = where.observation_space
        self.network: Network = part.build(where).to(where.device)
        self._random = SeedTree(0).numpy("trial")
        self.generator = SeedTree(0).torch("noise")

    def obs(self, count: int) -> Tensor:
        """[count, ...] random observations as a replay gives them."""
        return torch.from_numpy(random_obs(self.space, count, self._random)).to(self.context.device)

    def batch(self, count: int) -> Batch:
        """A made-up batch."""
        device, rewards = self.context.device, self._random.standard_normal(count).astype(np.float32)
        actions = self._random.integers(int(self.context.action_space.n), size=count)
        discounts = np.full(count, 0.9, np.float32)
        return Batch(
            obs=self.obs(count),
            actions=torch.from_numpy(actions).to(device),
            rewards=torch.from_numpy(rewards).to(device),
            next_obs=self.obs(count),
            discounts=torch.from_numpy(discounts).to(device),
            weights=torch.ones(count, device=device),
            indices=torch.arange(count, device=device),
        )

    def loss(self, batch: Batch, next_actions: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What `td_loss` makes of the network's own outputs."""
        with torch.no_grad():
            next_output = self.network(batch.next_obs)
        actions = self.network.q_values(next_output).argmax(1) if next_actions is None else next_actions
        return self.network.td_loss(self.network(batch.obs), next_output, actions, batch)

    def shake(self) -> None:
        """Move every parameter a little, so that nothing is 0 because a layer started there."""
        generator = SeedTree(0).torch("shake")
        with torch.no_grad():
            for parameter in self.network.parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator).to(parameter.device))


def trials(part: NetworkSubject, *, device: str = "cpu", seed: int = 0) -> Iterator[Trial]:
    """A network in each space that it takes: at least one."""
    refusals = []
    for space in part.spaces:
        try:
            trial = Trial(part, context(space, device=device, seed=seed))
        except (UserError, ValueError) as error:
            refusals.append(f"{space}: {error}")
            continue
        yield trial
    assert len(refusals) < len(part.spaces), f"it refused every observation space: {' '.join(refusals)}"
