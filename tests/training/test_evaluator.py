from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

from cartpole_dqn.contracts.events import Evaluating
from cartpole_dqn.contracts.parts import Policy, State
from cartpole_dqn.contracts.seeding import Stream, episode_seed
from cartpole_dqn.envs.guard import Guard, Resting
from cartpole_dqn.training.evaluator import Evaluator


class Leaning(Policy):
    """Pushes to where the pole leans: some tens of steps on CartPole."""

    def __init__(self) -> None:
        self.begun = 0

    def act(self, obs: Any, mask: Any = None) -> NDArray[np.int64]:
        return (obs[:, 2] > 0).astype(np.int64)

    def reset(self, lanes: NDArray[np.bool_]) -> None:
        self.begun += int(lanes.sum())

    def state_dict(self) -> State:
        return {}

    def load_state_dict(self, state: State) -> None:
        pass


def cartpole() -> gymnasium.Env[Any, Any]:
    return gymnasium.make("CartPole-v1")


def side_by_side(make: Callable[[], gymnasium.Env[Any, Any]]) -> Callable[[int], SyncVectorEnv]:
    return lambda n: SyncVectorEnv([lambda: Resting(Guard(make()))] * n, autoreset_mode=AutoresetMode.DISABLED)


def play(episodes: int, stream: Stream = Stream.REPORT, seed: int = 0, series: int = 0) -> Any:
    evaluator = Evaluator(side_by_side(cartpole), seed=seed, clock=lambda: 0.0)
    evaluation = evaluator.play(Leaning(), episodes=episodes, stream=stream, series=series, step=7)
    evaluator.close()
    return evaluation


def test_episodes_are_those_played_one_by_one() -> None:
    evaluation = play(23)
    env, policy = cartpole(), Leaning()
    for k in range(23):
        obs, _ = env.reset(seed=episode_seed(Stream.REPORT, 0, 0, k))
        total, ended = 0.0, False
        while not ended:
            obs, reward, terminated, truncated, _ = env.step(int(policy.act(obs[None])[0]))
            total, ended = total + float(reward), terminated or truncated
        assert evaluation.returns[k] == evaluation.lengths[k] == total
    assert evaluation.stream == "report"
    assert evaluation.step == 7


def test_streams_seeds_and_series_differ_and_repeat() -> None:
    first = play(5)
    assert len(first.returns) == 5
    assert play(5).returns == first.returns
    for other in (play(5, stream=Stream.SELECT), play(5, seed=1), play(5, series=1)):
        assert other.returns != first.returns


def test_it_tells_how_far_it_is() -> None:
    told: list[Evaluating] = []
    evaluator = Evaluator(side_by_side(cartpole), seed=0, clock=lambda: 0.0, told=told.append)
    evaluation = evaluator.play(Leaning(), episodes=23, stream=Stream.CONFIRM, step=7)
    evaluator.close()
    assert evaluation is not None
    assert {(event.step, event.stream, event.episodes) for event in told} == {(7, "confirm", 23)}
    assert [event.done for event in told] == list(range(24))
    assert told[0].mean is None
    assert told[-1].mean == pytest.approx(evaluation.mean)
    # In the order of their endings: the first mean is the shortest of the first ten episodes' returns.
    assert told[1].mean == min(evaluation.returns[:10])


def test_the_policy_hears_of_every_new_episode() -> None:
    evaluator, policy = Evaluator(side_by_side(cartpole), seed=0, clock=lambda: 0.0), Leaning()
    evaluator.play(policy, episodes=4, stream=Stream.SELECT)
    assert policy.begun >= 4


def test_it_can_be_broken_off() -> None:
    looks = iter([False] * 5 + [True])
    evaluator = Evaluator(side_by_side(cartpole), seed=0, clock=lambda: 0.0, should_stop=lambda: next(looks))
    assert evaluator.play(Leaning(), episodes=50, stream=Stream.SELECT) is None


class Forked(gymnasium.Env[Any, Any]):
    """Two steps; only the action that `info` allows pays."""

    observation_space = spaces.Box(0, 1, (1,), np.float32)
    action_space = spaces.Discrete(3, start=1)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.count = 0
        return self._see()

    def step(self, action: Any) -> Any:
        reward = float(action == self.allowed + 1)
        self.count += 1
        obs, info = self._see()
        return obs, reward, self.count == 2, False, info

    def _see(self) -> Any:
        self.allowed = int(self.np_random.integers(3))
        mask = np.zeros(3, np.int8)
        mask[self.allowed] = 1
        return np.zeros(1, np.float32), {"action_mask": mask}


class Obedient(Leaning):
    def act(self, obs: Any, mask: Any = None) -> NDArray[np.int64]:
        assert mask is not None
        best: NDArray[np.int64] = mask.argmax(1)
        return best


def test_masks_and_first_actions_are_respected() -> None:
    evaluator = Evaluator(side_by_side(Forked), seed=0, clock=lambda: 0.0)
    evaluation = evaluator.play(Obedient(), episodes=12, stream=Stream.SELECT)
    assert evaluation is not None
    assert evaluation.returns == (2.0,) * 12
