"""The contract of a collector: how a run comes by its steps.

* `Collector`: steps the run's lanes, here or elsewhere, and hands over what they lived through.
* `CollectorContext`: what a collector is told when it is built as `Class(options, context)`.
* `Collected`: what one call of `Collector.collect` brings.
* `Ending`: an episode that ended.
* `Fragment`: consecutive steps of one lane, each observation held once: how steps travel between processes.

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
    """An episode that ended in `env`."""

    env: int
    seed: int
    """What its environment was reset with."""
    episode_return: float
    length: int
    terminated: bool


@dataclass(frozen=True)
class Collected:
    """What one call of `Collector.collect` brings; nothing at all where the run is to end."""

    transitions: Sequence[Transition] = ()
    """In each lane in the order in which its steps were made; lanes may come in any order."""
    endings: Sequence[Ending] = ()
    """The episodes that ended with one of these transitions; in each lane in their order."""
    broken: Sequence[int] = ()
    """Lanes whose episode under way will not go on: the agent hears of it before it hears of the transitions."""
    figures: Mapping[str, float | str] = field(default_factory=dict)
    """Figures of the collector's own, for displays and logs; one that the agent tells too stands in its place."""


@dataclass(frozen=True, kw_only=True)
class CollectorContext:
    """A collector's surroundings."""

    config: str
    """The run's complete configuration as TOML: what `Rollout` takes, in whatever process."""
    num_envs: int
    """N: the lanes of the run, all of which the collector steps."""
    make_env: Callable[[], gymnasium.Env[Any, Any]]
    """Makes one environment with its observation wrappers: `Box` observations, `Discrete` actions that count from 0. An
    `info["action_mask"]` is bool [A] and allows at least one action. Broken contracts raise a `RunError`."""
    make_envs: Callable[[], VectorEnv[Any, Any, Any]]
    """Makes the run's N environments in or beside this process; none resets itself (`AutoresetMode.DISABLED`)."""
    seed: int
    """The run's."""
    clock: Callable[[], float]
    """Seconds, monotonic."""
    warn: Callable[[str], None]
    """Says a sentence to the user."""


class Collector(abc.ABC):
    """Steps the lanes of a run and hands over what they lived through.

    Built as `Class(options, context)`. The run calls `start`, or `load_state_dict` where it is resumed; then `collect`
    and `begin` in turn; `close` at its end, however it ends.
    """

    Options: ClassVar[type]
    lockstep: ClassVar[bool] = False
    """Whether every collection is one step of each lane, chosen by `agent.act`: some agents need that."""
    why_lost: ClassVar[str] = (
        "the environment is not deterministic: its episodes under way could not be restored, and new ones begin."
    )
    """What the user is told of a resumed run when `load_state_dict` returns lanes."""

    @property
    @abc.abstractmethod
    def observation_space(self) -> spaces.Space[Any]:
        """What one lane observes."""

    @property
    @abc.abstractmethod
    def action_space(self) -> spaces.Space[Any]:
        """What one lane can do."""

    @abc.abstractmethod
    def start(self) -> None:
        """Begin the first episode of every lane."""

    @abc.abstractmethod
    def collect(self, agent: Agent) -> Collected:
        """Return the next steps; wait for them where they are made elsewhere.

        Args:
            agent: acts (`act`), or gives its weights (`policy().state_dict()`) to whoever acts elsewhere.

        Raises:
            RunError: no more steps can be had.
        """

    def begin(self, envs: Sequence[int]) -> None:
        """Hear that the episodes that ended in these lanes, one or more, were told: begin new ones where none has."""

    @abc.abstractmethod
    def state_dict(self) -> State:
        """See `Stateful`."""

    @abc.abstractmethod
    def load_state_dict(self, state: State) -> list[int]:
        """Go on from what `state_dict` returned, in place of `start`.

        Returns:
            The lanes whose episode under way does not go on: new ones begin there.

        Raises:
            ValueError: the state does not fit.
        """

    def hurry(self) -> None:
        """Hear that the run is to end: a collection under way gets a bound. Signal handlers may call it."""

    @abc.abstractmethod
    def close(self, *, at_once: bool = False) -> None:
        """Leave nothing behind: no environment, no process; `at_once` in next to no time. May be called again."""


@dataclass(frozen=True)
class Fragment:
    """T consecutive steps of one lane; its episodes may end within. Made by `pack`."""

    lane: int
    obs: NDArray[Any]
    """[K, ...]: each observation once, and at each new episode its first one; where observations are stacks of S
    frames, each frame once, and S of them at each new episode."""
    actions: NDArray[Any]
    """[T] of a small integer type."""
    rewards: NDArray[np.float64]
    """[T]."""
    flags: NDArray[np.uint8]
    """[T]: 1 where the step terminated, 2 where it was truncated, 3 for both."""
    priorities: NDArray[np.float32] | None = None
    """[T], as in `Transition.priority`."""
    masks: NDArray[np.bool_] | None = None
    """[T, A], as in `Transition.next_mask`."""
    endings: tuple[Ending, ...] = ()
    """The episodes that ended within."""
    frame_stack: int = 1
    """S, or 1 where observations are no rolling stacks."""

    @classmethod
    def pack(
        cls, lane: int, steps: Sequence[Transition], endings: Sequence[Ending] = (), frame_stack: int = 1
    ) -> Fragment:
        """Return the fragment of one or more consecutive `steps`; all of them have a priority and a mask, or none."""
        pieces: list[Obs] = []
        fresh = True
        for step in steps:
            if fresh:
                pieces += [step.obs] if frame_stack == 1 else list(step.obs)
            pieces.append(step.next_obs if frame_stack == 1 else step.next_obs[-1])
            fresh = step.terminated or step.truncated
        actions = np.array([step.action for step in steps])
        told = [step.priority for step in steps if step.priority is not None]
        masks = [step.next_mask for step in steps if step.next_mask is not None]
        return cls(
            lane=lane,
            obs=np.stack(pieces),
            actions=actions.astype(np.min_scalar_type(int(actions.max()))),
            rewards=np.array([step.reward for step in steps], dtype=np.float64),
            flags=np.array([_TERMINATED * s.terminated + _TRUNCATED * s.truncated for s in steps], dtype=np.uint8),
            priorities=np.array(told, dtype=np.float32) if told else None,
            masks=np.stack(masks) if masks else None,
            endings=tuple(endings),
            frame_stack=frame_stack,
        )

    def __len__(self) -> int:
        """T."""
        return len(self.actions)

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays: what travels, but for the little around them."""
        arrays = (self.obs, self.actions, self.rewards, self.flags, self.priorities, self.masks)
        return sum(array.nbytes for array in arrays if array is not None)

    def transitions(self) -> list[Transition]:
        """Return its steps; their observations are views of `obs`."""
        steps, at = [], 0
        for t in range(len(self)):
            flags = int(self.flags[t])
            steps.append(
                Transition(
                    self._observation(at),
                    int(self.actions[t]),
                    float(self.rewards[t]),
                    self._observation(at + 1),
                    bool(flags & _TERMINATED),
                    bool(flags & _TRUNCATED),
                    self.lane,
                    None if self.masks is None else self.masks[t],
                    None if self.priorities is None else float(self.priorities[t]),
                )
            )
            at += 1 + (self.frame_stack if flags else 0)
        return steps

    def _observation(self, at: int) -> Obs:
        found: Obs = self.obs[at] if self.frame_stack == 1 else self.obs[at : at + self.frame_stack]
        return found
