from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from multiprocessing import connection
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

import cartpole_dqn.training.evaluator
import cartpole_dqn.training.rounds
from cartpole_dqn.contracts.events import Evaluating
from cartpole_dqn.contracts.parts import Policy, State
from cartpole_dqn.contracts.seeding import Stream, episode_seed
from cartpole_dqn.envs.guard import Guard, Resting
from cartpole_dqn.training.evaluator import Evaluator
from cartpole_dqn.training.rounds import Helper, free_processes


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
    events: list[Evaluating] = []
    evaluator = Evaluator(side_by_side(cartpole), seed=0, clock=lambda: 0.0, on_progress=events.append)
    evaluation = evaluator.play(Leaning(), episodes=23, stream=Stream.CONFIRM, step=7)
    evaluator.close()
    assert evaluation is not None
    assert {(event.step, event.stream, event.episodes) for event in events} == {(7, "confirm", 23)}
    assert [event.done for event in events] == list(range(24))
    assert events[0].mean is None
    assert events[-1].mean == pytest.approx(evaluation.mean)
    # In the order of their endings: the first mean is the shortest of the first ten episodes' returns.
    assert events[1].mean == min(evaluation.returns[:10])


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


# With helpers ---------------------------------------------------------------------------------------------------------

forks = pytest.mark.skipif(sys.platform != "linux", reason="helpers are forks")


class Threshold(Leaning):
    """Pushes right from an angle on, which is its weight."""

    def __init__(self, angle: float = 0.0) -> None:
        super().__init__()
        self.angle = angle

    def act(self, obs: Any, mask: Any = None) -> NDArray[np.int64]:
        return (obs[:, 2] > self.angle).astype(np.int64)

    def state_dict(self) -> State:
        return {"angle": self.angle}

    def load_state_dict(self, state: State) -> None:
        self.angle = state["angle"]


def ready(helper: Helper) -> Helper:
    helper.wake()
    while not (helper.idle or helper.gone):
        connection.wait([helper.pipe])
        helper.endings()
    return helper


def play_with(helper: Helper, make_envs: Any, policy: Policy, episodes: int = 23, **how: Any) -> Any:
    evaluator = Evaluator(make_envs, seed=0, clock=lambda: 0.0, helpers=[helper], **how)
    try:
        return evaluator.play(policy, episodes=episodes, stream=Stream.SELECT)
    finally:
        evaluator.close()
        assert helper.gone


@forks
def test_helpers_change_nothing() -> None:
    make_envs, reports = side_by_side(cartpole), []
    helper = ready(Helper(Threshold, make_envs))
    shared = play_with(helper, make_envs, Threshold(0.02), on_progress=reports.append)
    alone = Evaluator(make_envs, seed=0, clock=lambda: 0.0).play(Threshold(0.02), episodes=23, stream=Stream.SELECT)
    assert shared == alone
    assert [event.done for event in reports] == list(range(24))


class Dying(Threshold):
    """Works in the process that made it."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.home = os.getpid()

    def act(self, obs: Any, mask: Any = None) -> NDArray[np.int64]:
        if os.getpid() != self.home:
            if self.how == "raises":
                raise RuntimeError("not here")
            os.kill(os.getpid(), signal.SIGKILL if self.how == "is killed" else signal.SIGSTOP)
        return super().act(obs)


@forks
@pytest.mark.parametrize("how", ["raises", "is killed", "hangs"])
def test_the_rounds_of_a_helper_that_fails_are_played_here(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cartpole_dqn.training.evaluator, "_GRACE", 0.2)
    make_envs = side_by_side(cartpole)
    policy = Dying(how)
    helper = ready(Helper(lambda: policy, make_envs))
    shared = play_with(helper, make_envs, policy)
    alone = Evaluator(make_envs, seed=0, clock=lambda: 0.0).play(policy, episodes=23, stream=Stream.SELECT)
    assert shared == alone


@forks
def test_a_helper_that_cannot_be_made_is_gone() -> None:
    assert ready(Helper(lambda: 1 / 0, side_by_side(cartpole))).gone  # type: ignore[arg-type, return-value]


@forks
def test_a_stop_and_an_error_end_helpers_in_the_middle_of_a_round() -> None:
    make_envs = side_by_side(cartpole)
    helper = ready(Helper(Threshold, make_envs))
    assert play_with(helper, make_envs, Threshold(), should_stop=lambda: True) is None
    helper = ready(Helper(Threshold, make_envs))
    with pytest.raises(ValueError, match="no more"):
        play_with(helper, make_envs, Threshold(), on_progress=raising_after(3))


def raising_after(count: int) -> Callable[[Evaluating], None]:
    def note(event: Evaluating) -> None:
        if event.done == count:
            raise ValueError("no more")

    return note


@forks
def test_there_are_helpers_only_where_they_are_free_and_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, helpers in ((1, 0), (2, 1), (64, 3)):
        monkeypatch.setattr(cartpole_dqn.training.rounds, "usable_cores", lambda cores=cores: cores)
        assert free_processes(1, "cpu") == helpers
    assert free_processes(2, "cpu") == free_processes(1, "cuda") == 0
    monkeypatch.setattr("multiprocessing.parent_process", lambda: 1)
    assert free_processes(1, "cpu") == 0
