"""`Level`: one of the two learners of a deep hierarchy: a network with its target, optimiser and replay.

* `LevelOptions`: the parts and numbers of one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor

from cartpole_dqn import (
    Batch,
    Context,
    DivergedError,
    Network,
    Optimiser,
    Part,
    ReplayBuffer,
    State,
    TargetUpdate,
    UserError,
    frozen_copy,
    generator_state,
    load_weights,
    restore_generator,
)
from cartpole_dqn_hdqn.goals import Mask, Obs


@dataclass(frozen=True, kw_only=True)
class LevelOptions:
    """What a level is made of, taken from the agent's options."""

    network: Part
    replay: Part
    target_update: Part
    optimiser: Part
    gamma: float
    double: bool
    batch_size: int
    learning_starts: int


class Level:
    """Learns by one-step lookahead from batches of its replay, as deep Q-learning does (Mnih et al. 2015).

    Args:
        options: its parts and numbers.
        context: the agent's.
        seen: what this level observes.
        chosen: what it chooses from: actions or goals.
        available: next observations [B, ...] -> what may be chosen there, where the replay keeps no masks; None: all.
        name: "meta" or "controller": names its branches of randomness, and stands in errors.
    """

    def __init__(
        self,
        options: LevelOptions,
        context: Context,
        *,
        seen: spaces.Box,
        chosen: spaces.Discrete,
        available: Callable[[Obs], Mask] | None = None,
        name: str,
    ) -> None:
        self._name = name
        self._options = options
        self._available = available
        spaces_of_level = {"observation_space": seen, "action_space": chosen}

        def build(kind: str, table: Part, **changes: float) -> Any:
            return context.build(kind, table, name=f"{name}-{kind}", **spaces_of_level, **changes)

        self.network: Network = build("network", options.network).to(context.device)
        self.target = frozen_copy(self.network)
        self.optimiser: Optimiser = build("optimiser", options.optimiser)
        self.optimiser.attach(list(self.network.parameters()))
        self.replay: ReplayBuffer = build("replay", options.replay, gamma=options.gamma, n_step=1)
        self._target_update: TargetUpdate = build("target-update", options.target_update)
        self._noise_generator = context.seeds.torch(f"{name}-noise")
        self._learn_from = max(options.batch_size, options.learning_starts)
        self.updates = 0

    def resample_noise(self) -> None:
        """Draw new noise for the online network, where it has any: before each act."""
        self.network.resample_noise(self._noise_generator)

    def require_room(self) -> int:
        """Return how many transitions the first update needs. Raises `UserError` if the replay cannot hold them."""
        if self._learn_from > self.replay.capacity:
            raise UserError(
                f"the {self._name}'s first update needs {self._learn_from:,} transitions, the larger of "
                f"agent.learning_starts and agent.{self._name}_batch_size, and its replay has room for "
                f"{self.replay.capacity:,}: set a larger agent.{self._name}_replay.capacity, or smaller numbers there."
            )
        return self._learn_from

    def learn(self, updates: int) -> tuple[float, float] | None:
        """Make so many updates and return (loss, mean value) of the last; None while the replay holds too little.

        Raises:
            DivergedError: the loss is no longer finite.
        """
        if not self.replay.has_enough(self._learn_from):
            return None
        figures = None
        for _ in range(updates):
            figures = self._update()
        return figures

    def after_episode(self, episodes: int) -> None:
        """Tell the target update that an episode ended."""
        self._target_update.after_episode(self.network, self.target, episodes)

    def _update(self) -> tuple[float, float]:
        batch = self.replay.sample(self._options.batch_size)
        self.resample_noise()
        output = self.network(batch.obs)
        next_output, next_actions = self._look_ahead(batch)
        losses, td_errors = self.network.td_loss(output, next_output, next_actions, batch)
        loss = (losses * batch.weights).mean()
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        figures = loss.item(), self.network.q_values(output.detach()).mean().item()
        if not math.isfinite(figures[0]):
            raise DivergedError(
                f"the {self._name}'s loss became {figures[0]} at its update {self.updates + 1}: rewards or "
                f"observations may not be finite, or the learning rate ({self.optimiser.lr:g}) is too high."
            )
        self.optimiser.step()
        self.updates += 1
        self.replay.update_priorities(batch.indices, td_errors)
        self._target_update.after_update(self.network, self.target, self.updates)
        return figures

    @torch.no_grad()
    def _look_ahead(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the target network's output at the next observations and the choices [B] to read there.

        No gradient flows through the target of the update: it stands for what is to be learned.
        """
        self.target.resample_noise(self._noise_generator)
        next_output = self.target(batch.next_obs)
        if self._options.double:
            values = self.network.q_values(self.network(batch.next_obs))
        else:
            values = self.target.q_values(next_output)
        mask = batch.next_mask
        if mask is None and self._available is not None:
            mask = torch.from_numpy(self._available(batch.next_obs.cpu().numpy())).to(values.device)
        if mask is not None:
            values = values.masked_fill(~mask, -math.inf)
        return next_output, values.argmax(1)

    def state_dict(self) -> State:
        """Everything but what the replay stores and the online network's weights, which `Values` has."""
        return {
            "target": dict(self.target.state_dict()),
            "optimiser": self.optimiser.state_dict(),
            "target_update": self._target_update.state_dict(),
            "replay": self.replay.small_state_dict(),
            "noise_generator": generator_state(self._noise_generator),
            "updates": self.updates,
        }

    def load_state_dict(self, state: State) -> None:
        """Take over what `state_dict` returned. Raises `ValueError` where weights do not fit."""
        load_weights(self.target, state["target"])
        self.optimiser.load_state_dict(state["optimiser"])
        self._target_update.load_state_dict(state["target_update"])
        self.replay.load_small_state_dict(state["replay"])
        restore_generator(self._noise_generator, state["noise_generator"])
        self.updates = int(state["updates"])
