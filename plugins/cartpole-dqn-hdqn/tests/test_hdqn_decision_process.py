"""The decision process, held to exact computation."""

from __future__ import annotations

import itertools
from typing import Any

import gymnasium
import numpy as np
import pytest
from cartpole_dqn_hdqn import ENV_ID, register_environments
from cartpole_dqn_hdqn.decision_process import LEFT, RIGHT, DiscreteStochasticDecisionProcess
from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray


class Fixed:
    """Stands where the environment draws a number, and gives one that is known."""

    def __init__(self, number: float) -> None:
        self.number = number

    def random(self) -> float:
        return self.number


class Model:
    """The process as matrices over (state, last state visited), read off the environment outcome by outcome.

    `chances` [A, 2n, 2n] and `rewards` [A, 2n]; number s + n * visited stands for a pair. s1 leads nowhere.
    """

    def __init__(self, length: int, success: float) -> None:
        self.length = length
        size = 2 * length
        self.chances = np.zeros((2, size, size))
        self.rewards = np.zeros((2, size))
        env = DiscreteStochasticDecisionProcess(length, success)
        for visited, state, action in itertools.product((False, True), range(1, length), (LEFT, RIGHT)):
            if state == length - 1 and not visited:
                continue  # to be there is to have visited it
            for drawn, chance in ((0.0, success), (1.0 - 1e-12, 1.0 - success)):
                env.reset()
                env._state, env._visited_last = state, visited
                env.np_random = Fixed(drawn)  # type: ignore[assignment]
                obs, reward, terminated, truncated, info = env.step(action)
                here, there = state + length * visited, int(obs.argmax())
                self.chances[action, here, there + length * info["visited_last"]] += chance
                self.rewards[action, here] += chance * reward
                assert terminated == (there == 0)
                assert not truncated

    @property
    def start(self) -> int:
        return 1

    def optimum(self) -> tuple[float, NDArray[np.int64]]:
        """The undiscounted value of the start, and the best action everywhere, by value iteration."""
        values = np.zeros(2 * self.length)
        for _ in range(100_000):
            options = self.rewards + self.chances @ values
            ahead = options.max(axis=0)
            if np.abs(ahead - values).max() < 1e-13:
                break
            values = ahead
        return float(values[self.start]), options.argmax(axis=0)

    def visits(self, policy: NDArray[np.int64]) -> NDArray[np.float64]:
        """Expected arrivals at every pair in an episode, exactly: the start does not count as one."""
        size = 2 * self.length
        chances = self.chances[policy, np.arange(size)]
        start = np.eye(size)[self.start]
        arrivals: NDArray[np.float64] = np.linalg.solve(np.eye(size) - chances.T, start) - start
        return arrivals

    def value(self, policy: NDArray[np.int64]) -> float:
        """The undiscounted value of the start under a policy, exactly."""
        size = 2 * self.length
        chances, rewards = self.chances[policy, np.arange(size)], self.rewards[policy, np.arange(size)]
        values = np.linalg.solve(np.eye(size) - chances, rewards)
        return float(values[self.start])


@pytest.fixture(autouse=True, scope="module")
def _registered() -> None:
    register_environments()


@pytest.mark.filterwarnings("ignore:.*Overriding environment.*")
@pytest.mark.parametrize("mode", [None, "ansi", "rgb_array"])
def test_gymnasiums_checks_pass(mode: str | None) -> None:
    check_env(DiscreteStochasticDecisionProcess(render_mode=mode), skip_render_check=mode is None)


def test_it_is_made_by_its_id_with_options() -> None:
    env = gymnasium.make(ENV_ID, length=9, success=0.8)
    assert env.observation_space.shape == (9,)
    again = gymnasium.make(gymnasium.envs.registration.EnvSpec.from_json(env.spec.to_json()))  # type: ignore[union-attr]
    process: Any = again.unwrapped
    assert (process.length, process.success) == (9, 0.8)


def test_the_optimum_and_the_policies_of_the_paper() -> None:
    model = Model(6, 0.5)
    value, best = model.optimum()
    assert value == pytest.approx(0.208, abs=1e-9)
    assert model.value(best) == pytest.approx(0.208, abs=1e-12)
    # Right until s6 was visited, then left: arrivals at s6 are the chance to get there.
    detour = np.array([RIGHT] * 6 + [LEFT] * 6)
    assert model.value(detour) == pytest.approx(0.208, abs=1e-12)
    assert model.visits(detour)[5::6].sum() == pytest.approx(0.2, abs=1e-12)
    # Without any memory, too: always right.
    assert model.value(np.full(12, RIGHT)) == pytest.approx(0.208, abs=1e-12)
    assert model.value(np.full(12, LEFT)) == pytest.approx(0.01, abs=1e-12)


@given(length=st.integers(3, 9), success=st.floats(0.2, 0.8))
def test_the_optimum_is_the_gamblers(length: int, success: float) -> None:
    """The chance of a walk from s2 to come to the last state before s1 (Feller, volume 1, chapter XIV)."""
    ratio = (1 - success) / success
    steps = length - 1
    chance = 1 / steps if abs(ratio - 1) < 1e-9 else (1 - ratio) / (1 - ratio**steps)
    assert Model(length, success).optimum()[0] == pytest.approx(chance + (1 - chance) * 0.01, abs=1e-6)


def test_the_statistics_of_its_steps() -> None:
    """Frequencies in long play are the model's chances, within five standard deviations each."""
    length, success = 4, 0.8
    model, env = Model(length, success), DiscreteStochasticDecisionProcess(length, success)
    random = np.random.default_rng(0)
    counts = np.zeros_like(model.chances)
    rewards = np.zeros_like(model.rewards)
    here = -1
    for step in range(20_000):
        if here < 0:
            env.reset(seed=step)
            here = model.start
        action = int(random.random() < 0.8)
        obs, reward, terminated, _, info = env.step(action)
        there = int(obs.argmax()) + length * info["visited_last"]
        counts[action, here, there] += 1
        rewards[action, here] += reward
        here = -1 if terminated else there
    tried = counts.sum(axis=2)
    reachable = [s + length * v for v in (0, 1) for s in range(1, length) if s < length - 1 or v]
    assert (tried[:, reachable] > 100).all()
    for action, pair in itertools.product((LEFT, RIGHT), reachable):
        chances, n = model.chances[action, pair], tried[action, pair]
        spread = np.sqrt(n * chances * (1 - chances))
        assert (np.abs(counts[action, pair] - n * chances) <= 5 * spread + 1e-9).all()
        paid = model.rewards[action, pair]
        assert abs(rewards[action, pair] - n * paid) <= 5 * np.sqrt(n) * max(paid, 1e-12)


def test_it_renders_as_text() -> None:
    env = DiscreteStochasticDecisionProcess(4, 1.0, "ansi")
    env.reset(seed=0)
    assert env.render() == " s1  [s2]  s3   s4    s4 not visited\n"
    env.step(RIGHT)
    env.step(RIGHT)
    assert env.render() == " s1   s2   s3  [s4]   s4 visited\n"
    assert DiscreteStochasticDecisionProcess().render() is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"length": 2}, "length of 3 states or more, got 2"),
        ({"length": 6.0}, "got 6.0"),
        ({"length": True}, "got True"),
        ({"success": 1.5}, "from 0 to 1, got 1.5"),
        ({"success": float("nan")}, "got nan"),
        ({"success": "half"}, "got 'half'"),
        ({"render_mode": "human"}, "renders as ansi or rgb_array, not as 'human'"),
    ],
)
def test_wrong_arguments_are_said(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        DiscreteStochasticDecisionProcess(**arguments)


def test_wrong_steps_are_said() -> None:
    env = DiscreteStochasticDecisionProcess()
    with pytest.raises(RuntimeError, match="no episode is under way"):
        env.step(LEFT)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"or 1 \(right\), got 2"):
        env.step(2)
    env.step(LEFT)
    with pytest.raises(RuntimeError, match="no episode is under way"):
        env.step(LEFT)
