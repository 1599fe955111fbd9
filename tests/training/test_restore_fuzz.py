"""Thousands of states whose checksums are right and whose content is not: each is taken over, or a sentence refuses it.

What `test_checkpoint_fuzz.py` does to files is done here to what stands in them: a whole run's state, and a policy's.
"""

from __future__ import annotations

import copy
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from cartpole_dqn.config.schema import RunConfig
from cartpole_dqn.contracts.options import changed
from cartpole_dqn.envs.guard import EnvError
from cartpole_dqn.errors import CartpoleDqnError, CheckpointError
from cartpole_dqn.plugin.host import load_plugins
from cartpole_dqn.runs.checkpoint import read_state, taking_over
from cartpole_dqn.runs.folder import RunFolder
from cartpole_dqn.training.assembly import Assembly, assemble, make_policy
from cartpole_dqn.training.resolve import resolve_config
from cartpole_dqn.training.session import execute
from hostile import places_in, require_sentence

HOST = load_plugins(allowed=())
Random = np.random.Generator


@pytest.fixture(scope="module")
def config() -> RunConfig:
    sets = ["agent.learning_starts=0", "agent.batch_size=4", "agent.replay.capacity=60", "agent.network.hidden=[4]"]
    sets += ["evaluation.every=30", "evaluation.episodes=1", "env.num_envs=2", "observer=[{name='metrics'}]"]
    return resolve_config(HOST, flags={"obs": "state", "steps": 70}, sets=sets)[0]


@pytest.fixture(scope="module")
def sound(config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = RunFolder.create(tmp_path_factory.mktemp("sound") / "run", env_id=config.env.id, obs=config.obs)
    execute(folder, config, HOST, console=Console(quiet=True))
    return folder.path


# Spoiling -------------------------------------------------------------------------------------------------------------


def spoil_number(value: Any, chance: Random) -> Any:
    choices = [
        -1,
        0,
        10**6,
        1 << 70,
        -(1 << 70),
        0.5,
        float("nan"),
        float("inf"),
        None,
        True,
        "7",
        [value],
        {"a": value},
    ]
    return choices[int(chance.integers(len(choices)))]


def spoil_array(value: np.ndarray[Any, Any], chance: Random) -> Any:
    match int(chance.integers(8)):
        case 0:
            return value[..., :-1] if value.ndim else np.zeros(2, value.dtype)
        case 1:
            return value[None]
        case 2:
            return value.astype(chance.choice(["float64", "int8", "uint8", "bool", "float16"]))
        case 3:
            return np.zeros(0, value.dtype)
        case 4 if value.size:
            changed_value = value.copy()
            place = tuple(chance.integers(0, value.shape)) if value.ndim else ()
            extremes = [0, 1] if value.dtype.kind in "bu" else [-1, 127, 0]
            extremes += [float("nan"), float("inf"), 3e38] if value.dtype.kind == "f" else []
            changed_value[place] = chance.choice(extremes)
            return changed_value
        case 5:
            return np.frombuffer(chance.bytes(value.nbytes), np.uint8).view(value.dtype).reshape(value.shape).copy()
        case 6:
            return value.tolist()
        case _:
            return spoil_number(0, chance)


def spoil(state: Any, chance: Random) -> Any:
    """Change up to three places of a copy of a state."""
    state = copy.deepcopy(state)
    for _ in range(int(chance.integers(1, 4))):
        places = places_in(state)
        if not places:
            break
        node, key = places[int(chance.integers(len(places)))]
        value = node[key]
        match int(chance.integers(8)):
            case 0:
                del node[key]
            case 1:
                other, name = places[int(chance.integers(len(places)))]
                there = name in other if isinstance(other, dict) else name < len(other)
                node[key] = copy.deepcopy(other[name]) if there else None
            case 2 if isinstance(node, dict):
                node[str(chance.choice(["", "x", "$float", "\x1b[2J", "../x"]))] = node.pop(key)
            case _ if isinstance(value, torch.Tensor):
                new = spoil_array(value.numpy(), chance)
                node[key] = torch.from_numpy(new) if isinstance(new, np.ndarray) else new
            case _ if isinstance(value, np.ndarray):
                node[key] = spoil_array(value, chance)
            case _:
                node[key] = spoil_number(value, chance)
    return state


# Trying ---------------------------------------------------------------------------------------------------------------


def try_run(made: Assembly, parts: dict[str, Any], where: Path, seed: int) -> bool:
    broken = spoil({"run": parts["run"], "replay": parts["replay"]}, np.random.default_rng(seed))
    return refused(lambda: made.runner.load_state_dict(broken["run"], broken["replay"]), where, seed)


def refused(take_over: Any, where: Path, seed: int) -> bool:
    """Return whether a state was refused by a sentence."""
    try:
        with taking_over(where):
            take_over()
    except CartpoleDqnError as error:
        # An environment that fails while its actions are repeated is named instead.
        words = {CheckpointError: str(where), EnvError: "environment"}.get(type(error), "")
        require_sentence(error, words, seed)
    except BaseException as error:
        raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error
    else:
        return False
    return True


def try_many(sound: Path, config: RunConfig, seeds: range) -> None:
    _, parts = read_state(sound / "checkpoint")
    _, best = read_state(sound / "best")
    small = changed(config, observer=[])
    count = 0
    made = None
    policy, _ = make_policy(config, HOST)
    for seed in seeds:
        if made is None:
            made = assemble(small, HOST, folder=None, console=Console(quiet=True), clock=time.perf_counter)
        if seed % 4:
            was_refused = try_run(made, parts, sound, seed)
            if was_refused:
                made.close()
                made = None  # Its environments are closed, as nothing can go on from half a state.
        else:
            broken = spoil(best, np.random.default_rng(seed))
            was_refused = refused(lambda broken=broken: policy.load_state_dict(broken["policy"]), sound, seed)
        count += was_refused
    if made is not None:
        made.collector.close()
    assert 0.4 * len(seeds) < count < 0.99 * len(seeds), f"{count} of {len(seeds)} were refused"


def test_two_hundred_spoiled_states(sound: Path, config: RunConfig) -> None:
    try_many(sound, config, range(200))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ten_thousand_spoiled_states(sound: Path, config: RunConfig) -> None:
    try_many(sound, config, range(1_000, 11_000))
