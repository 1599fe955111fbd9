"""`Bursts`: the collector `acme`; `BurstsOptions`: its options."""

from __future__ import annotations

from typing import Any

from cartpole_dqn import Agent, Collected, Collector, CollectorContext, Rollout, State, option, options_class
from gymnasium import spaces


@options_class
class BurstsOptions:
    steps: int = option(default=8, ge=1, effect="steps of each environment between two updates of its weights")
    epsilon: float = option(default=0.1, ge=0, le=1, effect="the chance of a random action")


class Bursts(Collector):
    """Plays some steps of every lane by a copy of the policy, then lets the agent learn from all of them."""

    Options = BurstsOptions
    why_lost = "collector bursts keeps no episodes under way: new ones begin."

    def __init__(self, options: BurstsOptions, context: CollectorContext) -> None:
        self._options, self._context = options, context
        self._incarnation = 0
        self._rollout = self._begin()

    def _begin(self) -> Rollout:
        return Rollout(self._context.config, range(self._context.num_envs), incarnation=self._incarnation)

    @property
    def observation_space(self) -> spaces.Space[Any]:
        return self._rollout.observation_space

    @property
    def action_space(self) -> spaces.Space[Any]:
        return self._rollout.action_space

    def start(self) -> None:
        """The rollout begins by itself."""

    def collect(self, agent: Agent) -> Collected:
        self._rollout.load(agent.policy().state_dict())
        epsilons = [self._options.epsilon] * self._context.num_envs
        fragments = self._rollout.collect(self._options.steps, epsilons)
        return Collected(
            transitions=[step for fragment in fragments for step in fragment.transitions()],
            endings=[ending for fragment in fragments for ending in fragment.endings],
            figures={"epsilon": self._options.epsilon},
        )

    def state_dict(self) -> State:
        return {"incarnation": self._incarnation}

    def load_state_dict(self, state: State) -> list[int]:
        self._incarnation = state["incarnation"] + 1
        self._rollout.close()
        self._rollout = self._begin()
        return list(range(self._context.num_envs))

    def close(self, *, at_once: bool = False) -> None:
        self._rollout.close()
