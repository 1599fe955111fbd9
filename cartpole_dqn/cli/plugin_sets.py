"""`cartpole-dqn plugins install`, `uninstall`, `freeze` and `restore`: the plugins of this environment as a set.

What follows `--` goes to the installer (uv or pip) as it is, options included.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from cartpole_dqn.cli import options
from cartpole_dqn.cli.session import Session
from cartpole_dqn.errors import UserError

_WANTED = "Names, name==version, folders or wheels. Options of the installer go behind `--`."
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would run, and do nothing.")]
InstallerOptions = Annotated[
    list[str] | None, typer.Argument(metavar="-- OPTION...", help="Options of the installer, behind `--`.")
]


def install(
    ctx: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help=_WANTED)],
    dry_run: DryRun = False,
) -> None:
    """Install plugins into the current environment with its own installer, uv or pip.

    Examples:
        cartpole-dqn plugins install cartpole-dqn-acme
        cartpole-dqn plugins install . -- --no-index
    """
    _install(ctx.obj, names, dry_run)


def uninstall(
    ctx: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Distributions, as in `plugins list`.")],
    dry_run: DryRun = False,
) -> None:
    """Remove plugins from the current environment. Other distributions are refused.

    Examples:
        cartpole-dqn plugins uninstall cartpole-dqn-acme
    """
    from cartpole_dqn.plugin import installer

    installer.require_plugins(names)
    if dry_run:
        print(shlex.join(installer.command("uninstall", names)))
        return
    installer.uninstall(names)


def freeze(
    ctx: typer.Context,
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="A run, instead of this environment.", autocompletion=options.complete),
    ] = None,
) -> None:
    """Print the plugins that are installed here, or that a run was made with, as name==version.

    Examples:
        cartpole-dqn plugins freeze > plugins.txt
    """
    from cartpole_dqn.plugin import installer

    for line in installer.frozen_now() if run is None else _of_run(run):
        print(line)


def restore(
    ctx: typer.Context,
    target: Annotated[
        str,
        typer.Argument(metavar="RUN|FILE", help="A run, or the output of `freeze`.", autocompletion=options.complete),
    ],
    more: InstallerOptions = None,
    dry_run: DryRun = False,
) -> None:
    """Install the plugins that a run was made with, in the same versions. Others stay as they are.

    Examples:
        cartpole-dqn plugins restore latest --dry-run
        cartpole-dqn plugins restore plugins.txt
    """
    from cartpole_dqn.plugin import installer

    path = Path(target)
    lines = installer.read_frozen(path) if path.is_file() and path.suffix != ".zip" else _of_run(target)
    session: Session = ctx.obj
    to_install = installer.missing(lines)
    for line in lines:
        session.say(f"{line}: {'to be installed' if line in to_install else 'is here'}")
    if not to_install:
        session.say("Nothing to install.")
        return
    _install(session, [*to_install, *(more or ())], dry_run)


def _install(session: Session, arguments: list[str], dry_run: bool) -> None:
    from cartpole_dqn.plugin import installer

    if all(text.startswith("-") for text in arguments):
        raise UserError(f"expected something to install, got only options: {shlex.join(arguments)}.")
    if dry_run:
        print(shlex.join(installer.command("install", arguments)))
        return
    installed = installer.install(arguments)
    for plugin in installed:
        print(plugin)
    if not installed:
        session.say("No plugin came or changed: it was here, or what was installed has no entry point cartpole_dqn.")


def _of_run(run: str) -> list[str]:
    from cartpole_dqn.plugin import installer
    from cartpole_dqn.runs.catalogue import find_run

    folder = find_run(run)
    plugins = folder.plugins()
    if not plugins:
        raise UserError(f"{folder.path} does not say which plugins it was made with: its environment.json is missing.")
    return installer.frozen(plugins)
