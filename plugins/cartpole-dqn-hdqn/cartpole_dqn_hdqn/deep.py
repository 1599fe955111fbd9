"""`HdqnAgent`: two deep Q-networks, one over the other (Kulkarni et al. 2016)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from cartpole_dqn import Context, State
from cartpole_dqn_hdqn.goals import Mask, Obs
from cartpole_dqn_hdqn.hierarchy import HierarchicalAgent, HierarchicalPolicy
from cartpole_dqn_hdqn.level import HdqnOptions, Level
from cartpole_dqn_hdqn.values import JointSpace, NetworkValues


class HdqnAgent(HierarchicalAgent):
    """The agent "hdqn".

    The controller learns from every step: the observation joined with the goal, the action, 1 where the critic finds
    the goal reached and 0 elsewhere; it ends there, or with the episode. The meta-controller learns from every goal:
    where it was set, the goal, the sum of the environment's rewards on the way, and the observation at its end.

    Raises:
        UserError: observations are no vectors, or the goals do not fit them.
    """

    Options: ClassVar[type] = HdqnOptions

    def __init__(self, options: HdqnOptions, context: Context) -> None:
        super().__init__(options, context)
        self._options = options
        self._joint = JointSpace(context.observation_space, self._goals)
        self._controller = Level("controller", options, context, seen=self._joint.box, chosen=context.action_space)
        self._meta = Level(
            "meta",
            options,
            context,
            seen=context.observation_space,
            chosen=spaces.Discrete(len(self._goals)),
            available=self._available,
        )
        self._values = NetworkValues(self._meta.network, self._controller.network, self._joint, context.device)
        self._episodes = 0
        self._steps_waiting = 0  # environment steps since the last round of updates

    @property
    def values(self) -> NetworkValues:
        return self._values

    def goal_values(self, obs: Obs) -> Tensor:
        self._meta.resample_noise()
        return self._values.of_goals(obs)

    def action_values(self, obs: Obs, goals: NDArray[np.int64]) -> Tensor:
        self._controller.resample_noise()
        return self._values.of_actions(obs, goals)

    def learn(self) -> Mapping[str, float] | None:
        """See `Agent.learn`. Raises `RunError` when a loss is no longer finite."""
        ended = 0
        for step in self._heard:
            inner = step.inner
            obs, next_obs = self._joint.join(np.stack([inner.obs, inner.next_obs]), np.full(2, step.goal))
            self._controller.replay.add(inner._replace(obs=obs, next_obs=next_obs))
            if step.chosen is not None:
                # Where the environment tells no masks, those of goals can be made from observations again.
                masked = step.transition.next_mask is not None
                self._meta.replay.add(step.chosen if masked else step.chosen._replace(next_mask=None))
            ended += step.transition.terminated or step.transition.truncated
        self._steps_waiting += len(self._heard)
        self._heard = []
        figures: dict[str, float] = {}
        while self._steps_waiting >= self._options.train_every:
            self._steps_waiting -= self._options.train_every
            self._update(figures)
        for _ in range(ended):
            self._episodes += 1
            self._controller.after_episode(self._episodes)
            self._meta.after_episode(self._episodes)
        return figures or None

    def _update(self, figures: dict[str, float]) -> None:
        learned = self._controller.learn(self._options.controller_updates)
        if learned is not None:
            figures["loss"], figures["q_mean"] = learned
        learned = self._meta.learn(self._options.meta_updates)
        if learned is not None:
            figures["meta_loss"], figures["meta_q_mean"] = learned

    def _available(self, obs: Obs) -> Mask:
        actions = np.ones((len(obs), int(self._context.action_space.n)), dtype=np.bool_)
        return self._goals.available(obs, actions)

    def steps_before_learning(self) -> int:
        """See `Agent.steps_before_learning`: both levels can learn, and the controller does so first."""
        return min(self._controller.require_room(), self._meta.require_room())

    def break_lane(self, env: int) -> None:
        super().break_lane(env)
        self._controller.replay.break_lane(env)
        self._meta.replay.break_lane(env)

    def policy(self) -> HierarchicalPolicy:
        values = self._values
        if self._options.policy == "target":
            values = NetworkValues(self._meta.target, self._controller.target, self._joint, self._context.device)
        return HierarchicalPolicy(values.copy(), self._goals, int(self._context.action_space.n))

    def status(self) -> Mapping[str, float | str]:
        """See `HierarchicalAgent.status`; `lr`, `replay_size` and `updates` are the controller's."""
        return {
            **super().status(),
            "lr": self._controller.optimiser.lr,
            "meta_lr": self._meta.optimiser.lr,
            "replay_size": len(self._controller.replay),
            "replay_capacity": self._controller.replay.capacity,
            "meta_replay_size": len(self._meta.replay),
            "updates": self._controller.updates,
            "meta_updates": self._meta.updates,
        }

    @property
    def nbytes(self) -> int:
        return self._controller.replay.nbytes + self._meta.replay.nbytes

    def state_dict(self) -> State:
        return {
            **super().state_dict(),
            "controller": self._controller.state_dict(),
            "meta": self._meta.state_dict(),
            "episodes": self._episodes,
            "steps_waiting": self._steps_waiting,
        }

    def load_state_dict(self, state: State) -> None:
        """See `Agent.load_state_dict`. Raises `ValueError` where weights do not fit."""
        super().load_state_dict(state)
        self._controller.load_state_dict(state["controller"])
        self._meta.load_state_dict(state["meta"])
        self._episodes = int(state["episodes"])
        self._steps_waiting = int(state["steps_waiting"])

    def replay_state_dict(self) -> State:
        return {"controller": self._controller.replay.state_dict(), "meta": self._meta.replay.state_dict()}

    def load_replay_state_dict(self, state: State) -> None:
        self._controller.replay.load_state_dict(state["controller"])
        self._meta.replay.load_state_dict(state["meta"])
