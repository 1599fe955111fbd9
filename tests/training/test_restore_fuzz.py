"""Thousands of states whose checksums are right and whose content is not: each is taken over, or a sentence refuses it.

What `test_checkpoint_fuzz.py` does to files is done here to what stands in them: a whole run's state, and a policy's.
"""

from __future__ import annotations

import copy
import time
from pathlib import Path
from random import Random
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


NUMBERS = [-1, 0, 10**6, 1 << 70, -(1 << 70), 0.5, float("nan"), float("inf"), None, True, "7", [1], {"a": 1}]


def spoil_array(value: np.ndarray[Any, Any], chance: Random) -> Any:
    """An array of another shape, dtype or content, or no array."""
    one, noise = value.copy().reshape(-1), np.frombuffer(chance.randbytes(value.nbytes), np.uint8)
    one[chance.randrange(max(1, one.size)) :][:1] = np.nan if value.dtype.kind == "f" else 1
    others = [value[None], value[..., :-1] if value.ndim else value.repeat(2), value[:0] if value.ndim else one[:0]]
    others += [value.astype(kind) for kind in ("float64", "int8", "uint8", "bool", "float16")]
    others += [one.reshape(value.shape), noise.view(value.dtype).reshape(value.shape).copy()]
    return chance.choice([*others, value.tolist(), chance.choice(NUMBERS)])


def spoil(state: Any, chance: Random) -> Any:
    """Change up to three places of a copy of a state."""
    state = copy.deepcopy(state)
    for _ in range(chance.randint(1, 3)):
        places = places_in(state)
        if not places:
            break
        (node, key), (other, name) = chance.choice(places), chance.choice(places)
        value, kind = node[key], chance.randrange(8)
        if kind == 0:
            del node[key]
        elif kind == 1:
            node[key] = copy.deepcopy(other[name])
        elif kind == 2 and isinstance(node, dict):
            node[chance.choice(["", "x", "$float", "\x1b[2J", "../x"])] = node.pop(key)
        elif isinstance(value, torch.Tensor | np.ndarray):
            new = spoil_array(np.asarray(value), chance)
            is_tensor = isinstance(value, torch.Tensor) and isinstance(new, np.ndarray)
            node[key] = torch.from_numpy(new) if is_tensor else new
        else:
            node[key] = chance.choice(NUMBERS)
    return state


# Trying ---------------------------------------------------------------------------------------------------------------


def try_run(assembly: Assembly, parts: dict[str, Any], where: Path, seed: int) -> bool:
    broken = spoil({"run": parts["run"], "replay": parts["replay"]}, Random(seed))
    return refused(lambda: assembly.runner.load_state_dict(broken["run"], broken["replay"]), where, seed)


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
    assembly = None
    policy, _ = make_policy(config, HOST)
    for seed in seeds:
        if assembly is None:
            assembly = assemble(small, HOST, folder=None, console=Console(quiet=True), clock=time.perf_counter)
        if seed % 4:
            was_refused = try_run(assembly, parts, sound, seed)
            if was_refused:
                assembly.close()
                assembly = None  # Its environments are closed, as nothing can go on from half a state.
        else:
            broken = spoil(best, Random(seed))
            was_refused = refused(lambda broken=broken: policy.load_state_dict(broken["policy"]), sound, seed)
        count += was_refused
    if assembly is not None:
        assembly.collector.close()
    assert 0.4 * len(seeds) < count < 0.99 * len(seeds), f"{count} of {len(seeds)} were refused"


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seeds", [range(200), pytest.param(range(1_000, 11_000), marks=pytest.mark.slow)])
def test_spoiled_states(sound: Path, config: RunConfig, seeds: range) -> None:
    try_many(sound, config, seeds)
