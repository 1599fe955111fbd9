"""What the plugin registers, what it imports, and what its options refuse."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cartpole_dqn_ray.sweep import RaySweep, RaySweepOptions

from cartpole_dqn import SweepEngineContext, UserError, check_options


@pytest.mark.process
def test_registering_imports_no_ray_and_no_torch() -> None:
    code = "import sys, cartpole_dqn_ray.plugin; print({'torch', 'numpy', 'ray'} & set(sys.modules))"
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert printed.strip() == "set()"


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"cpus": 1.5}, "cpus: expected a fraction below 1 or a whole number, got 1.5"),
        ({"gpus": 2.5}, "gpus: expected a fraction"),
        ({"address": "ray://head:10001"}, "expected HOST:PORT"),
        ({"cpus": 0}, "cpus: expected"),
        ({"storage": "floppy"}, "storage: expected"),
        ({"adress": "auto"}, "Did you mean 'address'"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(table: dict[str, object], said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        RaySweep(
            check_options(RaySweepOptions, table, where="engine"),
            SweepEngineContext(folder=tmp_path, jobs=1, say=lambda text: None),
        )
