from __future__ import annotations

import importlib.util
import itertools
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from gymnasium.envs.classic_control import CartPoleEnv
from rich.console import Console

from cartpole_dqn.config.presets import parse_preset
from cartpole_dqn.config.schema import RunConfig, to_toml
from cartpole_dqn.contracts.events import Glimpse, Observer
from cartpole_dqn.contracts.options import Part, changed
from cartpole_dqn.contracts.seeding import Stream
from cartpole_dqn.envs.factory import EnvFactory
from cartpole_dqn.plugin.host import load_plugins
from cartpole_dqn.runs.folder import RunFolder
from cartpole_dqn.training import assembly
from cartpole_dqn.training.assembly import assemble
from cartpole_dqn.training.resolve import read_config, resolve_config

HOST = load_plugins(allowed=())


def resolve(**given: Any) -> RunConfig:
    return resolve_config(HOST, **given)[0]


def quiet(config: RunConfig) -> RunConfig:
    return changed(config, observer=[])


def run(config: RunConfig) -> Any:
    assembly = assemble(quiet(config), HOST, folder=None, console=Console(stderr=True), clock=time.perf_counter)
    try:
        assembly.runner.run()
    finally:
        assembly.close()
    return assembly.runner.state_dict()


def weights(state: Any) -> list[torch.Tensor]:
    return list(state["agent"]["online"].values())


class Looking(Observer):
    """Wants to see what the agent sees, at every step."""

    wants_glimpses = True

    def __init__(self) -> None:
        self.seen: list[Glimpse] = []

    def glimpsed(self, event: Glimpse) -> None:
        self.seen.append(event)


@pytest.mark.parametrize(("obs", "shape"), [("pixels", (40, 80)), ("state", (4,))])
def test_looking_at_the_agent_changes_no_bit_of_the_run(obs: str, shape: tuple[int, ...]) -> None:
    sets = [
        "steps=80",
        "evaluation.every=40",
        "evaluation.episodes=1",
        "agent.learning_starts=20",
        "agent.batch_size=8",
    ]
    config = quiet(resolve(flags={"obs": obs}, sets=[*sets, "agent.train_every=1", "agent.replay.capacity=200"]))
    looking = Looking()
    seconds = itertools.count()  # A second goes by with each look at the clock, so each step has its glimpse.
    console = Console(stderr=True)
    states = []
    for observers in ([], [Part(name=HOST.registry.use("observer", looking))]):
        watched = changed(config, observer=observers)
        built = assemble(watched, HOST, folder=None, console=console, clock=lambda: float(next(seconds)))
        built.runner.run()
        built.close()
        states.append(built.runner.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(weights(states[0]), weights(states[1]), strict=True))
    assert states[0]["agent"]["updates"] == states[1]["agent"]["updates"] > 0
    assert [glimpse.step for glimpse in looking.seen] == list(range(1, 81))
    last = looking.seen[-1]
    assert last.panels[0].values.shape == shape
    assert last.actions == ("left", "right")
    assert last.q_values is not None
    assert last.q_values.shape == (2,)
    assert last.action in (0, 1)
    if obs == "pixels":
        assert [panel.kind for panel in last.panels] == ["grey", "difference"]


@pytest.mark.parametrize(
    ("flags", "preset"),
    [
        ({}, "pixels"),
        ({"obs": "pixels"}, "pixels"),
        ({"obs": "state"}, "state"),
        ({"obs": "state", "env": {"id": "CartPole-v0"}}, "state"),
        ({"obs": "state", "env": {"id": "CartPole"}}, "state"),
        ({"obs": "state", "env": {"id": "Acrobot-v1"}}, "acrobot"),
        ({"obs": "state", "env": {"id": "LunarLander-v3"}}, "lunar-lander"),
        ({"obs": "state", "env": {"id": "MountainCar-v0"}}, "any-state"),
        ({"obs": "pixels", "env": {"id": "Acrobot-v1"}}, "acrobot-pixels"),
        ({"obs": "pixels", "env": {"id": "MountainCar-v0"}}, "any-pixels"),
    ],
)
def test_env_and_obs_choose_the_preset(flags: dict[str, Any], preset: str) -> None:
    assert resolve(flags=flags).preset == preset


def test_native_is_the_former_name_of_state(tmp_path: Path) -> None:
    config = resolve(flags={"obs": "state"})
    assert config.obs == "state"
    assert resolve(flags={"obs": "native"}) == config
    assert resolve(flags={"obs": "state"}, sets=["obs=native"]) == config
    older = RunFolder.create(tmp_path / "run", env_id="x", obs="y")
    older.write_config(to_toml(config).replace('obs = "state"', 'obs = "native"'))
    assert resolve(config_file=older.config) == config
    assert read_config(older, HOST) == config
    preset = parse_preset("acme", 'obs = "native"\n[[applies]]\nenv = "*"\nobs = "native"')
    assert (preset.table["obs"], preset.applies) == ("state", (("*", "state"),))


def test_layers_win_in_their_order(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('seed = 2\nsteps = 70\n[agent]\ngamma = 0.5\nbatch_size = 9\n[env]\nid = "CartPole-v0"\n')
    config = resolve(
        preset="state", config_file=file, flags={"seed": 3, "agent": {"gamma": 0.6}}, sets=["agent.gamma=0.7", "seed=4"]
    )
    assert (config.seed, config.steps, config.agent["gamma"], config.agent["batch_size"]) == (4, 70, 0.7, 9)
    assert config.env.id == "CartPole-v0"
    assert config.agent["n_step"] == 5, "the preset's, which nobody touched"


def test_a_budget_replaces_the_other_kind() -> None:
    config = resolve(preset="tutorial-pixels", flags={"steps": 600})
    assert (config.steps, config.episodes) == (600, None)
    config = resolve(preset="pixels", flags={"episodes": 3})
    assert (config.steps, config.episodes) == (None, 3)
    config = resolve(preset="pixels", sets=["episodes=3"])
    assert (config.steps, config.episodes) == (None, 3)


def test_the_written_configuration_repeats_the_run(tmp_path: Path) -> None:
    for name in HOST.registry.names("preset"):
        config = resolve(preset=name, sets=["seed=5"])
        file = tmp_path / f"{name}.toml"
        file.write_text(to_toml(config))
        again, notes = resolve_config(HOST, config_file=file)
        assert again == config
        assert notes == []


def test_what_presets_show_prints_can_be_used_as_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(HOST.registry.load("preset", "pixels"))
    assert resolve(config_file=file).agent == resolve(preset="pixels").agent


def test_observers_are_added_once() -> None:
    config = resolve(flags={"obs": "state"}, observers=["metrics", "metrics", "display"])
    assert [entry["name"] for entry in config.observer] == ["display", "metrics"]


# Presets --------------------------------------------------------------------------------------------------------------


def test_the_pixel_tutorial_has_the_notebooks_hyperparameters() -> None:
    config = resolve(preset="tutorial-pixels")
    agent = config.agent
    assert (config.env.id, config.env.time_limit, config.episodes) == ("CartPole-v0", "none", 50)
    assert (agent["gamma"], agent["batch_size"], agent["n_step"], agent["double"]) == (0.999, 128, 1, False)
    assert (agent["clip"], agent["clip_at"], agent["train_every"], agent["updates"]) == ("value", 1.0, 1, 1)
    assert agent["learning_starts"] <= 128
    assert agent["exploration"] == {"name": "exponential", "start": 0.9, "end": 0.05, "decay": 200.0}
    assert agent["replay"] == {"name": "uniform", "capacity": 10_000, "replacement": False}
    assert agent["network"]["name"] == "tutorial-conv"
    assert agent["target_update"] == {"name": "hard", "every": 10, "unit": "episodes", "first": 1}
    torch_default = torch.optim.RMSprop([torch.zeros(1, requires_grad=True)]).defaults
    for key in ("lr", "alpha", "eps", "momentum", "centered"):
        assert agent["optimiser"][key] == torch_default[key]
    env = EnvFactory(config, HOST).make()
    assert env.observation_space.shape == (40, 80, 3)
    assert env.spec is not None
    assert env.spec.max_episode_steps is None
    env.close()


@pytest.mark.parametrize(
    ("preset", "env", "limit"), [("tutorial-state", "CartPole-v1", 500), ("tutorial-state-v0", "CartPole-v0", None)]
)
def test_the_state_tutorials_have_the_notebooks_hyperparameters(preset: str, env: str, limit: int | None) -> None:
    config = resolve(preset=preset)
    agent = config.agent
    assert (config.env.id, agent["gamma"], agent["batch_size"]) == (env, 0.99, 128)
    assert agent["network"]["hidden"] == [128, 128]
    assert agent["exploration"] == {"name": "exponential", "start": 0.9, "end": 0.05, "decay": 1000.0}
    assert agent["replay"]["capacity"] == 10_000
    assert (agent["target_update"]["name"], agent["target_update"]["tau"]) == ("soft", 0.005)
    assert (agent["clip"], agent["clip_at"]) == ("value", 100.0)
    torch_default = torch.optim.AdamW([torch.zeros(1, requires_grad=True)]).defaults
    assert (agent["optimiser"]["name"], agent["optimiser"]["lr"], agent["optimiser"]["amsgrad"]) == (
        "adamw",
        1e-4,
        True,
    )
    assert agent["optimiser"]["weight_decay"] == torch_default["weight_decay"]
    training_env = EnvFactory(config, HOST).make()
    assert training_env.spec is not None
    assert training_env.spec.max_episode_steps == limit
    assert EnvFactory(config, HOST).make(evaluating=True).spec.max_episode_steps in (200, 500)  # type: ignore[union-attr]


def test_every_preset_trains() -> None:
    for preset in HOST.registry.names("preset"):
        config = resolve(preset=preset, flags={"steps": 60})
        brought_by = {"ALE/": "ale_py", "LunarLander": "Box2D"}
        if any(part in config.env.id and importlib.util.find_spec(name) is None for part, name in brought_by.items()):
            continue
        agent = {**config.agent, "learning_starts": 0, "batch_size": 16}
        state = run(changed(config, agent=agent, evaluation=changed(config.evaluation, every=0)))
        assert state["step"] == 60
        assert state["agent"]["updates"] > 5, preset


def test_a_transition_of_the_pixel_default_takes_under_10000_bytes() -> None:
    config = resolve(flags={"obs": "pixels"})
    env = EnvFactory(config, HOST).make()
    agent = assembly.make_agent(config, HOST, env.observation_space, env.action_space)
    assert agent.nbytes / config.agent["replay"]["capacity"] < 10_000
    env.close()


def test_a_run_knows_where_its_components_come_from() -> None:
    used = assembly.used_components(resolve(flags={"obs": "pixels"}), HOST.registry)
    assert {"wrapper/render", "agent/dqn", "network/conv", "replay/first-kept", "observer/metrics"} <= set(used)
    assert set(used.values()) == {"cartpole-dqn 0.1.0"}


# Determinism ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "steps", "num_envs"), [("pixels", 150, 2), ("tutorial-pixels", 140, 1), ("state", 300, 1)]
)
def test_same_seed_same_bits(preset: str, steps: int, num_envs: int) -> None:
    def play(seed: int) -> list[torch.Tensor]:
        config = resolve(preset=preset, flags={"steps": steps, "seed": seed, "env": {"num_envs": num_envs}})
        evaluation = changed(config.evaluation, every=100, episodes=1)
        agent = {**config.agent, "learning_starts": 0}
        return weights(run(changed(config, evaluation=evaluation, agent=agent)))

    first, second, other = play(1), play(1), play(2)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_async_environments_train_like_sync_ones() -> None:
    def play(vector: str) -> list[torch.Tensor]:
        flags = {"obs": "state", "steps": 300, "env": {"num_envs": 2, "vector": vector}}
        config = resolve(flags=flags, sets=["agent.learning_starts=0", "evaluation.every=0"])
        return weights(run(config))

    assert all(torch.equal(a, b) for a, b in zip(play("sync"), play("async"), strict=True))


def test_global_random_state_is_left_alone() -> None:
    import random

    import numpy as np

    before = torch.random.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    run(resolve(flags={"obs": "pixels", "steps": 60}, sets=["agent.learning_starts=0", "evaluation.every=30"]))
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert before[1] == np.random.get_state()[1].tolist()  # noqa: NPY002
    assert before[2] == random.getstate()


def test_a_model_is_confirmed_on_seeds_that_did_not_select_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The two highest of a seed's 31 bits name its stream: 0 to train, 1 to select, 2 to confirm."""
    seen: list[int] = []
    real = CartPoleEnv.reset

    def reset(self: Any, *, seed: int | None = None, options: Any = None) -> Any:
        seen.extend([] if seed is None else [seed >> 29])
        return real(self, seed=seed, options=options)

    monkeypatch.setattr(CartPoleEnv, "reset", reset)
    monkeypatch.setattr("cartpole_dqn.training.rounds.usable_cores", lambda: 1)  # all episodes in this process
    table = {"every": 40, "episodes": 2, "solved_at": 1.0, "confirmations": 1, "confirm_episodes": 3}
    run(resolve(flags={"obs": "state", "steps": 40, "evaluation": table}))
    assert (seen.count(int(Stream.SELECT)), seen.count(int(Stream.CONFIRM))) == (2, 3)
    assert int(Stream.REPORT) not in seen
