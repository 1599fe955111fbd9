from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup
from typer.testing import CliRunner

from cartpole_dqn.cli.plugin_commands import (
    PluginCommand,
    load_plugin_command,
    plugin_command_clashes,
    plugin_command_names,
)
from cartpole_dqn.plugin.discovery import origin
from cartpole_dqn.plugin.registry import PluginError

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    monkeypatch.delenv("CARTPOLE_DQN_PLUGINS", raising=False)
    monkeypatch.syspath_prepend(tmp_path)

    def make(name: str, commands: dict[str, str], plugin: str = "", requires: str = "", **modules: str) -> None:
        for module, text in modules.items():
            (tmp_path / f"{module}.py").write_text(textwrap.dedent(text))
        info = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{requires}")
        lines = ["[cartpole_dqn.commands]", *(f"{key} = {value}" for key, value in commands.items())]
        (info / "entry_points.txt").write_text("\n".join([*lines, "[cartpole_dqn]", *([plugin] if plugin else [])]))

    yield make
    for name, loaded in list(sys.modules.items()):
        if str(getattr(loaded, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


def names(**switches: Any) -> set[str]:
    return {n for n, e in plugin_command_names(("run",), **switches).items() if origin(e)[0].startswith("acme")}


def test_names_come_from_metadata_alone(install: Install) -> None:
    install("acme", {"heat": "acme_nowhere:app", "run": "acme_nowhere:app"})
    assert names() == {"heat"}
    assert plugin_command_clashes(("run",), allowed=["acme"]) == [
        "the command 'run' of acme 1.0 was left out: cartpole-dqn itself has one."
    ]


def test_the_first_distribution_wins(install: Install) -> None:
    install("acme-b", {"heat": "b:app"})
    install("acme-a", {"heat": "a:app"})
    assert plugin_command_names(())["heat"].value == "a:app"
    assert plugin_command_clashes((), allowed=["acme-a", "acme-b"]) == [
        "the command 'heat' of acme-b 1.0 was left out: acme-a 1.0 has one."
    ]
    assert plugin_command_names((), blocked=["acme-a"])["heat"].value == "b:app"


def test_commands_can_be_blocked_and_allowed_with_their_plugin(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("acme", {"heat": "a:app"}, plugin="warm = a")
    install("acme-other", {"cold": "b:app"})
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
            return [*super().list_commands(ctx), *plugin_command_names((), allowed=["acme"])]

        def get_command(self, ctx: Any, name: str) -> Any:
            entry_point = plugin_command_names((), allowed=["acme"]).get(name)
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
    install("acme", {"greet": "acme_a:greet"}, acme_a=FUNCTION)
    assert CliRunner().invoke(root(), ["greet", "you", "--times", "2"]).stdout == "hello you hello you\n"
    help_text = CliRunner().invoke(root(), ["greet", "--help"]).stdout
    assert "Greet somebody." in help_text
    assert "--times" in help_text
    assert CliRunner().invoke(root(), ["greet"]).exit_code == 2


def test_a_typer_app_is_a_group(install: Install) -> None:
    install("acme", {"heat": "acme_a:app"}, acme_a=APP)
    assert CliRunner().invoke(root(), ["heat", "warm"]).stdout == "heat warm\n"
    assert "Warm it." in CliRunner().invoke(root(), ["heat", "--help"]).stdout


def test_help_lists_commands_without_importing_them(install: Install) -> None:
    install("acme", {"heat": "acme_nowhere:app"})
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
    install("acme", {"heat": value}, acme_a=source)
    result = CliRunner().invoke(root(), ["heat"])
    assert isinstance(result.exception, PluginError)
    with pytest.raises(PluginError, match=rf"^the command 'heat' of acme 1\.0 cannot be loaded: .*{text}"):
        raise result.exception


def test_a_command_of_another_cartpole_dqn_is_not_imported(install: Install) -> None:
    install("acme", {"heat": "acme_a:app"}, requires="Requires-Dist: cartpole-dqn<0.0.1\n", acme_a=APP)
    with pytest.raises(PluginError, match=r"it needs cartpole-dqn <0\.0\.1"):
        load_plugin_command(plugin_command_names((), allowed=["acme"])["heat"])
    assert "acme_a" not in sys.modules
