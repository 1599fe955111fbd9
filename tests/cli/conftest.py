"""What tests of commands share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from cartpole_dqn import cli


class Said(NamedTuple):
    """What a command left with and said."""

    code: int
    out: str
    err: str


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Said]:
    """Run the command line in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["cartpole-dqn", *arguments])
        code: object = 0
        try:
            cli.main()
        except SystemExit as left:
            code = left.code or 0
        assert isinstance(code, int)
        return Said(code, *capfd.readouterr())

    return call
