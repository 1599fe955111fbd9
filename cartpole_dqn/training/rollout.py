"""`Rollout`: plays some lanes of a run with a copy of the policy, in any process.

It is built from the configuration as text: it loads plugins, and makes environments and a policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from cartpole_dqn.config.schema import complete, parse_toml
from cartpole_dqn.contracts.collector import Ending, Fragment
from cartpole_dqn.contracts.options import changed
from cartpole_dqn.contracts.parts import Obs, State, Transition
from cartpole_dqn.contracts.seeding import SeedTree, derive
from cartpole_dqn.envs.chain import frame_stack
from cartpole_dqn.envs.guard import EnvError
from cartpole_dqn.envs.lanes import Lanes, training_seeds
from cartpole_dqn.errors import ConfigError
from cartpole_dqn.plugin.host import load_plugins
from cartpole_dqn.training.assembly import make_policy


class Rollout:
    """Plays some lanes of a run with epsilon-greedy actions, and computes an initial priority for each step.

    The priority is the absolute n-step TD error by the policy's own values (Horgan et al. 2018, section 3):
    abs(r_1 + gamma r_2 + ... + gamma^n max_a Q(s_n, a) - Q(s_0, a_0)). Each value comes from the weights that chose the
    action. gamma and n are the agent's options `gamma` and `n_step`, or 1. A step is returned n steps later, or when
    its episode has ended. If the policy has no action values, there are no priorities.

    Random choices depend on the run's seed, the lane and `incarnation`, but not on the other lanes.

    Args:
        config: the run's complete configuration as TOML. `device` and `env.vector` are ignored.
        lanes: consecutive lane numbers, one or more.
        incarnation: how often these lanes were started before, so that no episode is played twice.

    Raises:
        UserError: the configuration is invalid or needs something that is not installed.
    """

    def __init__(self, config: str, lanes: Sequence[int], *, incarnation: int = 0) -> None:
        first = min(lanes, default=0)
        if list(lanes) != list(range(first, first + len(lanes))) or not lanes:
            raise ConfigError(f"a rollout plays consecutive lanes, one or more, got {list(lanes)}.")
        host = load_plugins()
        run_config = complete(parse_toml(config, "the configuration"), host.registry.options)
        env_config = changed(run_config.env, num_envs=len(lanes), vector="sync", step_timeout=0.0)
        self._policy, factory = make_policy(changed(run_config, device="cpu", env=env_config), host)
        self._envs = factory.make_vector()
        self._lanes = Lanes(self._envs, seeds=training_seeds(derive(run_config.seed, "rollout", incarnation), first))
        self._first = first
        seeds = [SeedTree(run_config.seed, ("rollout", str(lane), str(incarnation))) for lane in lanes]
        self._generators = [tree.numpy("explore") for tree in seeds]
        space = self.observation_space
        assert isinstance(space, spaces.Box)  # agents need it
        self._frame_stack = frame_stack(run_config.observation, host.registry, space)
        n_step, gamma = int(run_config.agent.get("n_step", 1)), float(run_config.agent.get("gamma", 1.0))
        self._tails = [_Tail(n_step, gamma) for _ in lanes]
        self._endings: list[list[Ending]] = [[] for _ in lanes]
        self._began = False

    @property
    def observation_space(self) -> spaces.Space[Any]:
        """The observations of one lane."""
        return self._envs.single_observation_space

    @property
    def action_space(self) -> spaces.Space[Any]:
        """The actions of one lane."""
        return self._envs.single_action_space

    def load(self, policy: State) -> None:
        """Load the weights to act with: the `policy().state_dict()` of the run's agent, on the CPU."""
        self._policy.load_state_dict(policy)

    def collect(self, steps: int, epsilons: Sequence[float]) -> list[Fragment]:
        """Take steps in every lane, and return a fragment for each lane that has complete steps.

        Args:
            steps: for each lane, at least 1.
            epsilons: the probability of a random action for each lane.

        Raises:
            EnvError: an environment failed; `env` is its lane.
        """
        try:
            if not self._began:
                self._lanes.start()
                self._policy.reset(np.ones(len(self._lanes), dtype=np.bool_))
                self._began = True
            for _ in range(steps):
                self._step(epsilons)
        except EnvError as fault:
            fault.env += self._first
            raise
        fragments = []
        for lane, tail in enumerate(self._tails):
            complete_steps, endings, self._endings[lane] = tail.take(), self._endings[lane], []
            if complete_steps:
                fragments.append(Fragment.pack(self._first + lane, complete_steps, endings, self._frame_stack))
        return fragments

    def close(self) -> None:
        """Close the environments."""
        self._envs.close()

    def _step(self, epsilons: Sequence[float]) -> None:
        obs, mask = self._lanes.obs, self._lanes.mask
        q = self._values(obs, mask)
        greedy = self._policy.act(obs, mask) if q is None else q.argmax(1)
        actions = np.array(greedy, dtype=np.int64)
        for lane, generator in enumerate(self._generators):
            if generator.random() < epsilons[lane]:
                actions[lane] = self._random_action(lane, mask)
        if q is not None:
            for tail, value in zip(self._tails, q.max(1).tolist(), strict=True):
                tail.reach(value)
        transitions, endings = self._lanes.step(actions)
        for lane, (tail, step) in enumerate(zip(self._tails, transitions, strict=True)):
            tail.add(step._replace(env=self._first + lane), None if q is None else float(q[lane, step.action]))
            if step.terminated:
                tail.end(0.0)
        if endings:
            self._end(transitions, endings)

    def _end(self, transitions: Sequence[Transition], endings: Sequence[Ending]) -> None:
        lanes = [ending.env for ending in endings]
        truncated = any(not ending.terminated for ending in endings)
        last = self._values(self._lanes.obs, self._lanes.mask) if truncated else None
        for ending in endings:
            lane = ending.env
            value = 0.0 if last is None or ending.terminated else float(last[lane].max())
            self._tails[lane].end(value)
            self._endings[lane].append(replace(ending, env=self._first + lane))
        self._lanes.begin(lanes)
        mask = np.zeros(len(self._lanes), dtype=np.bool_)
        mask[lanes] = True
        self._policy.reset(mask)

    def _values(self, obs: Obs, mask: NDArray[np.bool_] | None) -> NDArray[np.float32] | None:
        """Return [E, A], -inf for forbidden actions; None if the policy has no values."""
        q = self._policy.q_values(obs)
        return q if q is None or mask is None else np.where(mask, q, -np.inf).astype(np.float32)

    def _random_action(self, lane: int, mask: NDArray[np.bool_] | None) -> int:
        generator = self._generators[lane]
        if mask is None:
            return int(generator.integers(int(self.action_space.n)))  # type: ignore[attr-defined]
        return int(generator.choice(np.flatnonzero(mask[lane])))


@dataclass
class _Tail:
    """The steps of a lane that are not returned yet. The first `complete` ones have their priority.

    Call `reach` with the value of each observation before the action, `add` with the step, and `end` with the value of
    the last observation of an episode, 0 if it terminated.
    """

    n_step: int
    gamma: float
    steps: list[Transition] = field(default_factory=list)
    action_values: list[float] = field(default_factory=list)
    """The action value of each step."""
    complete: int = 0

    def reach(self, value: float) -> None:
        if len(self.steps) - self.complete == self.n_step:
            self._complete(value)

    def add(self, step: Transition, action_value: float | None) -> None:
        self.steps.append(step)
        self.action_values.append(0.0 if action_value is None else action_value)
        if action_value is None:
            self.complete = len(self.steps)

    def end(self, value: float) -> None:
        while self.complete < len(self.steps):
            self._complete(value)

    def take(self) -> list[Transition]:
        complete_steps, self.steps = self.steps[: self.complete], self.steps[self.complete :]
        self.action_values = self.action_values[self.complete :]
        self.complete = 0
        return complete_steps

    def _complete(self, value: float) -> None:
        """Compute the priority of the first step without one, from the value of the last observation."""
        at = self.complete
        rewards = [step.reward for step in self.steps[at:]]
        n = len(rewards)
        total = sum(self.gamma**k * reward for k, reward in enumerate(rewards)) + self.gamma**n * value
        self.steps[at] = self.steps[at]._replace(priority=abs(total - self.action_values[at]))
        self.complete += 1
