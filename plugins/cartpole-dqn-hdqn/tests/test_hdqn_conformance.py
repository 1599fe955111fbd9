"""The contract of agents, held to by the kit of cartpole-dqn.

The kit's games pay for single actions, whatever state they lead to: goals that are states say nothing about them. With
actions as goals both levels must learn: which action to ask for, and to do what is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cartpole_dqn_hdqn.deep import HdqnAgent
from cartpole_dqn_hdqn.q_learning import QLearningAgent
from cartpole_dqn_hdqn.tabular import TabularHdqnAgent
from cartpole_dqn_hdqn.visit_counts import VisitCountsAgent

from cartpole_dqn import builtin_builder
from cartpole_dqn.testing import checks_for

EPSILON = {"name": "linear", "steps": 500, "end": 0.1}
NETWORK = {"name": "mlp", "hidden": [16]}
OPTIMISER = {"name": "adam", "lr": 3e-3}
LEVELS = {
    "goals": {"name": "actions"},
    "controller_exploration": EPSILON,
    "meta_exploration": EPSILON,
}
AGENTS: dict[str, tuple[type, dict[str, Any]]] = {
    "hdqn": (
        HdqnAgent,
        {
            **LEVELS,
            "controller_network": NETWORK,
            "meta_network": NETWORK,
            "controller_optimiser": OPTIMISER,
            "meta_optimiser": OPTIMISER,
            "controller_batch_size": 16,
            "meta_batch_size": 16,
            "controller_replay": {"name": "uniform", "capacity": 5000},
            "meta_replay": {"name": "uniform", "capacity": 5000},
        },
    ),
    "hdqn-tabular": (TabularHdqnAgent, LEVELS),
    "q-learning": (QLearningAgent, {"exploration": EPSILON}),
    "visit-counts": (VisitCountsAgent, {"agent": {"name": "dqn", "batch_size": 16, "network": NETWORK}}),
}


SOFT = {"name": "soft", "tau": 0.05}
MORE = {"double": True, "policy": "target", "controller_target_update": SOFT, "meta_target_update": SOFT}
AGENTS["hdqn-double"] = (HdqnAgent, {**AGENTS["hdqn"][1], **MORE})


def checks_of(name: str) -> list[Callable[..., None]]:
    checks = checks_for("agent")
    if name == "visit-counts":  # `dqn` itself is tested elsewhere
        return [check for check in checks if "learn" not in check.__name__]
    if name == "hdqn-double":
        harder = ("check_learning_at_ends", "check_state_round_trip", "check_policy_is_a_copy")
        return [check for check in checks if check.__name__ in harder]
    return checks


@pytest.mark.parametrize(
    ("name", "check"),
    [(name, check) for name in AGENTS for check in checks_of(name)],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_agent(name: str, check: Callable[..., None]) -> None:
    cls, options = AGENTS[name]
    check(cls, builtin_builder(), **options)
