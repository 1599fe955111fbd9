from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cartpole_dqn.cli.plugin_commands import find_plugin_commands
from cartpole_dqn.plugin.discovery import origin

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


@pytest.fixture
def typed(install: Install, call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Type a command with no plugin but acme."""
    monkeypatch.setenv("CARTPOLE_DQN_PLUGINS", "acme")
    return call


def test_a_function_is_a_command(install: Install, typed: Callable[..., Any]) -> None:
    install("acme", commands={"greet": "acme_a:greet"}, acme_a=FUNCTION)
    assert typed("greet", "you", "--times", "2").out == "hello you hello you\n"
    help_text = typed("greet", "--help").out
    assert "Greet somebody." in help_text
    assert "--times" in help_text
    typed("greet", code=2)


def test_a_typer_app_is_a_group(install: Install, typed: Callable[..., Any]) -> None:
    install("acme", commands={"heat": "acme_a:app"}, acme_a=APP)
    assert typed("heat", "warm").out == "heat warm\n"
    assert "Warm it." in typed("heat", "--help").out


@pytest.mark.parametrize("place", ["acme_a.py", "acme_a/__init__.py"])
def test_listings_have_a_function_s_own_words_without_importing_it(
    install: Install, typed: Callable[..., Any], tmp_path: Path, place: str
) -> None:
    install("acme", commands={"greet": "acme_a:greet", "cold": "acme_a.below:cold", "odd": "acme_a:odd"})
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text(FUNCTION + "\nodd = raise_if_imported\n")
    result = typed("--help").out
    assert re.search(r"greet .*Greet somebody\. From acme 1\.0\.", result)
    assert re.search(r"cold .*From acme 1\.0\.", result)
    assert re.search(r"odd .*From acme 1\.0\.", result)
    listed = typed("plugins", "list").out
    assert re.search(r"commands  acme 1\.0\n  cold\n  greet +Greet somebody\.\n", listed)
    commands = json.loads(typed("plugins", "list", "--json").out)["commands"]
    assert {"name": "greet", "distribution": "acme", "version": "1.0"} in commands
    assert "acme_a" not in sys.modules


def test_a_command_in_a_package_is_listed_with_its_words(
    install: Install, typed: Callable[..., Any], tmp_path: Path
) -> None:
    install("acme", commands={"greet": "acme_a.below:greet"})
    (tmp_path / "acme_a").mkdir()
    (tmp_path / "acme_a" / "__init__.py").write_text("raise RuntimeError")
    (tmp_path / "acme_a" / "below.py").write_text(FUNCTION.replace("somebody", "[b]you[/b]"))
    assert "Greet [b]you[/b]. From acme 1.0." in typed("--help").out


@pytest.mark.parametrize(
    ("value", "source", "requires", "text"),
    [
        ("acme_a:app", "raise SystemExit", "", "it called sys.exit(None)"),
        ("acme_a", "", "", "expected a typer.Typer or a function, got a module"),
        ("acme_a:app", "class app: ...", "", "expected a typer.Typer or a function, got a type"),
        ("acme a", "", "", "expected 'module' or 'module:object'"),
        ("acme_a:app", "raise SystemError", "cartpole-dqn<0.0.1", "it needs cartpole-dqn <0.0.1"),
    ],
)
def test_a_broken_command_is_a_sentence_when_it_is_called(
    install: Install, typed: Callable[..., Any], value: str, source: str, requires: str, text: str
) -> None:
    install("acme", commands={"heat": value}, requires=requires, acme_a=source)
    result = typed("heat", code=2)
    assert result.err.startswith("error: the command 'heat' of acme 1.0 cannot be loaded: ")
    assert text in result.err
