"""How a run collects its steps: `Collector`, its context, and what it returns.

`N` is the number of lanes (environments side by side), `T` a number of steps.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from cartpole_dqn.contracts.parts import Agent, Obs, State, Transition

_TERMINATED, _TRUNCATED = 1, 2


@dataclass(frozen=True)
class Ending:
    """An episode that ended."""

    env: int
    """The lane."""
    seed: int
    """The seed that the environment was reset with."""
    episode_return: float
    """The sum of the environment's own rewards, before wrappers changed them."""
    length: int
    """Environment steps of the episode."""
    terminated: bool
    """False if the episode was only truncated."""


@dataclass(frozen=True)
class Collected:
    """What `Collector.collect` returns. It may be empty, for example after `Collector.hurry`."""

    transitions: Sequence[Transition] = ()
    """In order within each lane; lanes may come in any order."""
    endings: Sequence[Ending] = ()
    """The episodes that ended with one of these transitions, in order within each lane."""
    broken: Sequence[int] = ()
    """Lanes that lost the rest of their episode. The run calls `Agent.break_lane` for them before `Agent.observe`."""
    figures: Mapping[str, float | str] = field(default_factory=dict)
    """Figures for displays and logs. They override figures of the same name in `Agent.status`."""


@dataclass(frozen=True, kw_only=True)
class CollectorContext:
    """The second argument of a collector's constructor, `Class(options, context)`."""

    config: str
    """The run's complete configuration as TOML. Give it to each `Rollout`, in this process or in others."""
    num_envs: int
    """N. The collector steps all of them."""
    make_env: Callable[[], gymnasium.Env[Any, Any]]
    """Makes one environment with its wrappers: `Box` observations, `Discrete` actions from 0. If there is an
    `info["action_mask"]`, it is bool [A] and allows at least one action. A faulty environment raises `RunError`."""
    make_envs: Callable[[], VectorEnv[Any, Any, Any]]
    """Makes the run's N environments, with `AutoresetMode.DISABLED`."""
    seed: int
    """The run's seed."""
    clock: Callable[[], float]
    """Seconds, monotonic."""
    warn: Callable[[str], None]
    """Shows a warning to the user."""


class Collector(abc.ABC):
    """Steps the lanes of a run and returns their transitions.

    The run calls `start`, or `load_state_dict` if it resumes. Then it calls `collect` again and again, and `begin` for
    lanes whose episode has ended. At the end it calls `close`, also after an error.
    """

    Options: ClassVar[type]
    lockstep: ClassVar[bool] = False
    """True if every collection is one step of each lane with the actions of `agent.act`. Some agents need that."""
    why_lost: ClassVar[str] = (
        "the environment is not deterministic: its episodes under way could not be restored, and new ones begin."
    )
    """The warning for the user if `load_state_dict` returns any lanes."""

    @property
    @abc.abstractmethod
    def observation_space(self) -> spaces.Space[Any]:
        """The observations of one lane."""

    @property
    @abc.abstractmethod
    def action_space(self) -> spaces.Space[Any]:
        """The actions of one lane."""

    @abc.abstractmethod
    def start(self) -> None:
        """Start the first episode of every lane."""

    @abc.abstractmethod
    def collect(self, agent: Agent) -> Collected:
        """Return the next steps. Blocks until there are some.

        Args:
            agent: call its `act`, or send `policy().state_dict()` to remote actors.

        Raises:
            RunError: no more steps can be collected.
        """

    def begin(self, envs: Sequence[int]) -> None:
        """Start new episodes in lanes `envs`, if you have not yet. Called when the run has processed the old ones."""

    @abc.abstractmethod
    def state_dict(self) -> State:
        """Return the state of the unfinished episodes."""

    @abc.abstractmethod
    def load_state_dict(self, state: State) -> list[int]:
        """Restore what `state_dict` returned. Called instead of `start`. Raises `ValueError` if it does not fit.

        Returns:
            The lanes whose episode could not be restored. They start a new one.
        """

    def hurry(self) -> None:
        """Called in a signal handler when the run is to stop: make a running `collect` return soon."""

    @abc.abstractmethod
    def close(self, *, at_once: bool = False) -> None:
        """Close all environments and processes; if `at_once`, without waiting. May be called twice."""


@dataclass(frozen=True)
class Fragment:
    """T consecutive steps of one lane as arrays, to send between processes. `pack` makes it."""

    lane: int
    obs: NDArray[Any]
    """[K, ...]: each observation once, that is an episode's first one and then one per step. Of stacks of S frames,
    each frame once: S for an episode's first observation, then one per step."""
    actions: NDArray[Any]
    """[T], in the smallest unsigned integer type that fits."""
    rewards: NDArray[np.float64]
    """[T]."""
    flags: NDArray[np.uint8]
    """[T]: 1 for terminated, 2 for truncated, 3 for both, otherwise 0."""
    priorities: NDArray[np.float32] | None = None
    """[T], as in `Transition.priority`."""
    masks: NDArray[np.bool_] | None = None
    """[T, A], as in `Transition.next_mask`."""
    endings: tuple[Ending, ...] = ()
    """The episodes that ended in these steps."""
    frame_stack: int = 1
    """S, or 1 if observations are not stacks of frames."""

    @classmethod
    def pack(
        cls, lane: int, steps: Sequence[Transition], endings: Sequence[Ending] = (), frame_stack: int = 1
    ) -> Fragment:
        """Make a fragment of one or more `steps`, which may belong to several episodes.

        Either all steps have a priority, or none. If some have a mask, the others get one that allows every action.
        """
        pieces: list[Obs] = []
        fresh = True
        for step in steps:
            if fresh:
                pieces += [step.obs] if frame_stack == 1 else list(step.obs)
            pieces.append(step.next_obs if frame_stack == 1 else step.next_obs[-1])
            fresh = step.terminated or step.truncated
        actions = np.array([step.action for step in steps])
        priorities = [step.priority for step in steps if step.priority is not None]
        first_mask = next((step.next_mask for step in steps if step.next_mask is not None), None)
        masks = None
        if first_mask is not None:
            all_allowed = np.ones_like(first_mask)
            masks = np.stack([all_allowed if step.next_mask is None else step.next_mask for step in steps])
        return cls(
            lane=lane,
            obs=np.stack(pieces),
            actions=actions.astype(np.min_scalar_type(int(actions.max()))),
            rewards=np.array([step.reward for step in steps], dtype=np.float64),
            flags=np.array([_TERMINATED * s.terminated + _TRUNCATED * s.truncated for s in steps], dtype=np.uint8),
            priorities=np.array(priorities, dtype=np.float32) if priorities else None,
            masks=masks,
            endings=tuple(endings),
            frame_stack=frame_stack,
        )

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        arrays = (self.obs, self.actions, self.rewards, self.flags, self.priorities, self.masks)
        return sum(array.nbytes for array in arrays if array is not None)

    def transitions(self) -> list[Transition]:
        """Return the steps. Their observations are views of `obs`."""
        steps, at = [], 0
        for t, flags in enumerate(self.flags.tolist()):
            obs, next_obs = self._observation(at), self._observation(at + 1)
            mask = None if self.masks is None else self.masks[t]
            priority = None if self.priorities is None else float(self.priorities[t])
            action, reward = int(self.actions[t]), float(self.rewards[t])
            ends = bool(flags & _TERMINATED), bool(flags & _TRUNCATED)
            steps.append(Transition(obs, action, reward, next_obs, *ends, self.lane, mask, priority))
            at += 1 + (self.frame_stack if flags else 0)
        return steps

    def _observation(self, at: int) -> Obs:
        return self.obs[at] if self.frame_stack == 1 else self.obs[at : at + self.frame_stack]
