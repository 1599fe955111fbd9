"""The environments of a run as lanes, each with an episode of its own under way.

`Lanes` steps a Gymnasium vector environment whose autoreset is disabled: an episode that ended is reset on purpose,
with a seed made of (run, lane, episode), so that no reset step exists and none can be learned from. It records the
actions of the episodes under way; with the seeds they are enough to put deterministic environments back to where they
were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

from cartpole_dqn.errors import RunError
from cartpole_dqn.interfaces import Obs, State, Transition
from cartpole_dqn.seeding import Stream, episode_seed


@dataclass(frozen=True)
class Ending:
    """An episode that ended in `env`."""

    env: int
    seed: int
    episode_return: float
    length: int
    terminated: bool


class Lanes:
    """Steps N environments and knows where each one's episode stands.

    Args:
        envs: a vector environment with `AutoresetMode.DISABLED` and `Discrete` actions.
        seed: the run's seed.
    """

    def __init__(self, envs: VectorEnv[Any, Any, Any], *, seed: int) -> None:
        mode = envs.metadata.get("autoreset_mode")
        if mode is not AutoresetMode.DISABLED:
            raise ValueError(f"Lanes needs a vector environment with AutoresetMode.DISABLED, got {mode}.")
        self._envs = envs
        self._seed = seed
        n = envs.num_envs
        self._episodes = [0] * n  # begun so far in each lane
        self._seeds = [0] * n
        self._actions: list[list[int]] = [[] for _ in range(n)]
        self._returns = [0.0] * n
        self._num_actions = int(envs.single_action_space.n)  # type: ignore[attr-defined]
        self._first_action = int(getattr(envs.single_action_space, "start", 0))
        self._masked = False
        self._mask: NDArray[np.bool_] = np.ones((n, self._num_actions), dtype=np.bool_)
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
            self._seeds[env] = episode_seed(Stream.TRAIN, self._seed, env, self._episodes[env])
            self._episodes[env] += 1
            self._actions[env] = []
            self._returns[env] = 0.0
        self._reset(envs)

    def step(self, actions: NDArray[np.int64]) -> tuple[list[Transition], list[Ending]]:
        """Take one action [N] in every lane.

        Returns:
            One transition a lane, and the episodes that ended. Those lanes must be begun anew before the next step.

        Raises:
            RunError: an environment gave a reward that is not finite.
        """
        obs = self.obs
        next_obs, rewards, terminated, truncated, infos = self._envs.step(actions + self._first_action)
        if not np.isfinite(rewards).all():
            raise RunError(f"the environment gave the rewards {rewards.tolist()}, which are not all finite.")
        self._hear_masks(infos)
        self.obs = next_obs
        transitions, endings = [], []
        for env in range(len(self)):
            action, reward = int(actions[env]), float(rewards[env])
            transition = Transition(
                obs[env], action, reward, next_obs[env], bool(terminated[env]), bool(truncated[env]), env
            )
            transitions.append(transition)
            self._actions[env].append(action)
            self._returns[env] += reward
            if transition.terminated or transition.truncated:
                length = len(self._actions[env])
                endings.append(
                    Ending(env, self._seeds[env], self._returns[env], length, terminated=transition.terminated)
                )
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
        self._replay_actions(histories)
        saved = state["obs"]
        lost = [
            env
            for env in range(len(self))
            if saved.shape != self.obs.shape or not np.array_equal(saved[env], self.obs[env], equal_nan=True)
        ]
        self._actions = histories
        self._returns = [float(r) for r in state["returns"]]
        if lost:
            self.begin(lost)
        return lost

    def close(self) -> None:
        """Close the environments."""
        self._envs.close()

    def _replay_actions(self, histories: Sequence[Sequence[int]]) -> None:
        """Bring every lane to the end of its history. All lanes step together, so that shorter ones start later.

        Before its start a lane's environment is reset at every step: what happens there is thrown away.
        """
        longest = max(len(h) for h in histories)
        self._reset(range(len(self)))
        for t in range(longest):
            waiting = [env for env, h in enumerate(histories) if longest - len(h) >= t and t > 0]
            if waiting:
                self._reset(waiting)
            actions = [h[t - (longest - len(h))] if t >= longest - len(h) else 0 for h in histories]
            self.obs, *_, infos = self._envs.step(np.asarray(actions, dtype=np.int64) + self._first_action)
            self._hear_masks(infos)
        unmoved = [env for env, h in enumerate(histories) if not h]
        if longest and unmoved:
            self._reset(unmoved)

    def _reset(self, envs: Sequence[int]) -> None:
        which = np.zeros(len(self), dtype=np.bool_)
        which[list(envs)] = True
        # Vector environments take a list of seeds, though the base class does not say so.
        seeds: Any = list(self._seeds)
        self.obs, infos = self._envs.reset(seed=seeds, options={"reset_mask": which})
        self._mask[which] = True
        self._hear_masks(infos)

    def _hear_masks(self, infos: dict[str, Any]) -> None:
        masks = infos.get("action_mask")
        if masks is None:
            return
        self._masked = True
        told = infos.get("_action_mask", np.ones(len(self), dtype=np.bool_))
        fresh = self._mask.copy()  # transitions and agents may hold the old one
        for env in np.flatnonzero(told):
            allowed = np.asarray(masks[env], dtype=np.bool_)
            if allowed.shape != (self._num_actions,):
                raise RunError(
                    f"the environment gave an action_mask of shape {allowed.shape}, expected ({self._num_actions},)."
                )
            fresh[env] = allowed if allowed.any() else True
        self._mask = fresh
