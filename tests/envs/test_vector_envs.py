"""Environments side by side, in one process and in several: every episode is what a single environment plays alone."""

from __future__ import annotations

import multiprocessing
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np
import pytest

from cartpole_dqn.components.replay.ring import TransitionRing
from cartpole_dqn.contracts.parts import Transition
from cartpole_dqn.contracts.seeding import Stream, episode_seed
from cartpole_dqn.envs.chain import frame_stack
from cartpole_dqn.envs.factory import EnvFactory
from cartpole_dqn.envs.lanes import Lanes, training_seeds
from cartpole_dqn.errors import CartpoleDqnError
from cartpole_dqn.plugin.host import load_plugins
from cartpole_dqn.training.resolve import resolve_config

HOST = load_plugins(allowed=())
LANES, N_STEP, SEED = 3, 3, 5

CASES = {
    # id, obs, steps of an episode at most, steps to take
    "CartPole, state": ("CartPole-v1", "state", 15, 60),
    "CartPole, frame difference and window": ("CartPole-v1", "pixels", 15, 40),
    "MountainCar, stacks of frames": ("MountainCar-v0", "pixels", 5, 14),
    "FrozenLake": ("FrozenLake-v1", "state", 100, 60),
    "Taxi, masks": ("Taxi", "state", 12, 40),
    "LunarLander": ("LunarLander-v3", "state", 90, 110),
    "Pong, every fourth frame": ("ale_py:ALE/Pong-v5", "pixels", 30, 20),
}
NEEDS = {"LunarLander-v3": "Box2D", "ale_py:ALE/Pong-v5": "ale_py"}


@dataclass
class Episode:
    """What a lane lived through from a reset on."""

    steps: list[Transition] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        return bool(self.steps) and (self.steps[-1].terminated or self.steps[-1].truncated)


def newest(family: str) -> str:
    """The id of the newest version that Gymnasium registers."""
    known = [spec for spec in gymnasium.registry.values() if spec.name == family]
    return max(known, key=lambda spec: spec.version or 0).id


def same(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    return one.dtype == other.dtype and one.tobytes() == other.tobytes()


def play(lanes: Lanes, ring: TransitionRing, steps: int) -> list[list[Episode]]:
    """Random allowed actions; ended lanes are begun anew, as the runner does. Returns each lane's episodes."""
    rng = np.random.default_rng(SEED)
    episodes = [[Episode()] for _ in range(LANES)]
    lanes.start()
    for _ in range(steps):
        chances = rng.random((LANES, lanes._mask.shape[1]))
        mask = lanes.mask
        transitions, endings = lanes.step((chances if mask is None else chances * mask).argmax(1))
        for t in transitions:
            ring.append(t)
            kept = t._replace(obs=t.obs.copy(), next_obs=t.next_obs.copy())
            episodes[t.env][-1].steps.append(kept)
        if endings:
            lanes.begin([ending.env for ending in endings])
            for ending in endings:
                episodes[ending.env].append(Episode())
    return episodes


@pytest.mark.parametrize("vector", ["sync", "async"])
@pytest.mark.parametrize("case", CASES)
def test_no_transition_crosses_an_episodes_end(case: str, vector: str) -> None:
    env_id, obs, limit, steps = CASES[case]
    if env_id in NEEDS:
        pytest.importorskip(NEEDS[env_id])
    env_id = newest("Taxi") if env_id == "Taxi" else env_id
    limited = {"time_limit": limit} if "ALE" not in env_id else {"kwargs": {"max_num_frames_per_episode": limit}}
    env = {"id": env_id, "num_envs": LANES, "vector": vector, **limited}
    config, _ = resolve_config(HOST, flags={"obs": obs, "env": env, "steps": 1})
    if "ALE" in env_id:
        config.env.kwargs["frameskip"] = 1
    factory = EnvFactory(config, HOST)
    envs = factory.make_vector()
    space: Any = envs.single_observation_space
    ring = TransitionRing(
        observation_space=space,
        capacity=3000,
        gamma=0.9,
        num_envs=LANES,
        n_step=N_STEP,
        frame_stack=frame_stack(config.observation, HOST.registry, space),
    )
    lanes = Lanes(envs, seeds=training_seeds(SEED))
    try:
        episodes = play(lanes, ring, steps)
    finally:
        lanes.close()
    assert sum(episode.ended for lane in episodes for episode in lane) >= LANES, "episodes must end for this to tell"
    check_each_alone(factory, episodes)
    check_what_is_learned_from(ring, episodes)


def check_each_alone(factory: EnvFactory, episodes: list[list[Episode]]) -> None:
    """A single environment, reset with the episode's seed and given its actions, shows the same."""
    single = factory.make()
    for lane, own in enumerate(episodes):
        for number, episode in enumerate(own):
            obs, info = single.reset(seed=episode_seed(Stream.TRAIN, SEED, lane, number))
            for k, step in enumerate(episode.steps):
                assert same(step.obs, obs), f"lane {lane}, episode {number}, step {k}"
                obs, reward, terminated, truncated, info = single.step(step.action)
                assert same(step.next_obs, obs)
                assert (step.reward, step.terminated, step.truncated) == (reward, terminated, truncated)
                if "action_mask" in info:
                    assert step.next_mask is not None
                    assert step.next_mask.tolist() == info["action_mask"].tolist()
                assert (terminated or truncated) == (episode.ended and k == len(episode.steps) - 1)
    single.close()


def check_what_is_learned_from(ring: TransitionRing, episodes: list[list[Episode]]) -> None:
    """The replay's n-step transitions lead from a step of an episode to the n-th after it, or to the same one's end."""
    expected = []
    for own in episodes:
        for episode in own:
            for k in range(len(episode.steps)):
                ahead = episode.steps[k : k + N_STEP]
                last = ahead[-1]
                if len(ahead) == N_STEP or last.terminated or last.truncated:
                    discount = 0.0 if last.terminated else 0.9 ** len(ahead)
                    expected.append((ahead[0].obs.tobytes(), last.next_obs.tobytes(), np.float32(discount)))
    batch = ring.gather(ring.index_at(np.arange(len(ring))))
    stored = zip(batch.obs.numpy(), batch.next_obs.numpy(), batch.discounts.numpy(), strict=True)
    assert sorted((o.tobytes(), n.tobytes(), d) for o, n, d in stored) == sorted(expected)


# Processes that are not forked ----------------------------------------------------------------------------------------

CARTPOLE = "gymnasium.envs.classic_control.cartpole:CartPoleEnv"


@pytest.fixture
def plugged() -> Iterator[str]:
    """An environment as a plugin registers it: this process alone knows its id."""
    gymnasium.register("Plugged-v3", CARTPOLE, max_episode_steps=7)
    yield "Plugged-v3"
    del gymnasium.registry["Plugged-v3"]


def made_in(method: str, env_id: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    context = multiprocessing.get_context(method)
    monkeypatch.setattr(multiprocessing, "get_context", lambda: context)
    flags = {"obs": "state", "env": {"id": env_id, "num_envs": 2, "vector": "async"}, "steps": 1}
    config, _ = resolve_config(HOST, flags=flags)
    return EnvFactory(config, HOST).make_vector()


@pytest.mark.filterwarnings("ignore:.*latest versioned environment")
@pytest.mark.parametrize(("method", "env_id"), [("spawn", "Plugged-v3"), ("forkserver", "Plugged")])
@pytest.mark.process
def test_spawned_processes_know_what_plugins_registered(
    method: str, env_id: str, plugged: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    envs = made_in(method, env_id, monkeypatch)
    try:
        envs.reset(seed=[0, 1])
        steps = [envs.step(np.array([step % 2] * 2)) for step in range(7)]
        assert [bool(truncated.all()) for _, _, _, truncated, _ in steps] == [False] * 6 + [True]
    finally:
        envs.close()


@pytest.mark.process
def test_what_only_this_process_can_make_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    gymnasium.register("Local-v0", lambda: gymnasium.make("CartPole-v1"))
    try:
        with pytest.raises(CartpoleDqnError, match=re.escape("cannot make the environment Local-v0")):
            made_in("spawn", "Local-v0", monkeypatch)
    finally:
        del gymnasium.registry["Local-v0"]
