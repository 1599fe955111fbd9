"""The saved models of a run.

* `SavedRun`: a run with everything that using its models needs.
* `load_policy`, `evaluate_run`: a model and its score. `models_of_progress`: the models on the way to the best one.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from cartpole_dqn.config.schema import RunConfig
from cartpole_dqn.contracts.events import Evaluating, Evaluation
from cartpole_dqn.contracts.options import changed
from cartpole_dqn.contracts.parts import Policy
from cartpole_dqn.contracts.seeding import Stream
from cartpole_dqn.envs.factory import EnvFactory
from cartpole_dqn.errors import Notice, UserError, bad
from cartpole_dqn.plugin.host import PluginHost
from cartpole_dqn.runs.checkpoint import taking_over
from cartpole_dqn.runs.folder import RunFolder
from cartpole_dqn.runs.saved import InitialWeights, Model, Which, read_model, read_progress
from cartpole_dqn.training.assembly import make_helpers, make_policy
from cartpole_dqn.training.evaluator import Evaluator

__all__ = ["Model", "SavedRun", "Which", "evaluate_run", "load_policy", "models_of_progress"]


@dataclass(frozen=True)
class SavedRun:
    """A run that was trained here or elsewhere, opened to use its models."""

    folder: RunFolder
    config: RunConfig
    host: PluginHost
    """The loaded plugins."""


def load_policy(run: SavedRun, which: Which | Model, *, for_viewing: bool = False) -> tuple[Policy, EnvFactory, int]:
    """Return a run's greedy policy, its environment factory, and the number of steps it was trained for.

    `for_viewing` is the factory's: see `EnvFactory`. The model of a run made with CUDA acts on the CPU, with a warning,
    if torch finds no CUDA device here.

    Raises:
        RunFolderError: the run has no saved model.
        CheckpointError: the file is damaged or does not fit the configuration.
    """
    model = which if isinstance(which, Model) else read_model(run.folder, run.config, which)
    config = _on_this_machine(run.config)
    policy, factory = make_policy(config, run.host, EnvFactory(config, run.host, for_viewing=for_viewing))
    with taking_over(model.folder):
        policy.load_state_dict(model.policy)
    return policy, factory, model.step


def models_of_progress(run: SavedRun) -> list[Model]:
    """Return the model before training, which the seed repeats; the kept ones; and the best model, or the last.

    Raises:
        RunFolderError: the run has no saved model.
        CheckpointError: a file is damaged.
    """
    final = read_model(run.folder, run.config, "best")
    if run.config.init.run:
        untrained = InitialWeights.read(run.folder).policy
    else:
        untrained = make_policy(_on_this_machine(run.config), run.host)[0].state_dict()
    earlier = [model for model in read_progress(run.folder, run.config) if model.step < final.step]
    return [Model(run.folder.path, 0, untrained), *earlier, final]


def evaluate_run(
    run: SavedRun,
    *,
    episodes: int = 100,
    seed: int = 0,
    which: Which = "best",
    on_progress: Callable[[Evaluating], None] = lambda event: None,
) -> Evaluation:
    """Play greedy episodes with a saved model on held-out seeds that `seed` selects. Each episode calls `on_progress`.

    Raises:
        UserError: `episodes` is no count, or there is no such model.
    """
    if not isinstance(episodes, int) or episodes < 1:
        raise UserError(f"episodes: expected 1 or more, got {bad(repr(episodes))}.")
    run = replace(run, config=_on_this_machine(run.config))
    policy, factory, step = load_policy(run, which)
    helpers = make_helpers(run.config, run.host, factory, lambda: policy)
    make_envs = factory.make_evaluation_vector
    evaluator = Evaluator(make_envs, seed=seed, clock=time.perf_counter, on_progress=on_progress, helpers=helpers)
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
