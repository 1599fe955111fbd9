"""`plugins`: `cartpole-dqn plugins ...` with chosen plugins. `refused`: a command that is wrong and changes nothing.

`trained`: a run of 40 steps without metrics. `runs`: a folder with a copy of it, `mine`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def trained(trained_once: Callable[..., Path]) -> Path:
    return trained_once(obs="state", steps=40, settings={"evaluation": {"every": 0}, "observer": []})


@pytest.fixture
def runs(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained, tmp_path / "runs" / "mine")
    return tmp_path / "runs"


@pytest.fixture
def refused(call: Callable[..., Any], tmp_path: Path) -> Callable[..., None]:
    """Type a wrong command: it prints these words on stderr, exits with 2 and leaves the files as they are."""

    def check(words: str, *arguments: Any) -> None:
        before = sorted(tmp_path.rglob("*"))
        result = call(*arguments)
        assert (result.code, result.out) == (2, ""), (arguments, result)
        assert words in result.err or words in " ".join(result.err.split()), arguments
        assert "Traceback" not in result.err
        left = [path for path in tmp_path.rglob("*") if path not in before and path.name not in ("runs", "sweeps")]
        assert left == [], "nothing was started"

    return check


@pytest.fixture
def plugins(call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Type `plugins ...`, with these plugins `allowed`."""

    def typed(*arguments: str, allowed: str = "acme,acme-broken") -> Any:
        monkeypatch.setenv("CARTPOLE_DQN_PLUGINS", allowed)
        return call("plugins", *arguments)

    return typed
