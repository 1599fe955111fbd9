from __future__ import annotations

from cartpole_dqn.testing import check_sweep_engine

from cartpole_dqn_acme.sweep_engine import OneByOne


def test_contract() -> None:
    check_sweep_engine(OneByOne)
