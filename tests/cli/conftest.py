"""`invoke`: `cartpole-dqn plugins ...` with chosen plugins. `refused`: a command that is wrong and changes nothing.

`trained`: a run of 40 steps without metrics. `runs`: a folder with a copy of it, `mine`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from cartpole_dqn.cli import plugins
from cartpole_dqn.cli.session import Session
from cartpole_dqn.errors import CartpoleDqnError
from cartpole_dqn.plugin.host import load_plugins


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
        said = call(*arguments)
        assert said.code == 2, said
        assert words in said.err or words in " ".join(said.err.split())
        assert "Traceback" not in said.err
        assert said.out == ""
        left = [path for path in tmp_path.rglob("*") if path not in before and path.name not in ("runs", "sweeps")]
        assert left == [], "nothing was started"

    return check


@pytest.fixture
def invoke() -> Callable[..., Any]:
    """Run `plugins ...`. Raise its `CartpoleDqnError`, with the output as `result`."""

    def run(*arguments: str, **load: Any) -> Any:
        root = typer.Typer()
        root.add_typer(plugins.app, name="plugins")

        @root.callback()
        def main(ctx: typer.Context) -> None:
            ctx.obj = Session()
            ctx.obj.host = load_plugins(**{"allowed": ["acme", "acme-broken"], **load})

        result = CliRunner(env={"COLUMNS": "400"}).invoke(root, ["plugins", *arguments])
        if isinstance(result.exception, CartpoleDqnError):
            result.exception.result = result  # type: ignore[attr-defined]
            raise result.exception
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run
