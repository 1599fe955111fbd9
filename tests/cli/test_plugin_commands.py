from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
import typer
from typer.core import TyperGroup
from typer.testing import CliRunner

from cartpole_dqn.cli.plugin_commands import (
    PluginCommand,
    find_plugin_commands,
    load_plugin_command,
)
from cartpole_dqn.plugin.discovery import origin
from cartpole_dqn.plugin.registry import PluginError

Install = Callable[..., None]


def names(**switches: Any) -> set[str]:
    return {n for n, e in find_plugin_commands(("run",), **switches)[0].items() if origin(e)[0].startswith("acme")}


def test_names_come_from_metadata_alone(install: Install) -> None:
    install("acme", commands={"heat": "acme_nowhere:app", "run": "acme_nowhere:app"})
    assert names() == {"heat"}
    assert find_plugin_commands(("run",), allowed=["acme"])[1] == [
        "the command 'run' of acme 1.0 was left out: cartpole-dqn itself has one."
    ]


def test_the_first_distribution_wins(install: Install) -> None:
    install("acme-b", commands={"heat": "b:app"})
    install("acme-a", commands={"heat": "a:app"})
    assert find_plugin_commands(())[0]["heat"].value == "a:app"
    assert find_plugin_commands((), allowed=["acme-a", "acme-b"])[1] == [
        "the command 'heat' of acme-b 1.0 was left out: acme-a 1.0 has one."
    ]
    assert find_plugin_commands((), blocked=["acme-a"])[0]["heat"].value == "b:app"


def test_commands_can_be_blocked_and_allowed_with_their_plugin(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("acme", commands={"heat": "a:app"}, plugins={"warm": "a"})
    install("acme-other", commands={"cold": "b:app"})
    assert names() == {"heat", "cold"}
    for name in ("heat", "acme", "warm"):
        assert names(blocked=[name]) == {"cold"}
        assert names(allowed=[name]) == {"heat"}
    monkeypatch.setenv("CARTPOLE_DQN_PLUGINS", "")
    assert names() == set()


def root() -> typer.Typer:
    """A program whose only command of its own is `version`, with the plugins' beside it."""

    class Root(TyperGroup):
        def list_commands(self, ctx: Any) -> list[str]:
            return [*super().list_commands(ctx), *find_plugin_commands((), allowed=["acme"])[0]]

        def get_command(self, ctx: Any, name: str) -> Any:
            entry_point = find_plugin_commands((), allowed=["acme"])[0].get(name)
            return super().get_command(ctx, name) if entry_point is None else PluginCommand(entry_point)

    app = typer.Typer(cls=Root)
    app.command("version")(lambda: print("1"))
    app.callback()(lambda: None)
    return app


FUNCTION = """
def greet(name: str, times: int = 1) -> None:
    'Greet somebody.'
    print(' '.join([f'hello {name}'] * times))
"""

APP = """
import typer
app = typer.Typer(help='Warm and cold.')

@app.command()
def warm(ctx: typer.Context):
    'Warm it.'
    print(ctx.command_path.split(' ', 1)[1])

@app.command()
def cold(): ...
"""


def test_a_function_is_a_command(install: Install) -> None:
    install("acme", commands={"greet": "acme_a:greet"}, acme_a=FUNCTION)
    assert CliRunner().invoke(root(), ["greet", "you", "--times", "2"]).stdout == "hello you hello you\n"
    help_text = CliRunner().invoke(root(), ["greet", "--help"]).stdout
    assert "Greet somebody." in help_text
    assert "--times" in help_text
    assert CliRunner().invoke(root(), ["greet"]).exit_code == 2


def test_a_typer_app_is_a_group(install: Install) -> None:
    install("acme", commands={"heat": "acme_a:app"}, acme_a=APP)
    assert CliRunner().invoke(root(), ["heat", "warm"]).stdout == "heat warm\n"
    assert "Warm it." in CliRunner().invoke(root(), ["heat", "--help"]).stdout


def test_help_lists_commands_without_importing_them(install: Install) -> None:
    install("acme", commands={"heat": "acme_nowhere:app"})
    result = CliRunner().invoke(root(), ["--help"])
    assert result.exit_code == 0
    assert "heat" in result.stdout
    assert "From acme 1.0." in result.stdout


@pytest.mark.parametrize(
    ("value", "source", "text"),
    [
        ("acme_a:app", "raise SystemExit", r"it called sys\.exit\(None\)"),
        ("acme_a", "", "expected a typer.Typer or a function, got a module"),
        ("acme_a:app", "class app: ...", "expected a typer.Typer or a function, got a type"),
        ("acme a", "", "expected 'module' or 'module:object'"),
    ],
)
def test_a_broken_command_is_a_sentence_when_it_is_called(install: Install, value: str, source: str, text: str) -> None:
    install("acme", commands={"heat": value}, acme_a=source)
    result = CliRunner().invoke(root(), ["heat"])
    assert isinstance(result.exception, PluginError)
    with pytest.raises(PluginError, match=rf"^the command 'heat' of acme 1\.0 cannot be loaded: .*{text}"):
        raise result.exception


def test_a_command_of_another_cartpole_dqn_is_not_imported(install: Install) -> None:
    install("acme", commands={"heat": "acme_a:app"}, requires="cartpole-dqn<0.0.1", acme_a=APP)
    with pytest.raises(PluginError, match=r"it needs cartpole-dqn <0\.0\.1"):
        load_plugin_command(find_plugin_commands((), allowed=["acme"])[0]["heat"])
    assert "acme_a" not in sys.modules
