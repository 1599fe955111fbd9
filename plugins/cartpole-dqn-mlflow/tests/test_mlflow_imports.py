"""What registering the plugin imports."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.process
def test_registering_imports_nothing_heavy() -> None:
    code = "import sys, cartpole_dqn_mlflow; print({'torch', 'numpy', 'mlflow'} & set(sys.modules))"
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert printed.strip() == "set()"
