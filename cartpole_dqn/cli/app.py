"""The root command with its global options, and all commands.

Commands from plugins (entry points of `cartpole_dqn.commands`) are listed from metadata and imported when called.
This module does not import torch.
"""

from __future__ import annotations

from traceback import print_exc
from typing import Annotated, Any

import typer

from cartpole_dqn.cli import compare, doctor, look, play, plot, plugins, presets, runs, share, sweep, train
from cartpole_dqn.cli.help import App, CommandGroup
from cartpole_dqn.cli.messages import usage_as_error
from cartpole_dqn.cli.plugin_commands import PluginCommand, find_plugin_commands
from cartpole_dqn.cli.session import Session, parse_plugin_switches
from cartpole_dqn.errors import CartpoleDqnError
from cartpole_dqn.system import __version__


class _Root(CommandGroup):
    """Adds the plugins' commands. A built-in command takes precedence over one of the same name."""

    def list_commands(self, ctx: Any) -> list[str]:
        built_in = super().list_commands(ctx)
        return [*built_in, *sorted(find_plugin_commands(built_in, blocked=_blocked(ctx))[0])]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        built_in = super().get_command(ctx, cmd_name)
        if built_in is not None:
            return built_in
        commands, _ = find_plugin_commands(super().list_commands(ctx), blocked=_blocked(ctx))
        return PluginCommand(commands[cmd_name]) if cmd_name in commands else None

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        arguments = tuple(args)
        with usage_as_error(arguments):
            context = super().make_context(info_name, args, parent=parent, **extra)
        context.meta[__name__] = arguments
        return context

    def invoke(self, ctx: Any) -> Any:
        try:
            with usage_as_error(ctx.meta[__name__]):
                return super().invoke(ctx)
        except CartpoleDqnError:
            if ctx.params.get("traceback"):
                print_exc()
            raise


def _blocked(ctx: Any) -> list[str]:
    return parse_plugin_switches(ctx.params.get("plugin") or [])


app = App(
    cls=_Root,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="Train deep Q-learning agents on Gymnasium environments, from pixels or state.",
    epilog="cartpole-dqn run --obs pixels",
)
for panel, commands in {
    "Train": (train.run, train.resume, sweep.sweep),
    "Look and measure": (
        look.evaluate,
        look.preview,
        play.watch,
        play.record,
        look.report,
        share.share,
        runs.runs,
        plot.plot,
        compare.compare,
        share.export,
    ),
    "When something is wrong": (doctor.doctor,),
}.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
for name, group in (("presets", presets.app), ("plugins", plugins.app)):
    app.add_typer(group, name=name, rich_help_panel="Presets and plugins")


def _say_version(value: bool) -> None:
    if value:
        print(f"cartpole-dqn {__version__}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_say_version, is_eager=True)
    ] = False,
    plugin: Annotated[
        list[str] | None, typer.Option("-p", metavar="no:NAME", help="Do not load the plugin NAME. May be repeated.")
    ] = None,
    strict_plugins: Annotated[
        bool, typer.Option("--strict-plugins", help="Stop with an error if a plugin is broken.")
    ] = False,
    traceback: Annotated[bool, typer.Option("--traceback", help="Print the whole traceback of an error.")] = False,
) -> None:
    """Store the global options for the commands."""
    ctx.obj = Session(blocked=parse_plugin_switches(plugin or []), strict=strict_plugins)
