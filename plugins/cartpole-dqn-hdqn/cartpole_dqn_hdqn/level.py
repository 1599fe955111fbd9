"""`Level`: one of the two learners of a deep hierarchy: a network with its target, optimiser and replay.

* `HdqnOptions`: what can be set of the hierarchy and of both levels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

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
    option,
    options_class,
    part,
    restore_generator,
)
from cartpole_dqn_hdqn.goals import Mask, Obs
from cartpole_dqn_hdqn.hierarchy import HierarchyOptions


@options_class
class HdqnOptions(HierarchyOptions):
    """Options of `HdqnAgent`."""

    double: bool = option(
        default=False, effect="let the online networks choose what the target networks value, on both levels"
    )
    controller_batch_size: int = option(
        default=128, ge=1, effect="steps an update of the controller learns from", typical="32 to 128"
    )
    meta_batch_size: int = option(
        default=128, ge=1, effect="goals an update of the meta-controller learns from", typical="32 to 128"
    )
    learning_starts: int = option(
        default=0,
        ge=0,
        effect="transitions a level keeps before its first update, at least a batch",
        typical="0 to 1000",
    )
    train_every: int = option(default=1, ge=1, effect="environment steps between rounds of updates", typical="1 to 8")
    controller_updates: int = option(default=1, ge=0, effect="the controller's updates in a round", typical="1")
    meta_updates: int = option(default=1, ge=0, effect="the meta-controller's updates in a round", typical="1")
    policy: Literal["online", "target"] = option(
        default="online",
        effect="whose weights act in evaluation and are kept: a soft target is an average over updates",
    )
    controller_network: Part = part("network", "mlp", effect="reads the goal and the observation, values actions")
    meta_network: Part = part("network", "mlp", effect="reads the observation, values goals")
    controller_replay: Part = part("replay", "uniform", capacity=100_000)
    meta_replay: Part = part("replay", "uniform", capacity=100_000)
    controller_target_update: Part = part("target-update", "soft", tau=0.01)
    meta_target_update: Part = part("target-update", "soft", tau=0.01)
    controller_optimiser: Part = part("optimiser", "rmsprop", lr=2.5e-4)
    meta_optimiser: Part = part("optimiser", "rmsprop", lr=2.5e-4)


class Level:
    """Learns by one-step lookahead from batches of its replay, as deep Q-learning does (Mnih et al. 2015).

    Args:
        name: selects its options, names its branches of randomness, and stands in errors.
        options: its own begin with its name.
        context: the agent's.
        seen: what this level observes.
        chosen: what it chooses from: actions or goals.
        available: next observations [B, ...] -> what may be chosen there, where the replay keeps no masks; None: all.
    """

    def __init__(
        self,
        name: Literal["controller", "meta"],
        options: HdqnOptions,
        context: Context,
        *,
        seen: spaces.Box,
        chosen: spaces.Discrete,
        available: Callable[[Obs], Mask] | None = None,
    ) -> None:
        self._name = name
        self._double = options.double
        self._available = available
        self._batch_size: int = getattr(options, f"{name}_batch_size")
        gamma: float = getattr(options, f"{name}_gamma")

        def build(kind: str, **changes: float) -> Any:
            table: Part = getattr(options, f"{name}_{kind.replace('-', '_')}")
            where: dict[str, Any] = {"observation_space": seen, "action_space": chosen, **changes}
            return context.build(kind, table, name=f"{name}-{kind}", **where)

        self.network: Network = build("network").to(context.device)
        self.target = frozen_copy(self.network)
        self.optimiser: Optimiser = build("optimiser")
        self.optimiser.attach(list(self.network.parameters()))
        self.replay: ReplayBuffer = build("replay", gamma=gamma, n_step=1)
        self._target_update: TargetUpdate = build("target-update")
        self._noise_generator = context.seeds.torch(f"{name}-noise")
        self._learn_from: int = max(self._batch_size, options.learning_starts)
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
        batch = self.replay.sample(self._batch_size)
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
        if self._double:
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
