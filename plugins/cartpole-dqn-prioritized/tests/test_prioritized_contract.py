from __future__ import annotations

from collections.abc import Callable

import pytest
from cartpole_dqn_prioritized.replay import PrioritizedReplay

from cartpole_dqn.testing import CheckResult, checks_for, run_checks


@pytest.mark.parametrize("check", checks_for("replay"), ids=lambda check: check.__name__)
def test_contract(check: Callable[..., None]) -> None:
    check(PrioritizedReplay)


@pytest.mark.parametrize("options", [{"alpha": 0.0}, {"alpha": 1.0, "beta_start": 1.0}, {"beta_steps": 3}])
def test_contract_with_other_options(options: dict[str, float]) -> None:
    results = run_checks("replay", PrioritizedReplay, options)
    assert results == [CheckResult(result.name, True) for result in results]
