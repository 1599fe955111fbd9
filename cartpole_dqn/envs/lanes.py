"""Environments side by side as lanes, each with its own current episode.

Training, evaluation and playback all step `Lanes`. `Lockstep` is the built-in collector: lanes whose actions the agent
itself chooses.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv, VectorEnv
from numpy.typing import NDArray

from cartpole_dqn.contracts.collector import Collected, Collector, CollectorContext, Ending
from cartpole_dqn.contracts.options import NoOptions
from cartpole_dqn.contracts.parts import Agent, Obs, State, Transition
from cartpole_dqn.contracts.seeding import Stream, episode_seed
from cartpole_dqn.envs.guard import EARNED, REST, EnvError, EnvTimeoutError, Guard
from cartpole_dqn.envs.workers import WorkerEnvs
from cartpole_dqn.wrappers.life_lost import LIFE_LOST

Seeds = Callable[[int, int], int | None]
"""(lane, episode number in that lane, from 0) -> the seed to reset with. None makes the lane rest."""


def training_seeds(seed: int, first: int = 0) -> Seeds:
    """Return the training seeds of a run with this `seed`. Lane 0 here is lane `first` of the run."""
    return lambda lane, episode: episode_seed(Stream.TRAIN, seed, first + lane, episode)


class Lanes:
    """Steps N environments and keeps track of each one's episode.

    An ended episode is reset explicitly, so there is no reset step that could be learned from. The seeds and recorded
    actions of the current episodes are enough to restore deterministic environments.

    Args:
        envs: vector environment of `Guard`ed environments with `AutoresetMode.DISABLED`. Lanes can rest if each guard
            is wrapped in a `Resting`.
        seeds: chooses the seed of each new episode.
    """

    def __init__(self, envs: VectorEnv[Any, Any, Any], *, seeds: Seeds) -> None:
        self._envs = envs
        self._choose_seed = seeds
        n = envs.num_envs
        self._episodes = [0] * n  # begun so far in each lane
        self._seeds: list[int | None] = [None] * n
        self._actions: list[list[int]] = [[] for _ in range(n)]
        self.returns = [0.0] * n
        """The rewards of each lane's episode so far, as the environment below all wrappers gave them."""
        num_actions = int(envs.single_action_space.n)  # type: ignore[attr-defined]
        guards = envs.envs if isinstance(envs, SyncVectorEnv) else ()
        self._guards = [guard for guard in guards if isinstance(guard, Guard) and guard.running]
        """Those whose wrappers have running statistics: all, or none."""
        self._none = np.zeros(n, dtype=np.bool_)
        self._masked = False
        self._mask: NDArray[np.bool_] = np.ones((n, num_actions), dtype=np.bool_)
        self.obs: Obs = np.empty(0)

    def __len__(self) -> int:
        return int(self._envs.num_envs)

    @property
    def mask(self) -> NDArray[np.bool_] | None:
        """[N, A] allowed actions from the last `info["action_mask"]`; None if no environment ever gave one."""
        return self._mask if self._masked else None

    def start(self) -> None:
        """Begin the first episode of every lane."""
        self.begin(range(len(self)))

    def begin(self, envs: Sequence[int]) -> None:
        """Begin a new episode in these lanes."""
        for env in envs:
            self._seeds[env] = self._choose_seed(env, self._episodes[env])
            self._episodes[env] += 1
            self._actions[env] = []
            self.returns[env] = 0.0
        self._reset(envs)

    def step(self, actions: NDArray[np.int64]) -> tuple[list[Transition], list[Ending]]:
        """Take one action [N] in every lane.

        Returns:
            One transition per lane, and the episodes that ended. `begin` those lanes before the next step.

        Raises:
            EnvError: an environment broke its contract. The message gives the lane, episode and step.
        """
        obs = self.obs
        try:
            next_obs, rewards, terminated, truncated, infos = self._envs.step(actions)
        except EnvError as fault:
            fault.place = f"episode seed {self._seeds[fault.env]}, step {len(self._actions[fault.env]) + 1}"
            raise
        self._update_masks(infos, np.ones(len(self), dtype=np.bool_))
        self.obs = next_obs
        mask = self.mask
        earned = np.where(infos[f"_{EARNED}"], infos[EARNED], rewards) if EARNED in infos else rewards
        lost = infos.get(f"_{LIFE_LOST}", self._none)
        transitions, endings = [], []
        for env in range(len(self)):
            action, reward = int(actions[env]), float(rewards[env])
            flags = bool(terminated[env]), bool(truncated[env])
            allowed = None if mask is None else mask[env]
            ends = flags[0] or bool(lost[env]), flags[1]
            transitions.append(Transition(obs[env], action, reward, next_obs[env], *ends, env, allowed))
            self._actions[env].append(action)
            self.returns[env] += float(earned[env])
            if any(flags):
                seed, total = self._seeds[env], self.returns[env]
                assert seed is not None  # a resting lane does not end
                endings.append(Ending(env, seed, total, len(self._actions[env]), terminated=flags[0]))
        return transitions, endings

    def state_dict(self) -> State:
        """Return each lane's episode: number, seed, actions, return, last observation, and statistics of wrappers."""
        running = {"begun": [g.begun for g in self._guards], "now": [g.running.state_dict() for g in self._guards]}
        return {
            **({"wrappers": running} if self._guards else {}),
            "episodes": list(self._episodes),
            "seeds": list(self._seeds),
            "actions": [np.asarray(actions, dtype=np.int64) for actions in self._actions],
            "returns": list(self.returns),
            "obs": np.array(self.obs),
        }

    def load_state_dict(self, state: State) -> list[int]:
        """Reset every lane with its episode's seed and repeat its actions.

        Returns:
            The lanes that could not be restored: their environment is not deterministic. A new episode begins there.

        Raises:
            ValueError: the state has another number of lanes.
        """
        if len(state["episodes"]) != len(self):
            raise ValueError(f"the state has {len(state['episodes'])} lanes, this run has {len(self)}.")
        self._episodes = [int(e) for e in state["episodes"]]
        self._seeds = [int(s) for s in state["seeds"]]
        histories = [[int(a) for a in actions] for actions in state["actions"]]
        with self._earlier_statistics(state.get("wrappers", {"begun": [], "now": []})):
            lost = self._restore_episodes(histories)
        saved, now = state["obs"], self.obs
        fits = saved.shape == now.shape
        lost |= {i for i in range(len(self)) if not (fits and np.array_equal(saved[i], now[i], equal_nan=True))}
        self._actions = histories
        self.returns = [float(r) for r in state["returns"]]
        if lost:
            self.begin(sorted(lost))
        return sorted(lost)

    def hurry(self) -> None:
        """Limit the time of worker processes, because the run stops soon. Safe to call from a signal handler."""
        if isinstance(self._envs, WorkerEnvs):
            self._envs.hurry()

    def close(self, *, at_once: bool = False) -> None:
        """Close the environments. `at_once` leaves worker processes almost no time."""
        self._envs.close(at_once=at_once)

    @contextlib.contextmanager
    def _earlier_statistics(self, state: State) -> Iterator[None]:
        """Let every reset inside the block start from the statistics with which the lane's episode began."""
        if len(state["begun"]) != len(self._guards):
            raise ValueError("the state has no running statistics for these wrappers.")
        sources = [guard.start_from for guard in self._guards]
        try:
            for guard, begun in zip(self._guards, state["begun"], strict=True):
                guard.start_from = functools.partial(dict, begun)
            yield
        finally:
            for guard, source in zip(self._guards, sources, strict=True):
                guard.start_from = source
        for guard, now in zip(self._guards, state["now"], strict=True):
            guard.running.load_state_dict(now)

    def _restore_episodes(self, histories: Sequence[Sequence[int]]) -> set[int]:
        """Repeat every lane's history. Return the lanes whose episode ended early or refused an action."""
        lost: set[int] = set()
        while True:
            try:
                return lost | self._replay_actions([[] if env in lost else h for env, h in enumerate(histories)])
            except EnvError as fault:
                # In an episode that went differently, an action that was allowed before may raise.
                if fault.env in lost or isinstance(fault, EnvTimeoutError):
                    raise
                lost.add(fault.env)

    def _replay_actions(self, histories: Sequence[Sequence[int]]) -> set[int]:
        """Repeat the actions, and return the lanes whose episode ended with one of them.

        All lanes step together. One whose history is shorter, or whose episode has ended, rests.
        """
        ended_lanes: set[int] = set()
        self._reset(range(len(self)))
        for t in range(max(len(h) for h in histories)):
            going = np.array([t < len(h) and env not in ended_lanes for env, h in enumerate(histories)])
            actions = [h[t] if goes else REST for h, goes in zip(histories, going, strict=True)]
            try:
                self.obs, _, terminated, truncated, infos = self._envs.step(np.asarray(actions, dtype=np.int64))
            except EnvError as fault:
                fault.place = f"episode seed {self._seeds[fault.env]}, while its actions were repeated"
                raise
            self._update_masks(infos, going)
            if ended := np.flatnonzero(terminated | truncated).tolist():
                self._reset(ended)  # Gymnasium steps no ended episode, not even to let it rest.
                ended_lanes.update(ended)
        return ended_lanes

    def _reset(self, envs: Sequence[int]) -> None:
        mask = np.zeros(len(self), dtype=np.bool_)
        mask[list(envs)] = True
        seeds: Any = list(self._seeds)  # The base class does not declare lists of seeds.
        try:
            self.obs, infos = self._envs.reset(seed=seeds, options={"reset_mask": mask})
        except EnvError as fault:
            fault.place = f"episode seed {self._seeds[fault.env]}, at its reset"
            raise
        self._update_masks(infos, mask)

    def _update_masks(self, infos: dict[str, Any], lanes: NDArray[np.bool_]) -> None:
        """Update the masks of `lanes`, bool [N]. A lane without one in `infos` allows every action."""
        masks = infos.get("action_mask")
        self._masked = self._masked or masks is not None
        if not self._masked:
            return
        self._mask = self._mask.copy()  # transitions and agents may hold the old array
        self._mask[lanes] = True
        if masks is not None:
            has_mask = infos.get("_action_mask", lanes)
            self._mask[has_mask] = masks[has_mask]


class Lockstep(Lanes, Collector):
    """Collects one step of every lane at a time, with actions from the agent itself. Resuming is bit-exact.

    There are `env.num_envs` environments: in this process, or in one process each if `env.vector` is "async".
    """

    Options: ClassVar[type] = NoOptions
    lockstep: ClassVar[bool] = True

    def __init__(self, options: NoOptions, context: CollectorContext) -> None:
        super().__init__(context.make_envs(), seeds=training_seeds(context.seed))

    @property
    def observation_space(self) -> spaces.Space[Any]:
        return self._envs.single_observation_space

    @property
    def action_space(self) -> spaces.Space[Any]:
        return self._envs.single_action_space

    def collect(self, agent: Agent) -> Collected:
        return Collected(*self.step(agent.act(self.obs, self.mask)))
