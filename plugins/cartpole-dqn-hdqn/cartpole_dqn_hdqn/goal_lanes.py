"""`GoalLanes`: the goal of each lane, and the transitions that both levels learn from.

* `GoalStep`: a step of a lane under a goal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cartpole_dqn import Context, State, Transition
from cartpole_dqn_hdqn.goals import Goals, Mask

NONE = -1
"""In place of a goal, where none is set."""


class GoalStep(NamedTuple):
    """A step of a lane under a goal, and what it means on either level."""

    goal: int
    transition: Transition
    """The environment's."""
    reached: bool
    """Whether it reached the goal: then the critic pays 1 and the controller's task is over, else 0."""
    chosen: Transition | None
    """The meta-controller's transition if the goal ended with this step, else None. It leads from where the goal was
    set to where it ended. Its action is the goal, its reward the sum on the way, its mask the goals that may follow."""

    @property
    def inner(self) -> Transition:
        """The controller's transition, without the goal: the critic's reward, ended where the goal is reached."""
        step = self.transition
        ended = self.reached or step.terminated
        return step._replace(reward=float(self.reached), terminated=ended, truncated=step.truncated and not ended)


class GoalLanes:
    """For each of N lanes: its goal, where that was set, and what was earned since.

    Args:
        goals: says when one is reached.
        context: tells the lanes, what is observed, and the actions.
    """

    def __init__(self, goals: Goals, context: Context) -> None:
        num_envs, space = context.num_envs, context.observation_space
        self._critic = goals
        self._all_allowed = np.ones(int(context.action_space.n), dtype=np.bool_)
        self.goals: NDArray[np.int64] = np.full(num_envs, NONE, dtype=np.int64)
        """[N], `NONE` where one is to be set before the lane's next step."""
        self._starts: NDArray[Any] = np.zeros((num_envs, *space.shape), dtype=space.dtype)
        self._sums = [0.0] * num_envs

    def begin(self, lanes: NDArray[np.int64], obs: NDArray[Any], goals: NDArray[np.int64]) -> None:
        """Set `goals` [K] in `lanes` [K], whose observations are `obs` [K, ...]."""
        self.goals[lanes] = goals
        self._starts[lanes] = obs
        for lane in lanes.tolist():
            self._sums[lane] = 0.0

    def observe(self, transitions: Sequence[Transition]) -> list[GoalStep]:
        """Return what each lane's step means. Lanes whose goal's time is over have none afterwards.

        Raises:
            ValueError: a lane has no goal: nobody acted in it.
        """
        reached = self._critic.reached(
            np.stack([step.obs for step in transitions]),
            np.array([step.action for step in transitions]),
            np.stack([step.next_obs for step in transitions]),
        )
        steps = []
        for row, step in zip(reached.tolist(), transitions, strict=True):
            goal = int(self.goals[step.env])
            if goal == NONE:
                raise ValueError(f"lane {step.env} made a step, but no goal is set in it: call act() first.")
            self._sums[step.env] += step.reward
            chosen = None
            if row[goal] or step.terminated or step.truncated:
                start, earned = self._starts[step.env].copy(), self._sums[step.env]
                chosen = step._replace(obs=start, action=goal, reward=earned, next_mask=self._available_after(step))
                self.goals[step.env] = NONE
            steps.append(GoalStep(goal, step, row[goal], chosen))
        return steps

    def _available_after(self, step: Transition) -> Mask:
        """Return which goals [G] may be set where a step led to."""
        mask = self._all_allowed if step.next_mask is None else step.next_mask
        available: Mask = self._critic.available(step.next_obs[None], mask[None])[0]
        return available

    def break_lane(self, env: int) -> None:
        """Forget the lane's goal: its episode will not be continued."""
        self.goals[env] = NONE

    def state_dict(self) -> State:
        return {"goals": self.goals, "starts": self._starts, "sums": list(self._sums)}

    def load_state_dict(self, state: State) -> None:
        """Take over what `state_dict` returned. Raises `ValueError` where it is of other lanes or goals."""
        goals, starts = np.asarray(state["goals"]), np.asarray(state["starts"])
        if goals.shape != self.goals.shape or starts.shape != self._starts.shape or len(state["sums"]) != len(goals):
            raise ValueError(f"the saved goals are of {len(goals)} lanes, and do not fit the {len(self.goals)} here.")
        if ((goals < NONE) | (goals >= len(self._critic))).any():
            raise ValueError(f"the saved goals {goals.tolist()} are not all among the {len(self._critic)} here.")
        self.goals[...], self._starts[...] = goals, starts
        self._sums = [float(total) for total in state["sums"]]
