"""A lost life ends what is learned, and not the game; and returns are those of the game."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import ClipReward, FrameStackObservation

from cartpole_dqn.config.schema import to_toml
from cartpole_dqn.envs.factory import EnvFactory
from cartpole_dqn.envs.guard import EnvError, Guard, Tally
from cartpole_dqn.envs.lanes import Lanes
from cartpole_dqn.envs.workers import WorkerEnvs
from cartpole_dqn.plugin.host import load_plugins
from cartpole_dqn.training.resolve import resolve_config
from cartpole_dqn.training.rollout import Rollout
from cartpole_dqn.wrappers import LifeLost
from cartpole_dqn.wrappers.moments import TorchForm
from lives import Lives

HOST = load_plugins(allowed=())


def guarded() -> Guard:
    return Guard(LifeLost(ClipReward(Tally(Lives()), -1.0, 1.0)))


@pytest.mark.parametrize("apart", [False, True])
def test_a_lost_life_ends_what_is_learned_and_not_the_game(apart: bool) -> None:
    makes = [guarded, guarded]
    envs: Any = WorkerEnvs(makes) if apart else SyncVectorEnv(makes, autoreset_mode=AutoresetMode.DISABLED)
    lanes = Lanes(envs, seeds=lambda lane, episode: lane)
    lanes.start()
    seen, ended = [], []
    for _ in range(6):
        transitions, endings = lanes.step(np.zeros(2, np.int64))
        seen.append(transitions[1])
        ended += endings
    lanes.close()
    assert [t.terminated for t in seen] == [False, True, False, True, False, True]
    assert [t.reward for t in seen] == [1.0] * 6
    assert [(e.env, e.episode_return, e.length, e.terminated) for e in ended] == [(0, 30, 6, True), (1, 30, 6, True)]


def test_an_actor_expects_nothing_after_a_lost_life() -> None:
    lost = {"wrapper": "life-lost", "training_only": True}
    agent = {"n_step": 5, "gamma": 1.0, "network": {"name": "mlp", "hidden": []}}
    flags = {"obs": "state", "steps": 9, "env": {"id": "Lives-v0"}, "agent": agent, "observation": [lost]}
    rollout = Rollout(to_toml(resolve_config(HOST, preset="any-state", flags=flags)[0]), [0])
    rollout.load(zero_weights(rollout))
    steps = [step for fragment in rollout.collect(4, [0.0]) for step in fragment.transitions()]
    rollout.close()
    assert [step.priority for step in steps] == [10.0, 5.0, 10.0, 5.0]


def zero_weights(rollout: Any) -> Any:
    state = rollout._policy.state_dict()
    return {**state, "network": {name: value * 0 for name, value in state["network"].items()}}


def test_torch_sees_through_it() -> None:
    env = FrameStackObservation(LifeLost(Lives()), 2)
    env.reset()
    form = TorchForm(env)
    assert form.stops == {}
    assert [(given.source, given.ago) for given in form.inputs] == [("Lives", [0, 1])]


def test_a_game_without_lives_is_told() -> None:
    with pytest.raises(EnvError, match=r'LifeLost: expected info\["lives"\]'):
        Guard(LifeLost(gymnasium.make("CartPole-v1"))).reset(seed=0)


def test_what_is_no_number_below_the_wrappers_is_a_fault() -> None:
    class Torn(Lives):
        def step(self, action: Any) -> Any:
            obs, _, *rest = super().step(action)
            return obs, float("nan"), *rest

    class Mended(gymnasium.RewardWrapper[Any, Any]):
        def reward(self, reward: Any) -> Any:
            return 0.0

    guard = Guard(Mended(Tally(Torn())))
    guard.reset(seed=0)
    with pytest.raises(EnvError, match="the reward nan below its wrappers, expected a finite number"):
        guard.step(0)


def test_repeated_actions_need_no_other_count() -> None:
    skip = {"wrapper": "max-and-skip", "skip": 4}
    config = resolve_config(HOST, flags={"obs": "state", "observation": [skip]})[0]
    guard = EnvFactory(config, HOST).make()
    guard.reset(seed=0)
    _, reward, _, _, info = guard.step(0)
    assert reward == 4.0
    assert not info


@pytest.mark.parametrize("preset", ["atari", "atari-ram"])
def test_atari_presets_clip_and_end_lives_while_training_only(preset: str) -> None:
    pytest.importorskip("ale_py")
    config = resolve_config(HOST, preset=preset, flags={"env": {"id": "ale_py:ALE/Breakout-v5"}})[0]
    factory = EnvFactory(config, HOST)
    names = [str(factory.make(evaluating=evaluating)) for evaluating in (False, True)]
    assert ["LifeLost<" in name and "ClipReward<" in name for name in names] == [True, False]
