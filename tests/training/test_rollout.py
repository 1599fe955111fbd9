"""What a rollout plays is the run's game, and its priorities are the TD errors that a learner would find."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from cartpole_dqn import Fragment, Rollout, Transition, TransitionRing, builtin_collection
from cartpole_dqn.config.schema import to_toml
from cartpole_dqn.envs.guard import EnvError
from cartpole_dqn.errors import ConfigError, UserError
from cartpole_dqn.plugin.host import load_plugins
from cartpole_dqn.training.resolve import resolve_config

CONTEXT, AGENT = builtin_collection(3)
WEIGHTS = AGENT.policy().state_dict()


def config_of(env: str = "CartPole-v1", **agent: Any) -> str:
    flags = {
        "obs": "state",
        "steps": 10,
        "env": {"id": env, "num_envs": 3},
        "agent": {"network": {"name": "mlp", "hidden": [8]}, **agent},
    }
    return to_toml(resolve_config(load_plugins(allowed=()), preset="any-state", flags=flags)[0])


def play(rollout: Rollout, rounds: int, steps: int, epsilons: list[float]) -> dict[int, list[Transition]]:
    played: dict[int, list[Transition]] = {}
    for _ in range(rounds):
        for fragment in rollout.collect(steps, epsilons):
            played.setdefault(fragment.lane, []).extend(fragment.transitions())
    rollout.close()
    return played


def same(a: list[Transition], b: list[Transition]) -> bool:
    return len(a) == len(b) and all(
        np.array_equal(x.obs, y.obs) and (x.action, x.reward, x.terminated) == (y.action, y.reward, y.terminated)
        for x, y in zip(a, b, strict=True)
    )


def test_which_lanes_are_played_together_does_not_matter() -> None:
    together = play(Rollout(CONTEXT.config, range(3)), 2, 40, [0.3, 0.2, 0.1])
    apart = {
        **play(Rollout(CONTEXT.config, range(1)), 2, 40, [0.3]),
        **play(Rollout(CONTEXT.config, range(1, 3)), 2, 40, [0.2, 0.1]),
    }
    assert together.keys() == apart.keys() == {0, 1, 2}
    assert all(same(together[lane], apart[lane]) for lane in together)
    assert not same(together[0], together[1])


def test_another_incarnation_plays_other_episodes() -> None:
    first, second = (play(Rollout(CONTEXT.config, [1], incarnation=i), 1, 60, [0.1])[1] for i in (0, 1))
    assert not np.array_equal(first[0].obs, second[0].obs)
    again = play(Rollout(CONTEXT.config, [1], incarnation=1), 1, 60, [0.1])[1]
    assert same(second, again)


def test_epsilon_is_the_share_of_random_actions() -> None:
    rollout = Rollout(CONTEXT.config, range(3))
    rollout.load(WEIGHTS)
    played = play(rollout, 4, 250, [0.0, 0.5, 1.0])
    policy = AGENT.policy()
    policy.load_state_dict(WEIGHTS)
    for lane, expected in ((0, 0.0), (1, 0.25), (2, 0.5)):
        steps = played[lane]
        best = policy.act(np.stack([step.obs for step in steps]))
        share = float(np.mean(best != [step.action for step in steps]))
        assert share == pytest.approx(expected, abs=0.05 if expected else 0.0)


@pytest.mark.parametrize("n_step", [1, 3, 5])
def test_priorities_are_the_td_errors_of_the_replays_batches(n_step: int) -> None:
    """The ring sums rewards and finds where to bootstrap from, in a way of its own; the values are the policy's."""
    config = config_of(n_step=n_step, gamma=0.9)
    rollout = Rollout(config, range(2))
    played = play(rollout, 3, 60, [0.2, 0.9])
    space = rollout.observation_space
    assert isinstance(space, spaces.Box)
    ring = TransitionRing(observation_space=space, capacity=1000, gamma=0.9, num_envs=2, n_step=n_step)
    compared, ends = 0, {"terminated": 0, "truncated": 0}
    for lane, steps in played.items():
        events = []
        for step in steps:
            ends["terminated"] += step.terminated
            ends["truncated"] += step.truncated
            events.append(step.priority)
            ring.append(step)
        ring.break_lane(lane)
        indices = np.array([i for i in ring.index_at(np.arange(len(ring))).tolist() if i % 2 == lane])
        batch = ring.gather(indices)
        q, after = (rollout._policy.q_values(obs.numpy()) for obs in (batch.obs, batch.next_obs))
        assert q is not None
        assert after is not None
        target = batch.rewards + batch.discounts * torch.from_numpy(after.max(1))
        errors = (target.numpy() - q[np.arange(len(q)), batch.actions.numpy()]).astype(float)
        # The last ones would have gone on: what the ring made of their broken episode is another matter.
        whole = len(errors) - n_step
        np.testing.assert_allclose(np.array(events[:whole], float), np.abs(errors[:whole]), rtol=1e-4, atol=1e-5)
        compared += whole
    assert compared > 200
    assert ends["terminated"] > 3


def test_a_truncated_episode_bootstraps_and_a_terminated_one_does_not() -> None:
    flags = {"obs": "state", "steps": 10, "env": {"num_envs": 1, "time_limit": 4}, "agent": {"gamma": 0.5}}
    config = to_toml(resolve_config(load_plugins(allowed=()), preset="any-state", flags=flags)[0])
    rollout = Rollout(config, [0])
    (fragment,) = rollout.collect(16, [0.5])
    steps = fragment.transitions()
    last = next(step for step in steps if step.truncated)
    q, after = (rollout._policy.q_values(obs[None]) for obs in (last.obs, last.next_obs))
    assert q is not None
    assert after is not None
    assert last.priority == pytest.approx(abs(1 + 0.5 * after.max() - q[0, last.action]), rel=1e-4)
    assert [ending.length for ending in fragment.endings] == [4] * len(fragment.endings)
    rollout.close()


def test_loaded_weights_act() -> None:
    rollout = Rollout(CONTEXT.config, [0])
    weights = {"network": {name: torch.zeros_like(value) for name, value in WEIGHTS["network"].items()}}
    last = list(weights["network"])[-1]
    for best in (1, 0):
        weights["network"][last] = torch.tensor([float(best == 0), float(best == 1)])
        rollout.load(weights)
        rollout.collect(12, [0.0])
        (fragment,) = rollout.collect(12, [0.0])
        assert set(fragment.actions[-5:].tolist()) == {best}
    rollout.close()


def test_pixels_stay_bytes_and_stacked_frames_are_sent_once() -> None:
    host = load_plugins(allowed=())
    flags = {"obs": "pixels", "steps": 10, "env": {"id": "CartPole-v1"}}
    config, _ = resolve_config(host, preset="any-pixels", flags=flags)
    rollout = Rollout(to_toml(config), [0])
    (fragment,) = rollout.collect(12, [1.0])
    space = rollout.observation_space
    assert isinstance(fragment, Fragment)
    assert fragment.obs.dtype == np.uint8
    assert fragment.frame_stack == space.shape[0] == 4  # type: ignore[index]
    assert fragment.obs.shape[1:] == space.shape[1:]  # type: ignore[index]
    assert fragment.transitions()[0].obs.shape == space.shape
    rollout.close()


class Masked(gymnasium.Env[Any, Any]):
    """Every other action is forbidden, in turn; raises where one is taken."""

    observation_space = spaces.Box(0, 1, (1,), np.float32)
    action_space = spaces.Discrete(4, start=2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.time = 0
        return np.zeros(1, np.float32), self.info()

    def info(self) -> dict[str, Any]:
        return {"action_mask": np.arange(4) % 2 == self.time % 2}

    def step(self, action: int) -> Any:
        assert (action - 2) % 2 == self.time % 2, "a forbidden action"
        self.time += 1
        return np.zeros(1, np.float32), 1.0, False, self.time == 20, self.info()


class Failing(Masked):
    def step(self, action: int) -> Any:
        if self.time == 5:
            raise RuntimeError("out of order")
        return super().step(action)


def register(name: str, cls: Any) -> str:
    if name not in gymnasium.registry:
        gymnasium.register(name, cls)
    return name


def test_masks_are_kept_and_sent() -> None:
    rollout = Rollout(config_of(register("RolloutMasked-v0", Masked)), range(2))
    played = play(rollout, 2, 30, [0.5, 1.0])
    for steps in played.values():
        assert all(step.next_mask is not None and step.next_mask.sum() == 2 for step in steps)
        assert any(step.truncated for step in steps)
        assert all(step.priority is not None and np.isfinite(step.priority) for step in steps)


def test_an_environment_that_fails_is_named_by_its_lane() -> None:
    rollout = Rollout(config_of(register("RolloutFailing-v0", Failing)), [7, 8])
    with pytest.raises(EnvError, match=r"environment 7 \(episode seed \d+, step 6\) raised RuntimeError: out of order"):
        rollout.collect(10, [0.0, 0.0])


class Silent:
    """A policy without values."""

    def __init__(self, policy: Any) -> None:
        self.policy = policy

    def __getattr__(self, name: str) -> Any:
        return getattr(self.policy, name)

    def q_values(self, obs: Any) -> None:
        return None


def test_without_values_there_are_no_priorities() -> None:
    rollout = Rollout(CONTEXT.config, range(2))
    rollout._policy = Silent(AGENT.policy())  # type: ignore[assignment]
    fragments = rollout.collect(10, [0.5, 0.5])
    assert [len(fragment) for fragment in fragments] == [10, 10], "nothing has to wait for a value"
    assert [fragment.priorities for fragment in fragments] == [None, None]
    rollout.close()


@pytest.mark.parametrize("lanes", [[], [1, 3], [2, 1]])
def test_lanes_must_be_consecutive(lanes: list[int]) -> None:
    with pytest.raises(ConfigError, match="consecutive lanes, one or more"):
        Rollout(CONTEXT.config, lanes)


def test_what_cannot_be_made_is_said() -> None:
    with pytest.raises(UserError, match="NotThere"):
        Rollout(CONTEXT.config.replace("CartPole-v1", "NotThere-v1"), [0])
