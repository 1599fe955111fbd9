"""Commands from plugins: entry points of the group `cartpole_dqn.commands`.

* `find_plugin_commands`: entry points by command name, and name clashes. It imports no plugin.
* `PluginCommand`: a placeholder that imports the command when it is called.
* `command_summary`: the first line of a command's own help, read from its source.
* `load_plugin_command`: imports the command.

An entry point names a `typer.Typer` or a function with typer's annotations:

    [project.entry-points."cartpole_dqn.commands"]
    heatmap = "my_plugin.heatmap:app"
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import inspect
from collections.abc import Collection
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from cartpole_dqn.cli.help import App
from cartpole_dqn.errors import error_line
from cartpole_dqn.plugin.discovery import (
    COMMAND_GROUP,
    GROUP,
    allowed_names,
    find_entry_points,
    import_entry_point,
    origin,
    switched_off,
)
from cartpole_dqn.plugin.registry import PluginError, owner_text


def find_plugin_commands(
    exclude: Collection[str], *, blocked: Collection[str] = (), allowed: Collection[str] | None = None
) -> tuple[dict[str, EntryPoint], list[str]]:
    """Return the plugins' commands by name, and a message for each command whose name is taken.

    Args:
        exclude: names of built-in commands. Among plugins, the first distribution in alphabetical order wins.
        blocked: names of commands, distributions or plugins to leave out.
        allowed: the only names to use. None: those in `CARTPOLE_DQN_PLUGINS`, or all.
    """
    allowed = allowed_names() if allowed is None else allowed
    plugins: dict[str, set[str]] = {}
    for entry in find_entry_points(GROUP)[0]:
        plugins.setdefault(origin(entry)[0], set()).add(entry.name)
    commands: dict[str, EntryPoint] = {}
    clashes = []
    for entry in find_entry_points(COMMAND_GROUP)[0]:
        distribution, version = origin(entry)
        if switched_off({entry.name, distribution, *plugins.get(distribution, ())}, blocked, allowed):
            continue
        if entry.name in exclude or entry.name in commands:
            winner = "cartpole-dqn itself" if entry.name in exclude else owner_text(*origin(commands[entry.name]))
            clashes.append(
                f"the command '{entry.name}' of {owner_text(distribution, version)} was left out: {winner} has one."
            )
        else:
            commands[entry.name] = entry
    return commands, clashes


class PluginCommand(TyperCommand):
    """A plugin's command in listings and `--help`. It is imported when called."""

    def __init__(self, entry_point: EntryPoint) -> None:
        owner = owner_text(*origin(entry_point))
        summary = f"{command_summary(entry_point)} From {owner}.".lstrip()
        super().__init__(entry_point.name, help=summary, rich_help_panel="Commands from plugins")
        self._entry_point = entry_point

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Import the command and return its context. Raises `PluginError`."""
        return load_plugin_command(self._entry_point).make_context(info_name, args, parent=parent, **extra)


def command_summary(entry_point: EntryPoint) -> str:
    """Return the first line of the docstring of a command that is a function, or "".

    Nothing is imported, because a listing must not run a plugin's code. A `typer.Typer` has no such line.
    """
    module, _, name = entry_point.value.partition(":")
    top, *below = module.split(".")
    try:
        spec = importlib.util.find_spec(top)  # without a parent, this imports nothing
        assert spec is not None
        places = [Path(folder, *(below or ["__init__"])) for folder in spec.submodule_search_locations or ()]
        files = [Path(f"{place}.py") for place in places] or [Path(str(spec.origin))]
        tree = ast.parse(next(file for file in files if file.is_file()).read_text(encoding="utf-8"))
    except Exception:  # The command itself reports the error when it is called.
        return ""
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name.strip())
    text = next((ast.get_docstring(function) for function in functions), None)
    return (text or "").partition("\n")[0]


def load_plugin_command(entry_point: EntryPoint) -> TyperCommand | TyperGroup:
    """Import a plugin's command. Raises `PluginError` for any failure, including `SystemExit`."""
    owner = owner_text(*origin(entry_point))
    try:
        return _as_command(import_entry_point(entry_point), entry_point.name)
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"the command '{entry_point.name}' of {owner} cannot be loaded: {error_line(error)}"
        ) from error


def _as_command(target: Any, name: str) -> TyperCommand | TyperGroup:
    app = target
    if not isinstance(target, typer.Typer):
        if not inspect.isroutine(target) and not isinstance(target, functools.partial):
            raise PluginError(f"expected a typer.Typer or a function, got a {type(target).__name__}.")
        app = App(add_completion=False)
        app.command(name)(target)
    command = typer.main.get_command(app)
    command.name = name
    assert isinstance(command, TyperCommand | TyperGroup)
    return command
