"""How `--help` looks: sections of two columns in the terminal's full width, examples one a line.

* `App`: a `typer.Typer` whose commands print such help. `Command`, `CommandGroup`: their classes.
* `print_help`: prints the help of any command.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from cartpole_dqn.cli.messages import OPTION, make_console
from cartpole_dqn.text.tables import print_sections

if TYPE_CHECKING:
    from rich.text import Text

_Function = TypeVar("_Function", bound=Callable[..., Any])
HEADING, NAME, ASIDE = "bold green", "cyan", "dim"
_OTHERS = "Options"
"""The section for options without one. It comes last."""


class Command(TyperCommand):
    """A command. Its epilog has the examples, one a line."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help."""
        print_help(self, ctx)


class CommandGroup(TyperGroup):
    """A command with subcommands."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help."""
        print_help(self, ctx)


class App(typer.Typer):
    """A `typer.Typer` with `CommandGroup` and `Command`."""

    def __init__(self, *, cls: type[CommandGroup] = CommandGroup, **settings: Any) -> None:
        super().__init__(cls=cls, **settings)

    def command(
        self, name: str | None = None, *, cls: type[TyperCommand] | None = Command, **settings: Any
    ) -> Callable[[_Function], _Function]:
        """Return a decorator that makes a function a command. Its docstring is the help, and ends with "Examples:"."""

        def decorate(function: _Function) -> _Function:
            text, _, examples = inspect.cleandoc(function.__doc__ or "").partition("\n\nExamples:\n")
            register = super(App, self).command(name, cls=cls, help=text, epilog=inspect.cleandoc(examples), **settings)
            return register(function)

        return decorate


def print_help(command: Any, ctx: Any) -> None:
    """Print usage, description, subcommands, arguments and options by their panels, and examples."""
    from rich.text import Text

    console = make_console()
    arguments = [param for param in command.get_params(ctx) if param.param_type_name == "argument"]
    words = [_name(param).plain if param.required else f"[{_name(param)}]" for param in arguments]
    usage = " ".join([ctx.command_path, "[OPTIONS]", *(["COMMAND"] if isinstance(command, TyperGroup) else words)])
    console.print(Text.assemble(("Usage: ", HEADING), usage), soft_wrap=False)
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        console.print()
        console.print(Text(" ".join(paragraph.split())), soft_wrap=False)
    console.print()
    sections = _sections(command, ctx)
    print_sections(console, [(Text(title, style=HEADING), rows) for title, rows in sections.items()])
    if command.epilog:
        console.print(Text("\nExamples", style=HEADING))
        for line in command.epilog.splitlines():
            console.print(Text(f"  {line}"), soft_wrap=True)


def _sections(command: Any, ctx: Any) -> dict[str, list[tuple[Text, Text]]]:
    """Return rows of name and help by section: subcommands, then parameters."""
    from rich.text import Text

    sections: dict[str, list[tuple[Text, Text]]] = {}
    if isinstance(command, TyperGroup):
        for name in command.list_commands(ctx):
            subcommand: Any = command.get_command(ctx, name)
            if subcommand is not None and not subcommand.hidden:
                summary = inspect.cleandoc(subcommand.help or "").partition("\n\n")[0]
                row = Text(name, style=NAME), Text(" ".join(summary.split()))
                sections.setdefault(subcommand.rich_help_panel or "Commands", []).append(row)
    for param in command.get_params(ctx):
        if not getattr(param, "hidden", False):
            default = "Arguments" if param.param_type_name == "argument" else _OTHERS
            title = getattr(param, "rich_help_panel", None) or default
            sections.setdefault(title, []).append((_name(param), _help(param, ctx)))
    sections[_OTHERS] = sections.pop(_OTHERS, [])
    return {title: rows for title, rows in sections.items() if rows}


def _name(param: Any) -> Text:
    """Return "--option METAVAR", "--switch/--no-switch" or "ARGUMENT"."""
    from rich.text import Text

    metavar = param.metavar or str(param.name).upper()
    if param.param_type_name == "argument":
        return Text(metavar, style=NAME)
    name = Text(", ".join(param.opts), style=NAME)
    if param.secondary_opts:
        name.append(f"/{param.secondary_opts[0]}")
    return name if param.is_flag else Text.assemble(name, f" {metavar}")


def _help(param: Any, ctx: Any) -> Text:
    from rich.text import Text

    text = Text(" ".join((getattr(param, "help", None) or "").split()))
    text.highlight_regex(OPTION, NAME)
    asides = ["required"] if param.required and param.param_type_name == "option" else []
    if default := _default(param, ctx):
        asides.append(f"default: {default}")
    if asides:
        text.append(f" [{', '.join(asides)}]" if text else f"[{', '.join(asides)}]", style=ASIDE)
    return text


def _default(param: Any, ctx: Any) -> str:
    """Return the default as text: `show_default` if it is text, else the value; "" for none or a switch that is off."""
    show_default = getattr(param, "show_default", True)
    value = param.get_default(ctx, call=False)
    if isinstance(show_default, str):
        return show_default
    if not show_default or value is None or value is False or value in ("", (), []) or callable(value):
        return ""
    return str(param.opts[0] if value is True else value)
