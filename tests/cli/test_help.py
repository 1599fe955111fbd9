"""Every command's help: an example that parses, and no colour where none is wanted."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

from cartpole_dqn.cli.app import app


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Each built-in command under its full name."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


COMMANDS = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_examples_that_parse(name: str) -> None:
    examples = re.sub(r"^Examples?: ", "", COMMANDS[name].epilog or "").split("   |   ")
    assert examples[0], f"cartpole-dqn {name} --help has no example"
    for example in examples:
        words = shlex.split(example.split(" > ")[0])
        start = ["cartpole-dqn", *name.split()]
        assert words[: len(start)] == start, example
        COMMANDS[name].make_context(name, words[len(start) :])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_says_what_it_is(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    parts = ("agent", "replay", "network", "target_update", "exploration", "optimiser")  # their panel says it
    silent = [p.name for p in command.params if not getattr(p, "help", None) and p.name not in parts]
    assert silent == []


@pytest.mark.process
def test_no_color_is_heard() -> None:
    def codes(**more: str) -> set[str]:
        environment = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
        command = [sys.executable, "-m", "cartpole_dqn", "report", "--help"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env={**environment, **more})
        return set(re.findall(r"\x1b\[([\d;]*)m", done.stdout))

    coloured, plain = codes(FORCE_COLOR="1"), codes(FORCE_COLOR="1", NO_COLOR="1")
    assert any("3" in code for code in coloured)
    assert plain <= {"0", "1", "2", "1;2"}
