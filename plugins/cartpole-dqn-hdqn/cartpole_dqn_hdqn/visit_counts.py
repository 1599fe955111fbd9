"""`VisitCountsAgent`: any agent, with the number of visits to each state among its figures.

A run's metrics record an agent's figures at the end of each episode, so they show how often it visited each state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cartpole_dqn import Agent, Context, Part, Policy, State, Transition, UserError, options_class, part
from cartpole_dqn_hdqn.goals import Mask, Obs


@options_class
class VisitCountsOptions:
    """Options of `VisitCountsAgent`."""

    agent: Part = part("agent", "hdqn", effect="the agent that acts and learns")


class VisitCountsAgent(Agent):
    """The agent "visit-counts": does what the agent inside it does, and counts.

    `status` has "visits s1", "visits s2", ...: how many steps led to each state, over all steps so far. Observations
    are vectors that are 1 at the state and 0 elsewhere.

    Raises:
        UserError: observations are no vectors.
    """

    Options: ClassVar[type] = VisitCountsOptions

    def __init__(self, options: VisitCountsOptions, context: Context) -> None:
        if len(context.observation_space.shape) != 1:
            raise UserError(
                f"agent visit-counts counts where observations are largest, and needs vectors: got "
                f"{context.observation_space}."
            )
        self._inner: Agent = context.build("agent", options.agent)
        self._visits = [0] * context.observation_space.shape[0]

    def act(self, obs: Obs, mask: Mask | None = None) -> NDArray[np.int64]:
        return self._inner.act(obs, mask)

    def observe(self, transitions: Sequence[Transition]) -> None:
        for step in transitions:
            self._visits[int(step.next_obs.argmax())] += 1
        self._inner.observe(transitions)

    def learn(self) -> Mapping[str, float] | None:
        return self._inner.learn()

    def steps_before_learning(self) -> int:
        return self._inner.steps_before_learning()

    def break_lane(self, env: int) -> None:
        self._inner.break_lane(env)

    def policy(self) -> Policy:
        return self._inner.policy()

    def status(self) -> Mapping[str, float | str]:
        return {**self._inner.status(), **{f"visits s{i + 1}": count for i, count in enumerate(self._visits)}}

    @property
    def nbytes(self) -> int:
        return self._inner.nbytes

    def state_dict(self) -> State:
        return {"visits": list(self._visits), "inner": self._inner.state_dict()}

    def load_state_dict(self, state: State) -> None:
        """See `Agent.load_state_dict`. Raises `ValueError` where it is of other states."""
        if len(state["visits"]) != len(self._visits):
            raise ValueError(f"the saved visits are of {len(state['visits'])} states, not of {len(self._visits)}.")
        self._visits = [int(count) for count in state["visits"]]
        self._inner.load_state_dict(state["inner"])

    def replay_state_dict(self) -> State:
        return self._inner.replay_state_dict()

    def load_replay_state_dict(self, state: State) -> None:
        self._inner.load_replay_state_dict(state)
