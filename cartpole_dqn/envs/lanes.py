"""Environments side by side as lanes, each with an episode of its own under way.

* `Lanes`: steps them; training, evaluation and playback all step through it.
* `training_seeds`: the seeds of a run's episodes.
* `Lockstep`: the built-in collector, which steps all lanes of a run together. `LockstepOptions`: its options (none).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

from cartpole_dqn.contracts.collector import Collected, Collector, CollectorContext, Ending
from cartpole_dqn.contracts.options import options_class
from cartpole_dqn.contracts.parts import Agent, Obs, State, Transition
from cartpole_dqn.contracts.seeding import Stream, episode_seed
from cartpole_dqn.envs.guard import EnvError, EnvTimeoutError
from cartpole_dqn.envs.workers import WorkerEnvs

Seeds = Callable[[int, int], int | None]
"""(lane, number of the episode in that lane, from 0) -> the seed to reset with; None lets the lane rest."""


def training_seeds(seed: int, first: int = 0) -> Seeds:
    """Return the seeds of training in a run of this `seed`; lane 0 is number `first` among all of the run."""
    return lambda lane, episode: episode_seed(Stream.TRAIN, seed, first + lane, episode)


class Lanes:
    """Steps N environments and knows where each one's episode stands.

    An episode that ended is reset on purpose, so no reset step exists and none can be learned from. The seeds and the
    recorded actions of the episodes under way are enough to put deterministic environments back to where they were.

    Args:
        envs: a vector environment of guarded environments (`envs.guard.Guard`) with `AutoresetMode.DISABLED`. Lanes
            can rest where each guard is in a `Resting`.
        seeds: chooses the seed of each new episode.
    """

    def __init__(self, envs: VectorEnv[Any, Any, Any], *, seeds: Seeds) -> None:
        mode = envs.metadata.get("autoreset_mode")
        if mode is not AutoresetMode.DISABLED:
            raise ValueError(f"Lanes needs a vector environment with AutoresetMode.DISABLED, got {mode}.")
        self._envs = envs
        self._choose_seed = seeds
        n = envs.num_envs
        self._episodes = [0] * n  # begun so far in each lane
        self._seeds: list[int | None] = [None] * n
        self._actions: list[list[int]] = [[] for _ in range(n)]
        self._returns = [0.0] * n
        num_actions = int(envs.single_action_space.n)  # type: ignore[attr-defined]
        self._masked = False
        self._mask: NDArray[np.bool_] = np.ones((n, num_actions), dtype=np.bool_)
        self.obs: Obs = np.empty(0)

    def __len__(self) -> int:
        return int(self._envs.num_envs)

    @property
    def mask(self) -> NDArray[np.bool_] | None:
        """[N, A] allowed actions as `info["action_mask"]` last told them; None where no environment ever did."""
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
            self._returns[env] = 0.0
        self._reset(envs)

    def step(self, actions: NDArray[np.int64]) -> tuple[list[Transition], list[Ending]]:
        """Take one action [N] in every lane.

        Returns:
            One transition a lane, and the episodes that ended. Those lanes must be begun anew before the next step.

        Raises:
            EnvError: an environment broke its contract; the message says which, in which episode, at which step.
        """
        obs = self.obs
        try:
            next_obs, rewards, terminated, truncated, infos = self._envs.step(actions)
        except EnvError as fault:
            fault.where = f"episode seed {self._seeds[fault.env]}, step {len(self._actions[fault.env]) + 1}"
            raise
        self._hear_masks(infos, np.ones(len(self), dtype=np.bool_))
        self.obs = next_obs
        mask = self.mask
        transitions, endings = [], []
        for env in range(len(self)):
            action, reward = int(actions[env]), float(rewards[env])
            flags = bool(terminated[env]), bool(truncated[env])
            allowed = None if mask is None else mask[env]
            transition = Transition(obs[env], action, reward, next_obs[env], *flags, env, allowed)
            transitions.append(transition)
            self._actions[env].append(action)
            self._returns[env] += reward
            if transition.terminated or transition.truncated:
                length = len(self._actions[env])
                seed, total = self._seeds[env], self._returns[env]
                assert seed is not None  # a lane that rests does not end
                endings.append(Ending(env, seed, total, length, terminated=transition.terminated))
        return transitions, endings

    def state_dict(self) -> State:
        """Return each lane's episode: its number, seed, actions, return and last observation."""
        return {
            "episodes": list(self._episodes),
            "seeds": list(self._seeds),
            "actions": [np.asarray(actions, dtype=np.int64) for actions in self._actions],
            "returns": list(self._returns),
            "obs": np.array(self.obs),
        }

    def load_state_dict(self, state: State) -> list[int]:
        """Reset every lane with its episode's seed and take its actions again.

        Returns:
            The lanes whose observation then differs from the saved one: their environment is not deterministic. A new
            episode was begun there.

        Raises:
            ValueError: the state has another number of lanes.
        """
        if len(state["episodes"]) != len(self):
            raise ValueError(f"the state has {len(state['episodes'])} lanes, this run has {len(self)}.")
        self._episodes = [int(e) for e in state["episodes"]]
        self._seeds = [int(s) for s in state["seeds"]]
        histories = [[int(a) for a in actions] for actions in state["actions"]]
        lost = self._restore_episodes(histories)
        saved = state["obs"]
        lost |= {
            env
            for env in range(len(self))
            if saved.shape != self.obs.shape or not np.array_equal(saved[env], self.obs[env], equal_nan=True)
        }
        self._actions = histories
        self._returns = [float(r) for r in state["returns"]]
        if lost:
            self.begin(sorted(lost))
        return sorted(lost)

    def hurry(self) -> None:
        """Hear that the run is to end: a process of an environment gets a bound. Signal handlers may call it."""
        if isinstance(self._envs, WorkerEnvs):
            self._envs.hurry()

    def close(self, *, at_once: bool = False) -> None:
        """Close the environments; `at_once` leaves processes of their own next to no time."""
        self._envs.close(**({"at_once": True} if at_once else {}))

    def _restore_episodes(self, histories: Sequence[Sequence[int]]) -> set[int]:
        """Bring every lane to the end of its history; return those whose episode took another course."""
        lost: set[int] = set()
        while True:
            try:
                return lost | self._replay_actions([[] if env in lost else h for env, h in enumerate(histories)])
            except EnvError as fault:
                # Where an episode took another course, an action that was allowed then may raise now.
                if fault.env in lost or isinstance(fault, EnvTimeoutError):
                    raise
                lost.add(fault.env)

    def _replay_actions(self, histories: Sequence[Sequence[int]]) -> set[int]:
        """Take the actions again, and return the lanes whose episode ended with one of them.

        All lanes step together, so that shorter histories start later. Before its start, and after its episode's end, a
        lane's environment is reset at every step: what happens there is thrown away.
        """
        longest = max(len(h) for h in histories)
        starts = [longest - len(h) for h in histories]
        ended: set[int] = set()
        self._reset(range(len(self)))
        for t in range(longest):
            idle = [env for env, start in enumerate(starts) if t > 0 and (t <= start or env in ended)]
            if idle:
                self._reset(idle)
            actions = [
                h[t - start] if t >= start and env not in ended else int(self._mask[env].argmax())
                for env, (h, start) in enumerate(zip(histories, starts, strict=True))
            ]
            try:
                self.obs, _, terminated, truncated, infos = self._envs.step(np.asarray(actions, dtype=np.int64))
            except EnvError as fault:
                fault.where = f"episode seed {self._seeds[fault.env]}, while its actions were taken again"
                raise
            self._hear_masks(infos, np.ones(len(self), dtype=np.bool_))
            ended |= {int(env) for env in np.flatnonzero(terminated | truncated) if t >= starts[env]}
        unmoved = [env for env, h in enumerate(histories) if not h]
        if longest and unmoved:
            self._reset(unmoved)
        return ended

    def _reset(self, envs: Sequence[int]) -> None:
        which = np.zeros(len(self), dtype=np.bool_)
        which[list(envs)] = True
        # Vector environments take a list of seeds, though the base class does not say so.
        seeds: Any = list(self._seeds)
        try:
            self.obs, infos = self._envs.reset(seed=seeds, options={"reset_mask": which})
        except EnvError as fault:
            fault.where = f"episode seed {self._seeds[fault.env]}, at its reset"
            raise
        self._hear_masks(infos, which)

    def _hear_masks(self, infos: dict[str, Any], which: NDArray[np.bool_]) -> None:
        """Take over what the lanes `which` [N] tell; in one that tells nothing everything is allowed."""
        masks = infos.get("action_mask")
        self._masked = self._masked or masks is not None
        if not self._masked:
            return
        fresh = self._mask.copy()  # transitions and agents may hold the old one
        fresh[which] = True
        if masks is not None:
            told = infos.get("_action_mask", which)
            fresh[told] = masks[told]
        self._mask = fresh


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
            self.lanes = Lanes(self._envs, seeds=training_seeds(context.seed))
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
