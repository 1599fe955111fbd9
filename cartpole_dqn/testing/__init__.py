"""The conformance kit: checks that a part keeps its contract in `cartpole_dqn.contracts`.

A plugin's test calls one function with its class, and with options::

    from cartpole_dqn.testing import check_replay

    def test_contract():
        check_replay(NewestReplay, share=0.5)

or runs each check as a test of its own::

    @pytest.mark.parametrize("check", checks_for("replay"), ids=lambda check: check.__name__)
    def test_contract(check):
        check(NewestReplay, share=0.5)

Some kinds take a second argument:

* a builder of an agent's parts: `check_agent(MyAgent, cartpole_dqn.builtin_builder())`
* the only observation space of a network: `check_network(MyNetwork, Box(0, 255, (84, 84, 4), np.uint8))`
* the surroundings of a collector: `check_collector(MyCollector, cartpole_dqn.builtin_collection)`

The functions are:

* `check_replay`, `check_network`, `check_target_update`, `check_exploration`, `check_optimiser`, `check_agent`,
  `check_observer`, `check_collector`, `check_sweep_engine`, `check_wrapper`: run every check of a kind. Each takes a
  class, which is built as `cls(options, context)`, and values of `cls.Options` as keywords. If checks fail, one
  `AssertionError` names them all with their reasons. Wrong options raise `ConfigError`.
* `checks_for`: a kind's checks as functions, each named after what it checks.
* `run_checks`: runs them and returns a `CheckResult` for each.

Parts are built as in a run: options are checked and torch is seeded. The kit does not need pytest and prints nothing.
A check also fails if its case never occurred, for example if no episode ended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cartpole_dqn.contracts.parts import Build
from cartpole_dqn.errors import UserError, did_you_mean
from cartpole_dqn.testing._contract import Check, CheckResult, Contract
from cartpole_dqn.testing._contract import defined_in as defined_in
from cartpole_dqn.testing.agent import AGENT, check_agent
from cartpole_dqn.testing.collector import COLLECTOR, Surroundings, check_collector
from cartpole_dqn.testing.exploration import EXPLORATION, check_exploration
from cartpole_dqn.testing.network import NETWORK, check_network
from cartpole_dqn.testing.observer import OBSERVER, check_observer
from cartpole_dqn.testing.optimiser import OPTIMISER, check_optimiser
from cartpole_dqn.testing.replay import check_replay
from cartpole_dqn.testing.replay_sampling import REPLAY  # with the checks of both halves
from cartpole_dqn.testing.sweep_engine import SWEEP_ENGINE, check_sweep_engine
from cartpole_dqn.testing.target_update import TARGET_UPDATE, check_target_update
from cartpole_dqn.testing.wrapper import WRAPPER, check_wrapper

__all__ = [
    "CheckResult",
    "check_agent",
    "check_collector",
    "check_exploration",
    "check_network",
    "check_observer",
    "check_optimiser",
    "check_replay",
    "check_sweep_engine",
    "check_target_update",
    "check_wrapper",
    "checks_for",
    "run_checks",
]

_ALL = (REPLAY, NETWORK, TARGET_UPDATE, EXPLORATION, OPTIMISER, AGENT, OBSERVER, COLLECTOR, SWEEP_ENGINE, WRAPPER)
_CONTRACTS = {contract.kind: contract for contract in _ALL}


def checks_for(kind: str) -> list[Check]:
    """Return the checks of a kind. Each takes the same arguments as the kind's `check_` function.

    Raises:
        UserError: the kit has no checks for that kind.
    """
    return list(_contract(kind).checks)


def run_checks(
    kind: str,
    cls: Any,
    table: Mapping[str, Any] | None = None,
    *,
    builder: Build | None = None,
    surroundings: Surroundings | None = None,
    on_result: Callable[[CheckResult], None] = lambda result: None,
) -> list[CheckResult]:
    """Run every check of a kind, even if some fail, and return the results.

    Args:
        kind: "replay", "network", ...
        cls: the class; for a wrapper also a factory of wrapped environments.
        table: values of `cls.Options` (for a wrapper, arguments besides the environment).
        builder: builds an agent's parts.
        surroundings: makes a collector's context and an agent.
        on_result: called with each result as soon as there is one.

    Raises:
        UserError: the kit has no checks for that kind.
    """
    contract = _contract(kind)
    beside = {"agent": builder, "collector": surroundings}.get(kind)
    results = []
    for result in contract.run(cls, beside, **(table or {})):
        on_result(result)
        results.append(result)
    return results


def _contract(kind: str) -> Contract:
    if kind not in _CONTRACTS:
        raise UserError(f"the conformance kit has no checks for the kind '{kind}'.{did_you_mean(kind, _CONTRACTS)}")
    return _CONTRACTS[kind]
