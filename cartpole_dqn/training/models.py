"""The saved models of a run: `load_policy`, `evaluate_run`, and `models_of_progress` for those on the way."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable

import torch

from cartpole_dqn.config.schema import RunConfig
from cartpole_dqn.contracts.events import Evaluating, Evaluation
from cartpole_dqn.contracts.options import changed
from cartpole_dqn.contracts.parts import Policy
from cartpole_dqn.contracts.seeding import Stream
from cartpole_dqn.envs.factory import EnvFactory
from cartpole_dqn.errors import Notice, UserError
from cartpole_dqn.plugin.host import PluginHost
from cartpole_dqn.runs.checkpoint import taking_over
from cartpole_dqn.runs.folder import RunFolder
from cartpole_dqn.runs.saved import InitialWeights, Model, Which, read_model, read_progress
from cartpole_dqn.training.assembly import make_helpers, make_policy
from cartpole_dqn.training.evaluator import Evaluator

__all__ = ["Model", "Which", "evaluate_run", "load_policy", "models_of_progress"]


def load_policy(
    folder: RunFolder, config: RunConfig, host: PluginHost, which: Which | Model
) -> tuple[Policy, EnvFactory, int]:
    """Return a run's greedy policy, its environment factory, and the number of steps it was trained for.

    The model of a run made with CUDA acts on the CPU, with a warning, if torch finds no CUDA device here.

    Raises:
        RunFolderError: the run has no saved model.
        CheckpointError: the file is damaged or does not fit the configuration.
    """
    model = which if isinstance(which, Model) else read_model(folder, config, which)
    policy, factory = make_policy(_on_this_machine(config), host)
    with taking_over(model.folder):
        policy.load_state_dict(model.policy)
    return policy, factory, model.step


def models_of_progress(folder: RunFolder, config: RunConfig, host: PluginHost) -> list[Model]:
    """Return the model before training, which the seed repeats; the kept ones; and the best model, or the last.

    Raises:
        RunFolderError: the run has no saved model.
        CheckpointError: a file is damaged.
    """
    final = read_model(folder, config, "best")
    untrained = (
        InitialWeights.kept(folder).policy
        if config.init.run
        else make_policy(_on_this_machine(config), host)[0].state_dict()
    )
    kept = [model for model in read_progress(folder, config) if model.step < final.step]
    return [Model(folder.path, 0, untrained), *kept, final]


def evaluate_run(
    folder: RunFolder,
    config: RunConfig,
    host: PluginHost,
    *,
    episodes: int = 100,
    seed: int = 0,
    which: Which = "best",
    told: Callable[[Evaluating], None] = lambda event: None,
) -> Evaluation:
    """Play greedy episodes with a saved model on held-out seeds that `seed` selects. Each episode calls `told`.

    Raises:
        UserError: `episodes` is no count, or there is no such model.
    """
    if not isinstance(episodes, int) or episodes < 1:
        raise UserError(f"episodes: expected 1 or more, got {episodes!r}.")
    config = _on_this_machine(config)
    policy, factory, step = load_policy(folder, config, host, which)
    helpers = make_helpers(config, host, factory, lambda: policy)
    make_envs = factory.make_evaluation_vector
    evaluator = Evaluator(make_envs, seed=seed, clock=time.perf_counter, told=told, helpers=helpers)
    try:
        evaluation = evaluator.play(policy, episodes=episodes, stream=Stream.REPORT, step=step)
    finally:
        evaluator.close()
    assert evaluation is not None  # there is no `should_stop`
    return evaluation


def _on_this_machine(config: RunConfig) -> RunConfig:
    """Return the configuration with the CPU in place of a CUDA device that this machine lacks, and warn."""
    if config.device != "cuda" or torch.cuda.is_available():
        return config
    text = "the run has device cuda, and torch finds no CUDA device on this machine: its model acts on the CPU."
    warnings.warn(text, Notice, stacklevel=3)
    return changed(config, device="cpu")
