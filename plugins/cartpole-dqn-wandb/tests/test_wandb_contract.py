from __future__ import annotations

from collections.abc import Callable

import pytest
from cartpole_dqn_wandb.observer import WandB

from cartpole_dqn.testing import checks_for


@pytest.mark.process
@pytest.mark.parametrize("check", checks_for("observer"), ids=lambda check: check.__name__)
def test_contract(check: Callable[..., None]) -> None:
    # Without a wait the made-up runs end the process that sends; what it sends is tested with real runs.
    check(WandB, every_updates=7, wait=0)
