"""Deep Q-learning: `DqnAgent` and its options.

Mnih et al. 2015. Double Q-learning (van Hasselt et al. 2016), n-step returns and advantage learning (Bellemare et al.
2016) are options.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cartpole_dqn.agents.augmentation import columns_of, half_mirrored, mirror_of, randomly_shifted
from cartpole_dqn.agents.greedy import GreedyPolicy, ValueUnits
from cartpole_dqn.contracts.options import Part, option, options_class, part
from cartpole_dqn.contracts.parts import (
    Agent,
    Batch,
    Context,
    Exploration,
    Network,
    Obs,
    Optimiser,
    ReplayBuffer,
    State,
    TargetUpdate,
    Transition,
)
from cartpole_dqn.contracts.returned import wrong_return
from cartpole_dqn.contracts.seeding import generator_state, restore_generator
from cartpole_dqn.contracts.weights import frozen_copy, load_weights
from cartpole_dqn.errors import ConfigError, DivergedError, RunError, UserError

_DECAY = 19
"""The exponent of the average's weights: update k of t counts as (k / t)^19, so about the last twentieth counts."""
_LOOK_EVERY = 10
"""Updates between two computations of the mean action value, which take a fair part of a small network's update."""


@options_class
class DqnOptions:
    """Options of the agent `dqn`. `cartpole-dqn plugins show agent/dqn` says what each one does."""

    gamma: float = option(default=0.99, ge=0, le=1, effect="discount per step", typical="0.95 to 0.999")
    n_step: int = option(default=1, ge=1, le=100, effect="rewards summed before bootstrapping", typical="1 to 10")
    double: bool = option(
        default=False, effect="let the online network choose the action that the target network values"
    )
    advantage_learning: float = option(
        default=0.0,
        ge=0,
        lt=1,
        effect="fraction of the action gap (best value minus this action's value) subtracted from the target "
        "(Bellemare et al. 2016): wider gaps withstand more noise; not with action masks",
        typical="0 or 0.9",
    )
    step_reward: float = option(
        default=0.0,
        effect="the reward of an ordinary step, if it is known: the network then learns how far values are from the "
        "return of that reward at every step, in tenths of that return, which keeps rare failures in the quadratic "
        "part of the Huber loss; 0 learns values as they are",
        typical="0, or 1 where each step is worth 1, or -1 where each costs 1; with gamma below 1",
    )
    batch_size: int = option(default=128, ge=1, effect="transitions an update learns from", typical="32 to 256")
    learning_starts: int = option(
        default=0, ge=0, effect="transitions stored before the first update, at least a batch", typical="0 to 1000"
    )
    train_every: int = option(default=1, ge=1, effect="environment steps between rounds of updates", typical="1 to 4")
    updates: int = option(default=1, ge=1, effect="updates in a round", typical="1")
    clip: Literal["none", "value", "norm"] = option(
        default="none", effect="how gradients are clipped: each by value, or all together by their norm"
    )
    clip_at: float = option(default=1.0, gt=0, effect="where gradients are clipped", typical="1 to 100")
    policy: Literal["online", "target", "average"] = option(
        default="online",
        effect="whose weights are evaluated and saved: the online network's, the target network's, or an average of "
        "the online ones over about the last twentieth of all updates",
    )
    mirror: bool = option(
        default=False,
        effect="learn every second transition as seen in a mirror, with actions in reverse: for symmetric "
        'environments, which are CartPole, Acrobot, and those with "mirror" in metadata',
    )
    random_shift: int = option(
        default=0,
        ge=0,
        effect="maximum pixels by which each image of a batch is moved (Kostrikov et al. 2021); 0: none",
        typical="0 or 4",
    )
    network: Part = part("network", "mlp")
    replay: Part = part("replay", "uniform")
    target_update: Part = part("target-update", "soft")
    exploration: Part = part("exploration", "exponential")
    optimiser: Part = part("optimiser", "adamw")


class DqnAgent(Agent):
    """The agent `dqn`.

    A subclass may change a step of the update: `prepare` makes the batch to learn from, `look_ahead` the values of the
    next observations, and `losses` the losses. It declares new options in a subclass of `DqnOptions`.

    The online network stays in training mode, also when it acts, as in the PyTorch tutorial: where it has BatchNorm,
    a single observation is normalised by its own statistics. The target network and policies are in evaluation mode.
    """

    Options: ClassVar[type] = DqnOptions
    Policy: ClassVar[type[GreedyPolicy]] = GreedyPolicy
    """The class of the policies that `policy` returns."""
    options: DqnOptions
    online: Network
    target: Network

    def __init__(self, options: DqnOptions, context: Context) -> None:
        self.options = options
        self._device = context.device
        self._num_actions = int(context.action_space.n)
        self._units = ValueUnits.of(options.step_reward, options.gamma)
        self._columns = columns_of(context.observation_space) if options.random_shift else 0
        self._mirror = mirror_of(context.observation_space) if options.mirror else None
        self._look_at_env(context)
        self._all_allowed = torch.ones(context.num_envs, self._num_actions, dtype=torch.bool)
        self.online = context.build("network", options.network).to(context.device)
        self.target = frozen_copy(self.online)
        self._parameters: list[Tensor] = list(self.online.parameters())
        self._average = frozen_copy(self.online) if options.policy == "average" else None
        self._averaged: list[Tensor] = [] if self._average is None else list(self._average.parameters())
        self._optimiser: Optimiser = context.build("optimiser", options.optimiser)
        self._optimiser.attach(self._parameters)
        self._replay: ReplayBuffer = context.build("replay", options.replay, gamma=options.gamma, n_step=options.n_step)
        self._target_update: TargetUpdate = context.build("target-update", options.target_update)
        self._exploration: Exploration = context.build("exploration", options.exploration)
        self._explore_generator = context.seeds.torch("explore")
        self._noise_generator = context.seeds.torch("noise")
        self._shift_generator = context.seeds.torch("shift")
        self._learn_from = max(options.learning_starts, options.batch_size)
        self._steps = 0  # steps observed, over all lanes
        self._updates = 0
        self._episodes = 0
        self._episodes_ended = 0  # of those, without a call of the target update so far
        self._steps_waiting = 0  # environment steps since the last round of updates
        self._q_mean = 0.0  # of the last batch for which it was computed

    def _look_at_env(self, context: Context) -> None:
        """Learn how the environment looks in a mirror. Raises `UserError` if the options do not suit it."""
        if context.make_env is None or not (self.options.mirror or self.options.advantage_learning):
            return
        env = context.make_env()
        try:
            if self.options.mirror:
                self._mirror = mirror_of(context.observation_space, env)
            if self.options.advantage_learning and "action_mask" in env.reset(seed=0)[1]:
                raise ConfigError(self._unmasked())
        finally:
            env.close()

    def _unmasked(self) -> str:
        return (
            f"agent.advantage_learning is {self.options.advantage_learning:g}, which compares an action with the best "
            f"one that was allowed, and replays do not keep which were. Leave it at 0 where the environment gives "
            f"action masks."
        )

    def act(self, obs: Obs, mask: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        allowed = self._all_allowed if mask is None else torch.from_numpy(mask)

        def q() -> Tensor:
            self.online.resample_noise(self._noise_generator)
            with torch.no_grad():
                values = self.online.q_values(self.online(torch.from_numpy(obs).to(self._device))).cpu()
            return values if mask is None else values.masked_fill(~allowed, -math.inf)

        actions = self._exploration.select(q, self._steps, self._explore_generator, allowed)
        if not isinstance(actions, Tensor) or actions.shape != (len(obs),) or actions.is_floating_point():
            raise RunError(wrong_return(self._exploration, "select", actions, f"a tensor int64 [{len(obs)}]"))
        array: NDArray[np.int64] = actions.numpy()
        return array

    def observe(self, transitions: Sequence[Transition]) -> None:
        for transition in transitions:
            self._replay.add(transition)
            self._episodes_ended += transition.terminated or transition.truncated
        self._steps += len(transitions)
        self._steps_waiting += len(transitions)

    def learn(self) -> Mapping[str, float] | None:
        """See `Agent.learn`. Raises `DivergedError` when the loss is no longer finite."""
        figures = None
        if not self._replay.has_enough(self._learn_from):
            self._steps_waiting = 0
        while self._steps_waiting >= self.options.train_every:
            self._steps_waiting -= self.options.train_every
            for _ in range(self.options.updates):
                figures = self._update()
        for _ in range(self._episodes_ended):
            self._episodes += 1
            self._target_update.after_episode(self.online, self.target, self._episodes)
        self._episodes_ended = 0
        return figures

    def _update(self) -> dict[str, float]:
        online = self.online
        batch = self.prepare(self._replay.sample(self.options.batch_size))
        online.resample_noise(self._noise_generator)
        output = online(batch.obs)
        returned = self.losses(output, batch)
        try:
            losses, td_errors = returned
            loss = torch.dot(losses, batch.weights) / len(batch)
        except (TypeError, ValueError, RuntimeError):
            self._require_losses(returned, len(batch))
            raise
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._clip()
        if self._updates % _LOOK_EVERY == 0:
            self._q_mean = self._units.values(online.q_values(output.detach()).mean().item())
        figures = {"loss": loss.item(), "q_mean": self._q_mean}
        if not math.isfinite(figures["loss"]):
            raise DivergedError(
                f"the loss became {figures['loss']} at update {self._updates + 1}: rewards or observations may not be "
                f"finite, or the learning rate ({self._optimiser.lr:g}) is too high."
            )
        self._optimiser.step()
        self._updates += 1
        self._replay.update_priorities(batch.indices, td_errors)
        self._target_update.after_update(online, self.target, self._updates)
        if self._average is not None:
            self._follow()
        return figures

    def _require_losses(self, returned: Any, count: int) -> None:
        """Raise a `RunError` if what `losses` returned is not a pair of the losses [B] and the TD errors [B]."""

        def fits(value: Any) -> bool:
            return isinstance(value, Tensor) and value.shape == (count,) and value.dtype == torch.float32

        if isinstance(returned, tuple) and len(returned) == 2 and all(map(fits, returned)):
            return
        is_own = type(self).losses is not DqnAgent.losses
        part, method = (self, "losses") if is_own else (self.online, "td_loss")
        expected = f"a pair of tensors float32 [{count}]: the losses and the TD errors"
        raise RunError(wrong_return(part, method, returned, expected))

    # The steps of an update ------------------------------------------------------------------------------------------

    def prepare(self, batch: Batch) -> Batch:
        """Return the batch to learn from: that of the replay, augmented, with the rewards of the target.

        Rewards are in the network's units, which are those of the environment unless `step_reward` is set.
        """
        if self._mirror is not None:
            batch = half_mirrored(batch, self._num_actions, self._mirror)
        if self.options.random_shift:
            batch = randomly_shifted(batch, self.options.random_shift, self._columns, self._shift_generator)
        batch = self._units.of_batch(batch)
        if self.options.advantage_learning:
            batch = dataclasses.replace(batch, rewards=batch.rewards - self._shortfall(batch))
        return batch

    @torch.no_grad()
    def look_ahead(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the target network's output [B, A, ...] at the next observations, and the next actions [B].

        Forbidden actions are not chosen.
        """
        self.target.resample_noise(self._noise_generator)
        next_output = self.target(batch.next_obs)
        chooser = self.online.q_values(self.online(batch.next_obs)) if self.options.double else None
        values = self.target.q_values(next_output) if chooser is None else chooser
        if batch.next_mask is not None:
            values = values.masked_fill(~batch.next_mask, -math.inf)
        return next_output, values.argmax(1)

    def losses(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the losses [B], with gradients, and the TD errors [B], without, for the replay's priorities.

        `output` [B, A, ...] is that of the online network at `batch.obs`. The update takes the mean of the losses times
        `batch.weights`.
        """
        return self.online.td_loss(output, *self.look_ahead(batch), batch)

    @torch.no_grad()
    def _shortfall(self, batch: Batch) -> Tensor:
        """Return alpha (max_b Q(s, b) - Q(s, a)) [B] by the target network, the second term of Bellemare et al. 2016.

        It is subtracted from the rewards, and so from the target of every kind of network.
        """
        if batch.next_mask is not None:
            raise RunError(self._unmasked())
        values = self.target.q_values(self.target(batch.obs))
        taken_values = values.gather(1, batch.actions[:, None]).squeeze(1)
        return self.options.advantage_learning * (values.amax(1) - taken_values)

    @torch.no_grad()
    def _follow(self) -> None:
        """Let the average follow the online network: polynomial-decay averaging (Shamir and Zhang 2013, section 4)."""
        torch._foreach_lerp_(self._averaged, self._parameters, (_DECAY + 1) / (self._updates + _DECAY))

    @torch.no_grad()
    def _clip(self) -> None:
        """Clip the gradients as `nn.utils.clip_grad_norm_` and `clip_grad_value_` do, in less time.

        For the network of the preset `state`, by norm in 10 us instead of 42, and by value in 10 instead of 14
        (`tests/benchmarks/update.py`).
        """
        at = self.options.clip_at
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        if self.options.clip == "value":
            torch._foreach_clamp_min_(gradients, -at)
            torch._foreach_clamp_max_(gradients, at)
        elif self.options.clip == "norm":
            norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
            torch._foreach_mul_(gradients, (at / (norm + 1e-6)).clamp_(max=1.0))

    def steps_before_learning(self) -> int:
        if self._learn_from > self._replay.capacity:
            raise ConfigError(
                f"the first update needs {self._learn_from:,} transitions, the larger of agent.learning_starts and "
                f"agent.batch_size, and the replay has room for {self._replay.capacity:,}: set a larger "
                f"agent.replay.capacity, or smaller numbers there."
            )
        return self._learn_from

    def break_lane(self, env: int) -> None:
        self._replay.break_lane(env)

    def policy(self) -> GreedyPolicy:
        source = self.target if self.options.policy == "target" else self.online
        if self._average is not None:
            source = self._average
            for buffer, latest in zip(source.buffers(), self.online.buffers(), strict=True):
                buffer.copy_(latest)
        return self.Policy(frozen_copy(source), self._device, self._units)

    def start_from(self, policy: State) -> None:
        """See `Agent.start_from`: the online and the target network get its weights."""
        units = ValueUnits(**policy.get("units", {}))
        if units != self._units:
            raise UserError(
                f"those weights give values as {units.base:g} + {units.scale:g} times their output, this run as "
                f"{self._units.base:g} + {self._units.scale:g} times: set agent.step_reward and gamma as there."
            )
        for network in self._networks().values():
            load_weights(network, policy["network"])

    def _networks(self) -> dict[str, Network]:
        networks = {"online": self.online, "target": self.target}
        return networks if self._average is None else {**networks, "average": self._average}

    def status(self) -> Mapping[str, float | str]:
        figures: dict[str, float | str] = {
            "lr": self._optimiser.lr,
            "replay_size": len(self._replay),
            "replay_capacity": self._replay.capacity,
            "updates": self._updates,
        }
        epsilon = self._exploration.epsilon(self._steps)
        if epsilon is not None:
            figures["epsilon"] = epsilon
        return figures

    @property
    def nbytes(self) -> int:
        return self._replay.nbytes

    def state_dict(self) -> State:
        return {
            **{name: dict(network.state_dict()) for name, network in self._networks().items()},
            "optimiser": self._optimiser.state_dict(),
            "target_update": self._target_update.state_dict(),
            "exploration": self._exploration.state_dict(),
            "replay": self._replay.small_state_dict(),
            "explore_generator": generator_state(self._explore_generator),
            "noise_generator": generator_state(self._noise_generator),
            "shift_generator": generator_state(self._shift_generator),
            "steps": self._steps,
            "updates": self._updates,
            "episodes": self._episodes,
            "steps_waiting": self._steps_waiting,
            "q_mean": self._q_mean,
        }

    def load_state_dict(self, state: State) -> None:
        """See `Agent.load_state_dict`. Raises `ValueError` where weights do not fit."""
        for name, network in self._networks().items():
            load_weights(network, state[name])
        self._optimiser.load_state_dict(state["optimiser"])
        self._target_update.load_state_dict(state["target_update"])
        self._exploration.load_state_dict(state["exploration"])
        self._replay.load_small_state_dict(state["replay"])
        restore_generator(self._explore_generator, state["explore_generator"])
        restore_generator(self._noise_generator, state["noise_generator"])
        restore_generator(self._shift_generator, state["shift_generator"])
        self._steps = int(state["steps"])
        self._updates = int(state["updates"])
        self._episodes = int(state["episodes"])
        self._steps_waiting = int(state["steps_waiting"])
        self._q_mean = float(state["q_mean"])

    def replay_state_dict(self) -> State:
        return self._replay.state_dict()

    def load_replay_state_dict(self, state: State) -> None:
        self._replay.load_state_dict(state)
