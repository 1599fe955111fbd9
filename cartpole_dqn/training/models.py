"""How good a run's model is: greedy episodes on report seeds, which neither training nor selecting ever saw."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from cartpole_dqn.config.schema import RunConfig
from cartpole_dqn.contracts.events import Evaluating, Evaluation
from cartpole_dqn.contracts.parts import Policy
from cartpole_dqn.contracts.seeding import Stream
from cartpole_dqn.envs.factory import EnvFactory
from cartpole_dqn.errors import RunFolderError
from cartpole_dqn.plugin.host import PluginHost
from cartpole_dqn.runs.checkpoint import has_state, read_state, require_origin, taking_over
from cartpole_dqn.runs.folder import RunFolder
from cartpole_dqn.training.assembly import make_policy
from cartpole_dqn.training.evaluator import Evaluator

Which = Literal["best", "last"]


def load_policy(folder: RunFolder, config: RunConfig, host: PluginHost, which: Which) -> tuple[Policy, EnvFactory, int]:
    """Return a run's greedy policy, the factory of its environments, and the step it was trained to.

    Raises:
        RunFolderError: the run kept no such model.
        CheckpointError: its file is damaged, or does not fit the configuration.
    """
    if which == "best" and has_state(folder.best):
        meta, parts = read_state(folder.best)
        require_origin(folder.best, meta, env=config.env.id, obs=config.obs)
        policy, factory = make_policy(config, host)
        with taking_over(folder.best):
            policy.load_state_dict(parts["policy"])
            return policy, factory, int(meta["step"])
    if not has_state(folder.checkpoint):
        raise RunFolderError(
            f"{folder.path} holds no model yet: neither best/ nor checkpoint/. Let the run reach its first evaluation "
            f"or checkpoint."
        )
    meta, parts = read_state(folder.checkpoint, parts={"run"})
    require_origin(folder.checkpoint, meta, env=config.env.id, obs=config.obs)
    with taking_over(folder.checkpoint):
        agent_state, step = parts["run"]["agent"], int(meta["step"])
    policy, factory = make_policy(config, host, agent_state=agent_state)
    return policy, factory, step


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
    """Play `episodes` greedily with a run's model, reset with the report seeds of `seed`; `told` hears of each."""
    policy, factory, step = load_policy(folder, config, host, which)
    evaluator = Evaluator(factory.make_evaluation_vector, seed=seed, clock=time.perf_counter, told=told)
    try:
        evaluation = evaluator.play(policy, episodes=episodes, stream=Stream.REPORT, step=step)
    finally:
        evaluator.close()
    assert evaluation is not None  # nobody asks it to stop
    return evaluation
