"""`load_policy` and `evaluate_run`: load the saved model of a run, and evaluate it on held-out seeds."""

from __future__ import annotations

import time
from collections.abc import Callable

from cartpole_dqn.config.schema import RunConfig
from cartpole_dqn.contracts.events import Evaluating, Evaluation
from cartpole_dqn.contracts.parts import Policy
from cartpole_dqn.contracts.seeding import Stream
from cartpole_dqn.envs.factory import EnvFactory
from cartpole_dqn.plugin.host import PluginHost
from cartpole_dqn.runs.checkpoint import taking_over
from cartpole_dqn.runs.folder import RunFolder
from cartpole_dqn.runs.saved import Origin, Which, read_model
from cartpole_dqn.training.assembly import make_helpers, make_policy
from cartpole_dqn.training.evaluator import Evaluator

__all__ = ["Which", "evaluate_run", "load_policy"]


def load_policy(folder: RunFolder, config: RunConfig, host: PluginHost, which: Which) -> tuple[Policy, EnvFactory, int]:
    """Return a run's greedy policy, its environment factory, and the number of steps it was trained for.

    Raises:
        RunFolderError: the run has no saved model.
        CheckpointError: the file is damaged or does not fit the configuration.
    """
    model = read_model(folder, Origin(config.env.id, config.obs), which)
    policy, factory = make_policy(config, host)
    with taking_over(model.folder):
        policy.load_state_dict(model.policy)
    return policy, factory, model.step


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
    """Play greedy episodes with a saved model on the report seeds of `seed`. `told` is called after each episode."""
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
