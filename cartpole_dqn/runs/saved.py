"""What a run saves: its checkpoint, its best model and a few earlier ones, and its initial weights.

| folder | meta | parts |
|---|---|---|
| `checkpoint/` | env, obs, step | run (the runner's state, with the agent's), policy, replay (optional) |
| `best/` | env, obs, step, mean, episodes | policy |
| `progress/` | env, obs | models (by step, each with its mean and policy) |
| `init/` | run, which, step, origin | policy |

`read_model` returns a model to act with, from `best/` or `checkpoint/`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch

from cartpole_dqn.config.schema import RunConfig
from cartpole_dqn.config.schema import Which as Which
from cartpole_dqn.contracts.events import Evaluation
from cartpole_dqn.contracts.parts import Agent, State
from cartpole_dqn.envs.statistics import STATISTICS, Statistics, without_statistics
from cartpole_dqn.errors import CheckpointError, RunFolderError, UserError, bad
from cartpole_dqn.runs.checkpoint import has_state, read_state, taking_over, write_state
from cartpole_dqn.runs.folder import RunFolder
from cartpole_dqn.runs.state_tree import bytes_of, pack
from cartpole_dqn.runs.tensors import new_checksum

LARGEST_KEPT = 8 << 20
"""Most bytes of a policy in `progress/`."""


# The checkpoint -------------------------------------------------------------------------------------------------------


def write_checkpoint(folder: RunFolder, config: RunConfig, run: State, policy: State, replay: State | None) -> int:
    """Write everything needed to resume; return the bytes written. Raises `RunError`.

    Args:
        folder: the run's folder.
        config: of the run.
        run: `Runner.state_dict()`.
        policy: `Policy.state_dict()` of the agent's policy, for `read_model`.
        replay: `Agent.replay_state_dict()`, or None to leave it out.
    """
    parts = {"run": run, "policy": policy, **({} if replay is None else {"replay": replay})}
    return write_state(folder.checkpoint, parts, meta=_meta(config, step=run["step"]))


def read_checkpoint(folder: RunFolder, config: RunConfig) -> tuple[State, State | None]:
    """Return the states of run and replay from `write_checkpoint`. Raises `CheckpointError`."""
    _, parts = _read(folder.checkpoint, config, "run", optional=["replay"])
    return parts["run"], parts.get("replay")


# A model --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Model:
    """A model to act with."""

    folder: Path
    step: int
    """Environment steps of its training."""
    policy: State
    """`Policy.state_dict()`."""
    mean: float | None = None
    """Mean return in the evaluation that chose it, if it was chosen by one."""


def write_best(folder: RunFolder, config: RunConfig, policy: State, evaluation: Evaluation) -> None:
    """Write the policy of the best model. Raises `RunError`."""
    figures = {"step": evaluation.step, "mean": evaluation.mean, "episodes": len(evaluation.returns)}
    write_state(folder.best, {"policy": policy}, meta=_meta(config, **figures))


def keep_progress(folder: RunFolder, config: RunConfig, policy: State, evaluation: Evaluation) -> None:
    """Add a new best model to the kept ones.

    If there are more than `checkpoint.progress`, drop the one between whose neighbours the mean return changes least.
    Policies over `LARGEST_KEPT` bytes are not kept. A folder that is damaged starts over. Raises `RunError`.
    """
    most = config.checkpoint.progress
    if most < 1 or bytes_of(policy) > LARGEST_KEPT:
        return
    try:
        kept_models = read_progress(folder, config)
    except CheckpointError:
        kept_models = []
    # A resumed run may reach a step again.
    kept_models = [model for model in kept_models if model.step < evaluation.step]
    kept_models.append(Model(folder.progress, evaluation.step, policy, evaluation.mean))
    means = [model.mean or 0.0 for model in kept_models]
    while len(kept_models) > most:
        least = min(range(1, len(kept_models) - 1), key=lambda i: abs(means[i + 1] - means[i - 1]), default=0)
        del kept_models[least], means[least]
    models = {str(model.step): {"mean": model.mean, "policy": model.policy} for model in kept_models}
    write_state(folder.progress, {"models": models}, meta=_meta(config))


def read_progress(folder: RunFolder, config: RunConfig) -> list[Model]:
    """Return the kept models in the order of their steps; none if the run kept none. Raises `CheckpointError`."""
    if not has_state(folder.progress):
        return []
    _, parts = _read(folder.progress, config, "models")
    with taking_over(folder.progress):
        models = [
            Model(folder.progress, int(step), model["policy"], float(model["mean"]))
            for step, model in parts["models"].items()
        ]
    return sorted(models, key=lambda model: model.step)


def choose_model(folder: RunFolder, which: Which) -> Which:
    """Return the model to use for `which`: "last" if no best model was kept. Raises `UserError`."""
    if which not in get_args(Which):
        raise UserError(f"which: expected 'best' or 'last', got {bad(repr(which))}.")
    return "best" if which == "best" and has_state(folder.best) else "last"


def read_model(folder: RunFolder, config: RunConfig, which: Which) -> Model:
    """Return a model of a run; the last one if no best model was kept.

    Raises:
        RunFolderError: the run has no model yet.
        CheckpointError: its files are damaged, or belong to another run.
    """
    place = folder.best if choose_model(folder, which) == "best" else folder.checkpoint
    if not has_state(place):
        if has_state(folder.best):
            raise RunFolderError(f"{folder.path} holds only its best model. Leave out --last.")
        raise RunFolderError(
            f"{folder.path} holds no model yet: neither best/ nor checkpoint/. Let the run reach its first evaluation "
            f"or checkpoint."
        )
    meta, parts = _read(place, config, "policy")
    with taking_over(place):
        return Model(place, int(meta["step"]), parts["policy"])


def _meta(config: RunConfig, **figures: Any) -> dict[str, Any]:
    return {"env": config.env.id, "obs": config.obs, **figures}


def _read(
    folder: Path, config: RunConfig, part: str, *, optional: Sequence[str] = ()
) -> tuple[dict[str, Any], dict[str, State]]:
    """Return meta and parts of a state. Raises `CheckpointError` if it has another environment or observations."""
    meta, parts = read_state(folder, parts=[part, *optional], optional=optional)
    for name, expected in _meta(config).items():
        actual = meta.get(name)
        if actual != expected:
            was = repr(actual)[:100] if actual is not None else "nothing"
            raise CheckpointError(
                f"{folder} has {name} {was}, but the run's configuration has {expected!r}. It belongs to another run: "
                f"restore the right one, or start the run again."
            )
    return meta, parts


# Initial weights ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class InitialWeights:
    """The weights of another run's policy, from which a run starts."""

    run: str
    """The name of the other run's folder."""
    which: Which
    step: int
    """Environment steps of their training."""
    origin: Mapping[str, Any]
    """What they fit: agent, networks, observations and actions."""
    policy: State

    @property
    def checksum(self) -> str:
        """A checksum of the weights."""
        tree, tensors = pack(self.policy)
        digest = new_checksum()
        digest.update(json.dumps(tree, sort_keys=True).encode())
        for name in sorted(tensors):
            digest.update(tensors[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()[:32]

    @property
    def label(self) -> str:
        """The weights, for messages."""
        return f"the weights of {self.run} ({self.which}, trained for {self.step:,} steps)"

    def load_into(self, agent: Agent, statistics: Statistics) -> None:
        """Let a run start from them, and from the running statistics of wrappers with which they were learned.

        Raises `UserError` if they do not fit `agent`.
        """
        with taking_over(f"the {self.which} model of {self.run}"):
            agent.start_from(without_statistics(self.policy))
        statistics.load_state_dict(self.policy.get(STATISTICS, {}))

    def write(self, folder: RunFolder) -> None:
        """Write a copy into a run's folder. Raises `RunError`."""
        meta = {"run": self.run, "which": self.which, "step": self.step, "origin": dict(self.origin)}
        write_state(folder.initial, {"policy": self.policy}, meta=meta)

    @classmethod
    def read(cls, folder: RunFolder) -> InitialWeights:
        """Return the copy in a run's folder. Raises `CheckpointError`."""
        meta, parts = read_state(folder.initial, parts=["policy"])
        with taking_over(folder.initial):
            return cls(str(meta["run"]), meta["which"], int(meta["step"]), dict(meta["origin"]), parts["policy"])
