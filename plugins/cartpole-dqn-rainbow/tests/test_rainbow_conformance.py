"""The contracts of cartpole-dqn, held to by its own kit; `plugins/test_directory.py` tries the default options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cartpole_dqn_rainbow.c51 import C51
from cartpole_dqn_rainbow.dueling import Dueling
from cartpole_dqn_rainbow.exploration import Boltzmann
from cartpole_dqn_rainbow.noisy import Noisy
from cartpole_dqn_rainbow.quantile import Quantile

from cartpole_dqn.testing import checks_for

NETWORKS: list[tuple[type, dict[str, Any]]] = [
    (Dueling, {"noisy": True, "hidden": 32}),
    (Noisy, {"dueling": True, "hidden": [32, 32]}),
    (C51, {"noisy": True, "dueling": True, "v_min": -10.0, "v_max": 10.0, "hidden": []}),
    (Quantile, {"noisy": True, "dueling": True, "kappa": 0.0, "quantiles": 7}),
]


def name(value: Any) -> str:
    return str(getattr(value, "__name__", "") or ",".join(f"{k}={v}" for k, v in value.items()) or "defaults")


@pytest.mark.parametrize("check", checks_for("network"), ids=name)
@pytest.mark.parametrize(("cls", "options"), NETWORKS, ids=name)
def test_network(check: Callable[..., None], cls: type, options: dict[str, Any]) -> None:
    check(cls, **options)


@pytest.mark.parametrize("check", checks_for("exploration"), ids=name)
def test_exploration(check: Callable[..., None]) -> None:
    check(Boltzmann, temperature=1e-30, final_temperature=5.0, steps=1)
