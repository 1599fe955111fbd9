"""Weights of another run to start from: `find_initial_weights` finds those that `[init]` names.

They are the state of a policy (`Policy.state_dict`), which the agent loads with `Agent.start_from`. The new run saves a
copy, so that it can be repeated when the other run is gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from cartpole_dqn.config.schema import RunConfig
from cartpole_dqn.contracts.options import changed, describe_options
from cartpole_dqn.envs.factory import EnvFactory
from cartpole_dqn.errors import ConfigError, RunFolderError
from cartpole_dqn.plugin.host import PluginHost
from cartpole_dqn.runs.catalogue import find_run
from cartpole_dqn.runs.checkpoint import has_state
from cartpole_dqn.runs.folder import RunFolder
from cartpole_dqn.runs.saved import InitialWeights, choose_model, read_model
from cartpole_dqn.text.tables import flat
from cartpole_dqn.training.resolve import read_config


def find_initial_weights(
    config: RunConfig, host: PluginHost, *, beside: Path | None = None
) -> tuple[RunConfig, InitialWeights | None]:
    """Return the configuration with its `[init]` filled in, and the weights; None if it asks for none.

    Args:
        config: complete; its `init.run` is a folder, a name under `runs/` or the start of one, or "latest".
        host: the loaded plugins.
        beside: the folder of the configuration file. If it is a run with a copy of the weights, the copy is used.

    Raises:
        ConfigError: the run is missing, its weights have another checksum, or its agent, networks, observations or
            actions differ.
        CheckpointError: its files are damaged.
    """
    if not config.init.run:
        return config, None
    weights = _read_copy(config, beside) or _read_from_run(config, host)
    if config.init.weights not in ("", weights.checksum):
        raise ConfigError(
            f"init: expected the weights of {config.init.run} ({config.init.which}, step {config.init.step:,}, "
            f"checksum {config.init.weights}), and that run now has others (step {weights.step:,}, checksum "
            f"{weights.checksum}). To start from these, use --init-from {config.init.run}"
        )
    _require_fit(weights, _origin(config, host))
    init = changed(config.init, run=weights.run, which=weights.which, step=weights.step, weights=weights.checksum)
    return changed(config, init=init), weights


def _read_copy(config: RunConfig, beside: Path | None) -> InitialWeights | None:
    if beside is None or not config.init.weights or not has_state(RunFolder(beside).initial):
        return None
    weights = InitialWeights.read(RunFolder(beside))
    return weights if weights.checksum == config.init.weights else None


def _read_from_run(config: RunConfig, host: PluginHost) -> InitialWeights:
    try:
        folder = find_run(config.init.run)
        run_config = read_config(folder, host)
        which = choose_model(folder, config.init.which)
        model = read_model(folder, run_config, which)
    except RunFolderError as error:
        raise ConfigError(f"init.run: {error} Name the folder of the run with --init-from.") from None
    return InitialWeights(folder.path.resolve().name, which, model.step, _origin(run_config, host), model.policy)


def _origin(config: RunConfig, host: PluginHost) -> dict[str, Any]:
    """Return what the weights depend on, as plain data: agent, networks, observations and actions."""
    env = EnvFactory(config, host).make(evaluating=True)
    env.close()
    observations, actions = env.observation_space, env.action_space
    assert isinstance(observations, spaces.Box)
    assert isinstance(actions, spaces.Discrete)
    text = f"{observations.dtype} {list(observations.shape)}"
    if np.issubdtype(observations.dtype, np.integer):  # networks divide integers by their bound
        text += f" from {observations.low.min()} to {observations.high.max()}"
    options = describe_options(host.registry.options("agent", config.agent["name"]))
    networks = {info.name: config.agent[info.name] for info in options if info.part == "network"}
    return {
        "agent": config.agent["name"],
        "observations": text,
        "actions": int(actions.n),
        **flat({"agent": networks}),
    }


def _require_fit(weights: InitialWeights, ours: Mapping[str, Any]) -> None:
    theirs = weights.origin
    differing = [key for key in dict.fromkeys([*theirs, *ours]) if theirs.get(key) != ours.get(key)]
    # Name a part that differs, without its options.
    above = tuple(key.removesuffix("name") for key in differing if key.endswith(".name"))
    reported = [key for key in differing if key.endswith(".name") or not key.startswith(above)]
    reported = ["agent"] if "agent" in differing else reported
    if reported:
        differences = (
            f"{key} is {theirs.get(key, 'nothing')} there and {ours.get(key, 'nothing')} here" for key in reported
        )
        raise ConfigError(
            f"the model of {weights.run} does not fit this run: {', '.join(differences)}. To begin with the settings "
            f"of that run, add --config with its config.toml."
        )
