"""`record`: writes a run and reads it as a `Record`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cartpole_dqn.studies.grouping import Record, read_record


@pytest.fixture
def record(write_run: Callable[..., Path]) -> Callable[..., Record]:
    """Write a run as `write_run` does and read it."""

    def read(name: str, **given: Any) -> Record:
        return read_record(write_run(name, **given))

    return read
