"""Every command's help: an example that parses, and no colour where none is wanted."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

from cartpole_dqn.cli.app import app
from cartpole_dqn.training.resolve import DEFAULT_OBS


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Each built-in command under its full name."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


COMMANDS = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_what_everything_is_and_has_examples_that_parse(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    assert [p.name for p in command.params if not getattr(p, "help", None)] == []
    assert [p.name for p in command.params if not p.metavar and not getattr(p, "is_flag", False)] == []
    examples = (command.epilog or "").splitlines()
    assert examples, f"cartpole-dqn {name} --help has no example"
    for example in examples:
        words = shlex.split(example.split(" > ")[0])
        start = ["cartpole-dqn", *name.split()]
        assert words[: len(start)] == start, example
        command.make_context(name, words[len(start) :])


def test_the_default_observation_is_what_a_run_takes() -> None:
    [option] = [p for p in COMMANDS["run"].params if p.name == "obs"]
    assert option.show_default == DEFAULT_OBS


def shown(call: Any, monkeypatch: pytest.MonkeyPatch, *arguments: str, width: int = 80) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    return str(call(*arguments, "--help").out)


@pytest.mark.parametrize("width", [60, 80, 130])
def test_help_fits_and_breaks_no_word(call: Any, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    text = shown(call, monkeypatch, "run", width=width)
    lines = text.partition("\nExamples\n")[0].splitlines()
    assert max(map(len, lines)) <= width
    assert "[default: pixels]" in text
    assert any(len(line) > width - 12 for line in lines), "the width is used"
    whole = " ".join(shown(call, monkeypatch, "run", width=400).split())
    assert " ".join(text.split()) == whole


def test_help_of_run_is_in_sections_with_defaults_and_without_types_of_switches(
    call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = shown(call, monkeypatch, "run", width=130)
    titles = [line.split(" (")[0] for line in text.splitlines() if line and not line.startswith(" ")][3:]
    assert titles == ["What", "How long", "Where", "Display", "Parts", "Options", "Examples"]
    assert re.search(r"\n  --until-solved +Stop", text)
    assert re.search(r"\n  --vector sync\|async .*\[default: sync\]\n", text)
    assert "bool" not in text
    assert "\n  cartpole-dqn run --obs pixels\n" in text, "an example is a line that can be copied"
    assert re.search(r"--seed N .*\[default: 0\]", shown(call, monkeypatch, "evaluate"))
