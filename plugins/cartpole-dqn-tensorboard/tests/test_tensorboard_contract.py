from __future__ import annotations

from collections.abc import Callable

import pytest
from cartpole_dqn_tensorboard.observer import TensorBoard

from cartpole_dqn.testing import checks_for


@pytest.mark.parametrize("check", checks_for("observer"), ids=lambda check: check.__name__)
def test_contract(check: Callable[..., None]) -> None:
    check(TensorBoard, every_updates=7)
