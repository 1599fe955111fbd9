"""Tiny games in several lanes, which an agent learns quickly if it learns at all.

* `Game`: lanes of a game, stepped and reset as in a run.
* `Matching`: the observation says which action is right.
* `Endings`: only an agent that bootstraps at truncation, and not at termination, finds the right action.
* `play`: lets an agent play and learn.
"""

from __future__ import annotations

import abc
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from cartpole_dqn.contracts.parts import Agent, Obs, Transition
from cartpole_dqn.contracts.seeding import SeedTree


class Game(abc.ABC):
    """A game of two states, in `num_envs` lanes. Observations show the state."""

    SPACE = spaces.Box(-1.0, 1.0, (2,), np.float32)
    actions = 2
    solution: tuple[int, int]
    """The best action in each state."""

    def __init__(self, num_envs: int = 2) -> None:
        self._random = SeedTree(0).numpy("game")
        self._states = [self._begin() for _ in range(num_envs)]
        self._lengths = [0] * num_envs

    @property
    def obs(self) -> Obs:
        """[N, 2] float32: what the lanes show now."""
        return observations(self._states)

    @abc.abstractmethod
    def outcome(self, state: int, action: int, length: int) -> tuple[float, int, bool, bool]:
        """Apply the rules; `length` counts the episode's steps, this one included.

        Returns:
            The reward, the next state, and whether it terminated or was truncated.
        """

    def step(self, actions: NDArray[np.int64]) -> list[Transition]:
        """Play one action in each lane. Where an episode ends, the next one begins."""
        steps = []
        for env, action in enumerate(actions.tolist()):
            before = self._states[env]
            self._lengths[env] += 1
            reward, self._states[env], terminated, truncated = self.outcome(before, action, self._lengths[env])
            obs, next_obs = observations([before, self._states[env]])
            steps.append(Transition(obs, action, reward, next_obs, terminated, truncated, env))
        for step in steps:
            if step.terminated or step.truncated:
                self.restart(step.env)
        return steps

    def restart(self, env: int) -> None:
        self._states[env], self._lengths[env] = self._begin(), 0

    def _begin(self) -> int:
        return int(self._random.integers(2))


class Matching(Game):
    """Action s is right in state s and pays 1, any other 0. Episodes of four steps terminate or are truncated."""

    actions = 3
    solution = (0, 1)

    def outcome(self, state: int, action: int, length: int) -> tuple[float, int, bool, bool]:
        over = length == 4
        flip = bool(self._random.integers(2))
        return float(action == state), self._begin(), over and flip, over and not flip


class Endings(Game):
    """State 1 pays 1 and terminates. In state 0, action 0 pays 0.5 and terminates, action 1 is truncated in state 1.

    So action 1 is worth gamma, and action 0 is worth 0.5 although it too ends in an observation of state 1. An agent
    that takes truncation for an end, or termination for none, prefers action 0.
    """

    solution = (1, 0)

    def outcome(self, state: int, action: int, length: int) -> tuple[float, int, bool, bool]:
        if state == 1:
            return 1.0 if action == 0 else 0.9, self._begin(), True, False
        return (0.5, 1, True, False) if action == 0 else (0.0, 1, False, True)


class Moment(NamedTuple):
    """One step of an agent in a game."""

    actions: list[int]
    metrics: dict[str, float] | None


def observations(states: list[int]) -> Obs:
    """[N] states -> [N, 2] float32."""
    obs: Obs = np.array([[1.0, -1.0], [-1.0, 1.0]], np.float32)[states]
    return obs


def play(agent: Agent, game: Game, steps: int) -> list[Moment]:
    """Let the agent play and learn."""
    course = []
    for _ in range(steps):
        actions = agent.act(game.obs)
        agent.observe(game.step(actions))
        metrics: Any = agent.learn()
        course.append(Moment(actions.tolist(), None if metrics is None else dict(metrics)))
    return course
