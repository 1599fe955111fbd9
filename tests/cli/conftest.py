"""`invoke`: `cartpole-dqn plugins ...` in this process, with chosen plugins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from cartpole_dqn.cli import plugins
from cartpole_dqn.cli.session import Session
from cartpole_dqn.errors import CartpoleDqnError
from cartpole_dqn.plugin.host import PluginHost, load_plugins


@pytest.fixture
def invoke() -> Callable[..., Any]:
    """Run `plugins ...`. Raise its `CartpoleDqnError`, with the output as `result`."""

    def run(*arguments: str, **load: Any) -> Any:
        class Chosen(Session):
            def host(self) -> PluginHost:
                return load_plugins(**{"allowed": ["acme", "acme-broken"], **load})

        root = typer.Typer()
        root.add_typer(plugins.app, name="plugins")

        @root.callback()
        def main(ctx: typer.Context) -> None:
            ctx.obj = Chosen()

        result = CliRunner(env={"COLUMNS": "400"}).invoke(root, ["plugins", *arguments])
        if isinstance(result.exception, CartpoleDqnError):
            result.exception.result = result  # type: ignore[attr-defined]
            raise result.exception
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run
