"""The contract of replays; `plugins/test_directory.py` tries the default options."""

from __future__ import annotations

import pytest
from cartpole_dqn_prioritized.replay import PrioritizedReplay

from cartpole_dqn.testing import CheckResult, run_checks


@pytest.mark.parametrize("options", [{"alpha": 0.0}, {"alpha": 1.0, "beta_steps": 3}])
def test_contract(options: dict[str, float]) -> None:
    results = run_checks("replay", PrioritizedReplay, options)
    assert results == [CheckResult(result.name, True) for result in results]
