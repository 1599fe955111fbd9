from __future__ import annotations

import contextlib
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.envs.classic_control import MountainCarEnv
from gymnasium.wrappers import FlattenObservation, FrameStackObservation, NormalizeObservation

from cartpole_dqn.agents.augmentation import columns_of, half_mirrored, mirror_of, randomly_shifted
from cartpole_dqn.contracts.parts import Batch
from cartpole_dqn.envs.factory import EnvFactory
from cartpole_dqn.errors import RunError, UserError
from cartpole_dqn.plugin.host import load_plugins
from cartpole_dqn.training.assembly import check_agent
from cartpole_dqn.training.resolve import resolve_config
from cartpole_dqn.wrappers import Crop, RenderObservation


def batch(shape: tuple[int, ...], size: int = 5, actions: int = 3, masked: bool = True) -> Batch:
    g = torch.Generator().manual_seed(0)
    return Batch(
        obs=torch.randint(0, 256, (size, *shape), generator=g, dtype=torch.uint8),
        actions=torch.randint(0, actions, (size,), generator=g),
        rewards=torch.rand(size, generator=g),
        next_obs=torch.randint(0, 256, (size, *shape), generator=g, dtype=torch.uint8),
        discounts=torch.rand(size, generator=g),
        weights=torch.rand(size, generator=g),
        indices=torch.arange(size),
        next_mask=torch.rand(size, actions, generator=g) < 0.5 if masked else None,
    )


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 2), (3, 4, 6, 1)])
@pytest.mark.parametrize("masked", [True, False])
def test_every_second_transition_is_seen_in_a_mirror(shape: tuple[int, ...], masked: bool) -> None:
    given = batch(shape, masked=masked)
    before = {k: None if v is None else v.clone() for k, v in ((k, getattr(given, k)) for k in given.__slots__)}
    got = half_mirrored(given, 3, mirror_of(spaces.Box(0, 255, shape, np.uint8)))
    for i in range(len(given)):
        for name in ("obs", "next_obs"):
            wanted = getattr(given, name)[i].numpy()
            if i % 2:
                wanted = wanted[:, ::-1] if len(shape) < 4 else wanted[:, :, ::-1]
            assert np.array_equal(getattr(got, name)[i].numpy(), wanted), (name, i)
        assert int(got.actions[i]) == (2 - int(given.actions[i]) if i % 2 else int(given.actions[i]))
        if given.next_mask is None or got.next_mask is None:
            assert got.next_mask is given.next_mask
        else:
            wanted = given.next_mask[i].flip(0) if i % 2 else given.next_mask[i]
            assert torch.equal(got.next_mask[i], wanted)
    for name in ("rewards", "discounts", "weights", "indices"):
        assert getattr(got, name) is getattr(given, name)
    for name, value in before.items():
        assert value is None or torch.equal(value, getattr(given, name)), f"{name} of the given batch was changed"


@pytest.mark.parametrize("shape", [(4, 6), (5, 7, 2), (3, 4, 6, 1)])
def test_each_image_is_moved_and_its_edge_repeated(shape: tuple[int, ...]) -> None:
    given = batch(shape, size=40)
    before = given.obs.clone()
    columns = columns_of(spaces.Box(0, 255, shape, np.uint8))
    got = randomly_shifted(given, 2, columns, torch.Generator().manual_seed(1))
    assert torch.equal(given.obs, before)
    rows = len(shape) + columns - 1  # of one image
    seen: dict[str, list[tuple[int, int]]] = {"obs": [], "next_obs": []}
    for name, moves in seen.items():
        for image, moved in zip(getattr(given, name).numpy(), getattr(got, name).numpy(), strict=True):
            widths = [(2, 2) if axis in (rows, rows + 1) else (0, 0) for axis in range(len(shape))]
            padded = np.pad(image, widths, mode="edge")
            part = (slice(None),) * rows
            fitting = [
                (y, x)
                for y in range(5)
                for x in range(5)
                if np.array_equal(moved, padded[(*part, slice(y, y + shape[rows]), slice(x, x + shape[rows + 1]))])
            ]
            assert len(fitting) == 1
            moves += fitting
        assert {y for y, _ in moves} == {x for _, x in moves} == {0, 1, 2, 3, 4}, "every shift occurs"
    assert seen["obs"] != seen["next_obs"], "they move independently"
    for name in ("actions", "rewards", "discounts", "weights", "indices", "next_mask"):
        assert getattr(got, name) is getattr(given, name)


def test_a_shift_repeats_with_its_generator() -> None:
    given = batch((5, 7, 2))
    first, again = (randomly_shifted(given, 2, -2, torch.Generator().manual_seed(3)) for _ in range(2))
    other = randomly_shifted(given, 2, -2, torch.Generator().manual_seed(4))
    assert torch.equal(first.obs, again.obs)
    assert torch.equal(first.next_obs, again.next_obs)
    assert not torch.equal(first.obs, other.obs)


def test_numbers_cannot_be_shifted() -> None:
    with pytest.raises(UserError, match=r"agent.random_shift: expected images .* but observations are \[4\]"):
        columns_of(spaces.Box(-1, 1, (4,), np.float32))


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Acrobot-v1"])
def test_mirrored_numbers_are_a_transition_of_the_environment(env_id: str) -> None:
    """From the mirrored state, with mirrored actions, the numbers are those that the mirror gives."""
    envs = [gymnasium.make(env_id) for _ in range(2)]
    mirror = mirror_of(envs[0].observation_space, envs[0])  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    for episode in range(3):
        for env in envs:
            env.reset(seed=episode)
        state = np.asarray(envs[0].unwrapped.state, dtype=np.float64)  # type: ignore[attr-defined]
        envs[0].unwrapped.state, envs[1].unwrapped.state = state.copy(), -state  # type: ignore[attr-defined]
        for _ in range(8):
            action = int(rng.integers(last_action(envs[0]) + 1))
            (seen, *rest), (other, *rest_of_other) = (
                env.step(a) for env, a in zip(envs, (action, last_action(envs[0]) - action), strict=True)
            )
            assert np.allclose(mirror(torch.from_numpy(seen[None]))[0].numpy(), other, atol=1e-5)
            assert rest[:3] == rest_of_other[:3]


class Higher(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Changes observations without saying so: it is no `ObservationWrapper`."""

    def reset(self, **kwargs: Any) -> Any:
        obs, info = self.env.reset(**kwargs)
        return obs + 1, info


def test_numbers_need_their_signs_and_stay_as_they_are() -> None:
    env = gymnasium.make("CartPole-v1")
    space = env.observation_space
    assert isinstance(space, spaces.Box)
    with pytest.raises(UserError, match=r"changes the numbers of CartPoleEnv \(NormalizeObservation"):
        mirror_of(space, NormalizeObservation(env))
    with pytest.raises(UserError, match=r"changes the numbers of CartPoleEnv \(FrameStackObservation"):
        mirror_of(spaces.Box(-1, 1, (2, 4), np.float32), FrameStackObservation(env, 2))
    with pytest.raises(UserError, match=r"changes the numbers of CartPoleEnv \(Higher"):
        mirror_of(space, Higher(env))
    assert mirror_of(space, FlattenObservation(env))(torch.ones(1, 4)).tolist() == [[-1] * 4]
    for given in (True, [-1, 1], [1, 2]):
        bad = SymmetricCar()
        bad.metadata = {**bad.metadata, "mirror": given}
        outcome: Any = contextlib.nullcontext()
        if given != [-1, 1]:
            outcome = pytest.raises(UserError, match=r"the signs of its 2 numbers in a mirror, as in \"mirror\": \[-1")
        with outcome:
            mirror_of(spaces.Box(-1, 1, (2,), np.float32), bad)
    with pytest.raises(RunError, match="need the environment"):
        mirror_of(space)(torch.zeros(1, 4))


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Acrobot-v1"])
def test_what_the_presets_show_is_the_same_in_a_mirror(env_id: str) -> None:
    """From the mirrored state, with mirrored actions, the pictures are each other's mirror, but for rounding."""
    host = load_plugins(allowed=())
    config, _ = resolve_config(host, flags={"obs": "pixels", "env": {"id": env_id}})
    assert config.agent["mirror"], "it learns in a mirror"
    envs = [EnvFactory(config, host).make(evaluating=True) for _ in range(2)]
    rng = np.random.default_rng(0)
    apart, moved = [], []
    for episode in range(3):
        for env in envs:
            env.reset(seed=episode)
        state = np.asarray(envs[0].unwrapped.state, dtype=np.float64)  # type: ignore[attr-defined]
        envs[0].unwrapped.state, envs[1].unwrapped.state = state.copy(), -state  # type: ignore[attr-defined]
        last: Any = None
        for step in range(14):
            action = int(rng.integers(last_action(envs[0]) + 1))
            (seen, *rest), (mirrored, *_) = (
                env.step(a) for env, a in zip(envs, (action, last_action(envs[0]) - action), strict=True)
            )
            if step < 6:
                continue  # the frames before the states were set are no mirror images, and differences remember them
            apart.append(np.abs(seen.astype(int) - np.flip(mirrored, 1).astype(int)).mean())
            if last is not None:
                moved.append(np.abs(seen.astype(int) - last.astype(int)).mean())
            last = seen
            if rest[1]:
                break
    for env in envs:
        env.close()
    assert np.mean(apart) < 0.1 * np.mean(moved), "a mirror would show something else"


def last_action(env: gymnasium.Env[Any, Any]) -> int:
    space = env.action_space
    assert isinstance(space, spaces.Discrete)
    return int(space.n) - 1


# Which environments are symmetric -------------------------------------------------------------------------------------


IMAGES = spaces.Box(0, 255, (4, 4, 3), np.uint8)


class SymmetricCar(MountainCarEnv):
    metadata: ClassVar[Any] = {**MountainCarEnv.metadata, "mirror": True}


def test_a_mirror_is_for_environments_that_are_symmetric() -> None:
    for env in (gymnasium.make("CartPole-v1"), gymnasium.make("Acrobot-v1"), SymmetricCar()):
        mirror_of(IMAGES, env)
    with pytest.raises(UserError, match=r'MountainCarEnv looked and moved the same .* metadata "mirror": True'):
        mirror_of(IMAGES, gymnasium.make("MountainCar-v0"))


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        (["observation.centered-crop.snap=down"], "CenteredCrop with snap='down' puts a window of even width half a"),
        (["observation.centered-crop.snap=down", "observation.centered-crop.width=59"], ""),
        (["observation.centered-crop.locator=centre", "observation.centered-crop.snap=down"], ""),
        (["observation.render.columns=[50, 500]", "observation.centered-crop.locator=centre"], "columns 50 to 500"),
        (["observation.render.columns=[60, 540]", "observation.centered-crop.locator=centre"], ""),
    ],
)
def test_what_cuts_more_from_one_side_has_no_mirror(sets: list[str], words: str) -> None:
    host = load_plugins(allowed=())
    config, _ = resolve_config(host, flags={"obs": "pixels"}, sets=["agent.mirror=true", *sets])
    outcome: Any = pytest.raises(UserError, match=words) if words else contextlib.nullcontext()
    with outcome:
        check_agent(config, host)


def test_a_crop_of_one_side_has_no_mirror() -> None:
    env: Any = gymnasium.make("CartPole-v1", render_mode="rgb_array")
    with pytest.raises(UserError, match="Crop keeps the columns 0 to 300 of 600"):
        mirror_of(IMAGES, Crop(RenderObservation(env), columns=[0, 300]))
    mirror_of(IMAGES, Crop(RenderObservation(env), columns=[100, 500]))
