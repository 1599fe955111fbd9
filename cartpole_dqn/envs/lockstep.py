"""`Lockstep`: the collector `lockstep`, which steps all lanes together in the run's own process.

`LockstepOptions`: its options (none).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from gymnasium import spaces

from cartpole_dqn.contracts.collector import Collected, Collector, CollectorContext
from cartpole_dqn.contracts.options import options_class
from cartpole_dqn.contracts.parts import Agent, State
from cartpole_dqn.envs.lanes import Lanes


@options_class
class LockstepOptions:
    """Options of the collector `lockstep`: it has none."""


class Lockstep(Collector):
    """One step of every lane a collection, chosen by the agent itself; a resumed run goes on with the same bits.

    The environments are the configuration's `env.num_envs`: in this process, or a process each where `env.vector` is
    "async".
    """

    Options: ClassVar[type] = LockstepOptions
    lockstep: ClassVar[bool] = True

    def __init__(self, options: LockstepOptions, context: CollectorContext) -> None:
        self._envs = context.make_envs()
        try:
            self.lanes = Lanes(self._envs, seed=context.seed)
        except BaseException:
            self._envs.close()
            raise

    @property
    def observation_space(self) -> spaces.Space[Any]:
        """See `Collector`."""
        return self._envs.single_observation_space

    @property
    def action_space(self) -> spaces.Space[Any]:
        """See `Collector`."""
        return self._envs.single_action_space

    def start(self) -> None:
        """See `Collector`."""
        self.lanes.start()

    def collect(self, agent: Agent) -> Collected:
        """See `Collector`. Raises `EnvError` where an environment breaks its contract."""
        actions = agent.act(self.lanes.obs, self.lanes.mask)
        transitions, endings = self.lanes.step(actions)
        return Collected(transitions, endings)

    def begin(self, envs: Sequence[int]) -> None:
        """See `Collector`."""
        self.lanes.begin(envs)

    def state_dict(self) -> State:
        """See `Lanes.state_dict`."""
        return self.lanes.state_dict()

    def load_state_dict(self, state: State) -> list[int]:
        """See `Lanes.load_state_dict`."""
        return self.lanes.load_state_dict(state)

    def hurry(self) -> None:
        """See `Collector`."""
        self.lanes.hurry()

    def close(self, *, at_once: bool = False) -> None:
        """See `Collector`."""
        self.lanes.close(at_once=at_once)
