"""Wrappers with running statistics: evaluation sees what training sees, and what cannot be saved is refused."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import NormalizeObservation
from gymnasium.wrappers.utils import RunningMeanStd

from cartpole_dqn.contracts.parts import State
from cartpole_dqn.envs.factory import EnvFactory
from cartpole_dqn.envs.lanes import Lanes, training_seeds
from cartpole_dqn.errors import ConfigError
from cartpole_dqn.plugin.host import load_plugins
from cartpole_dqn.training.assembly import _collector_context, make_collector
from cartpole_dqn.training.resolve import resolve_config

HOST = load_plugins(allowed=())
NORMALISED = {"wrapper": "gymnasium.wrappers:NormalizeObservation"}
SCALED = {"wrapper": "gymnasium.wrappers:NormalizeReward", "training_only": True}


def factory_of(*observation: dict[str, Any], **env: Any) -> EnvFactory:
    flags = {"obs": "state", "env": env, "observation": list(observation)}
    return EnvFactory(resolve_config(HOST, flags=flags)[0], HOST)


def trained(factory: EnvFactory, steps: int = 60) -> Any:
    """Play random steps in the lanes of training; return their environments."""
    envs: Any = factory.make_vector()
    lanes, rng = Lanes(envs, seeds=training_seeds(0)), np.random.default_rng(0)
    lanes.start()
    for _ in range(steps):
        _, endings = lanes.step(rng.integers(0, 2, len(lanes)))
        if endings:
            lanes.begin([ending.env for ending in endings])
    return envs


def rms_of(env: Any) -> RunningMeanStd:
    while not isinstance(env, NormalizeObservation):
        env = env.env
    return env.obs_rms


@pytest.mark.parametrize("num_envs", [1, 3])
def test_evaluation_sees_a_state_as_the_first_lane_does(num_envs: int) -> None:
    factory = factory_of(NORMALISED, num_envs=num_envs)
    first = trained(factory).envs[0]
    leading = rms_of(first)
    mean, var, count = leading.mean.copy(), leading.var.copy(), leading.count
    assert count > 50
    raw, _ = gymnasium.make("CartPole-v1").reset(seed=5)
    expected = np.float32((raw - mean) / np.sqrt(var + 1e-8))
    evaluation: Any = factory.make_evaluation_vector(2)
    seen, _ = evaluation.reset(seed=[5, 6])
    assert np.array_equal(seen[0], expected)
    evaluation.step(np.array([0, 1]))
    assert np.array_equal(leading.mean, mean)
    assert leading.count == count
    trained(factory, 1)  # does not matter: it makes other environments
    first.step(0)
    assert leading.count > count


def test_other_lanes_follow_the_first_at_their_resets() -> None:
    envs = trained(factory_of(NORMALISED, num_envs=2))
    first, second = envs.envs
    first.step(0)
    assert rms_of(second).count < rms_of(first).count
    second.reset(seed=1)
    assert rms_of(second).count == rms_of(first).count
    second.step(0)
    assert rms_of(second).count == rms_of(first).count


@pytest.mark.parametrize("num_envs", [1, 3])
def test_lanes_are_restored_to_the_bit(num_envs: int) -> None:
    """Also frames above the normalisation, which earlier statistics normalised."""
    stack = {"wrapper": "stack", "stack_size": 4}

    def lanes() -> Lanes:
        return Lanes(factory_of(NORMALISED, stack, SCALED, num_envs=num_envs).make_vector(), seeds=training_seeds(0))

    def play(played: Lanes, rng: np.random.Generator, steps: int) -> list[Any]:
        seen = []
        for _ in range(steps):
            transitions, endings = played.step(rng.integers(0, 2, num_envs))
            seen += [(t.next_obs.tobytes(), t.reward, t.terminated) for t in transitions]
            if endings:
                played.begin([ending.env for ending in endings])
        return seen

    unbroken, resumed, rng = lanes(), lanes(), np.random.default_rng(3)
    unbroken.start()
    play(unbroken, rng, 67)
    assert resumed.load_state_dict(unbroken.state_dict()) == []
    again = np.random.default_rng(4)
    assert play(unbroken, np.random.default_rng(4), 80) == play(resumed, again, 80)


class Counting(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Observations less the mean so far; its own state."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self.update_running_mean, self.total, self.seen = True, np.zeros(4, np.float32), 0

    def observation(self, observation: Any) -> Any:
        if self.update_running_mean:
            self.total, self.seen = self.total + observation, self.seen + 1
        return observation - self.total / np.float32(max(self.seen, 1))

    def state_dict(self) -> State:
        return {"total": self.total, "seen": self.seen}

    def load_state_dict(self, state: State) -> None:
        self.total, self.seen = state["total"], int(state["seen"])


def test_a_wrapper_of_ones_own_has_a_state_dict() -> None:
    factory = factory_of({"wrapper": f"{__name__}:Counting"})
    trained(factory)
    guard = factory.make(evaluating=True)
    guard.reset(seed=0)
    assert guard.running.state_dict()["Counting-0"]["seen"] == factory.statistics.state_dict()["Counting-0"]["seen"]


class Hidden(gymnasium.Wrapper[Any, Any, Any, Any]):
    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self.moments = RunningMeanStd(shape=(4,))


def test_statistics_that_cannot_be_saved_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"the wrapper Hidden has running statistics, .* it needs state_dict\(\)"):
        factory_of({"wrapper": f"{__name__}:Hidden"}).make()


def test_they_need_all_environments_in_one_process() -> None:
    with pytest.raises(ConfigError, match=r"\(NormalizeObservation\) need .* choose --vector sync"):
        factory_of(NORMALISED, vector="async").make_vector()
    factory = factory_of(NORMALISED)
    with pytest.raises(ConfigError, match="choose --collector lockstep in place of ray"):
        factory.require_no_statistics("ray")
    factory_of().require_no_statistics("ray")
    config = resolve_config(HOST, flags={"obs": "state", "observation": [NORMALISED]})[0]
    make_collector(config, HOST, factory, _collector_context(config, factory, lambda: 0.0, print)).close()
