"""Hierarchical deep Q-learning for cartpole-dqn (Kulkarni et al. 2016, arXiv 1604.06057), and its decision process.

Agents:

* `deep`: "hdqn": a controller's and a meta-controller's network.
* `tabular`: "hdqn-tabular": the same with tables.
* `q_learning`: "q-learning": one flat table, for comparison.
* `visit_counts`: "visit-counts": any other agent, with the visits to each state among its figures.

What the first two share:

* `goals`: `Goals`, the interface that says which goals there are and when one is reached, and the built-in ones.
* `hierarchy`: acting, and the two kinds of transition that come of it; `goal_lanes` keeps each lane's goal.
* `values`, `level`, `tables`: what is learned.

The environment "DiscreteStochasticDecisionProcess-v0" is in `decision_process`; `command`, `study` and `drawing` make
the figures. Importing this package imports none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cartpole_dqn import hookimpl

if TYPE_CHECKING:
    from cartpole_dqn import Registry

ENV_ID = "DiscreteStochasticDecisionProcess-v0"

_AGENTS = (
    ("hdqn", "deep:HdqnAgent", "a meta-controller sets goals, a controller learns to reach them (h-DQN)"),
    ("hdqn-tabular", "tabular:TabularHdqnAgent", "h-DQN with tables in place of networks"),
    ("q-learning", "q_learning:QLearningAgent", "one-step Q-learning with a table, without goals"),
    ("visit-counts", "visit_counts:VisitCountsAgent", "any other agent, with counts of its visits to each state"),
)
_PRESETS = ("hdqn", "hdqn-tabular", "hdqn-frozen-lake", "flat-dqn", "flat-q-learning")


@hookimpl
def register_components(registry: Registry) -> None:
    """Add the plugin's agents and presets."""
    for name, target, summary in _AGENTS:
        registry.add("agent", name, f"cartpole_dqn_hdqn.{target}", summary)
    for name in _PRESETS:
        registry.add("preset", name, f"cartpole_dqn_hdqn:presets/{name}.toml")


@hookimpl
def register_environments() -> None:
    """Register the decision process."""
    import gymnasium

    # Its optimum is 0.208. No walk takes near 1,000 steps, but one that always succeeds may go round for ever. The
    # checker looks at every step, and takes longer than the step: `check_env` is among this plugin's tests instead.
    gymnasium.register(
        ENV_ID,
        "cartpole_dqn_hdqn.decision_process:DiscreteStochasticDecisionProcess",
        max_episode_steps=1_000,
        reward_threshold=0.19,
        disable_env_checker=True,
    )
