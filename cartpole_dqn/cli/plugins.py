"""`cartpole-dqn plugins`: list, show, check, create and install plugins and components.

* `list`: components and plugins, without importing the components.
* `show`: options, documentation and an example of one component; or one plugin.
* `check`: runs the conformance kit on a component.
* `new`: creates a plugin project.
* `install`, `uninstall`, `freeze`, `restore`: see `plugin_sets`.
"""

from __future__ import annotations

import json
import shlex
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cartpole_dqn.cli import options, plugin_sets
from cartpole_dqn.cli.help import ASIDE, HEADING, NAME, App
from cartpole_dqn.cli.plugin_commands import command_summary, find_plugin_commands
from cartpole_dqn.cli.session import Session
from cartpole_dqn.errors import RunError, UserError, bad, did_you_mean
from cartpole_dqn.plugin.discovery import DISTRIBUTION, origin
from cartpole_dqn.plugin.project import TEMPLATE_KINDS, names_for, usage, write_project
from cartpole_dqn.plugin.registry import KINDS, Component, Registry, owner_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from cartpole_dqn.plugin.host import PluginRecord

app = App(no_args_is_help=True, help="List, show, check, create and install plugins and components.")

_KIND_HELP = f"One of {', '.join(KINDS)}."


@app.command("list")
def list_plugins(
    ctx: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="Include the built-in components.")] = False,
    kind: Annotated[str | None, typer.Option("--kind", metavar="KIND", help=_KIND_HELP)] = None,
    as_json: options.Json = False,
) -> None:
    """List components and commands from plugins, and the state of each plugin.

    Examples:
        cartpole-dqn plugins list
        cartpole-dqn plugins list --all --kind replay
    """
    if kind is not None:
        Registry.require_kind(kind)
    session: Session = ctx.obj
    host = session.host
    listed = [record for record in host.plugins if every or record.distribution != DISTRIBUTION]
    pairs = [(r, c) for r in listed for c in r.components if kind in (None, c.kind)]
    pairs.sort(key=lambda pair: (KINDS.index(pair[1].kind), pair[1].distribution, pair[1].name))
    built_in = getattr(ctx.find_root().command, "commands", ())
    plugin_commands, clashes = find_plugin_commands(built_in, blocked=session.blocked)
    commands = [] if kind else [plugin_commands[name] for name in sorted(plugin_commands)]
    if as_json:
        fields = ("name", "kind", "distribution", "version", "summary")
        components = [
            {**{f: getattr(c, f) for f in fields}, "state": r.state, "plugin": r.name, "target": c.reference}
            for r, c in pairs
        ]
        plugins = [described for described in host.describe() if every or described["distribution"] != DISTRIBUTION]
        rows = [{"name": c.name, **dict(zip(("distribution", "version"), origin(c), strict=True))} for c in commands]
        print(json.dumps({"components": components, "commands": rows, "plugins": plugins}, indent=2))
        return
    silent = [] if kind else [r for r in host.plugins if not r.components and r.distribution != DISTRIBUTION]
    if pairs or silent or commands:
        from rich.text import Text

        entries = [
            (c.kind, owner_text(c.distribution, c.version), c.name, _status_text(r, c.summary)) for r, c in pairs
        ]
        entries += [("plugins", owner_text(r.distribution, r.version), r.name, _status_text(r)) for r in silent]
        entries += [("commands", owner_text(*origin(c)), c.name, Text(command_summary(c))) for c in commands]
        _print_entries(session.out, entries)
    else:
        session.say(f"No plugin adds {'any ' + kind if kind else 'anything'} here.")
    if kind and host.failures():
        names = ", ".join(r.label for r in host.failures())
        session.say(f"Plugins that failed may have more: {names}. `cartpole-dqn plugins list` says why.")
    for note in (*host.notes, *clashes):
        session.say(note)
    if not every:
        session.say("The built-in components are left out; --all shows them.")


@app.command()
def show(
    ctx: typer.Context,
    name: Annotated[
        str,
        typer.Argument(metavar="NAME|KIND/NAME|KIND/MODULE:CLASS", help="A component, a class of yours, or a plugin."),
    ],
) -> None:
    """Show a component's options, documentation and an example command.

    Examples:
        cartpole-dqn plugins show replay/uniform
        cartpole-dqn plugins show conv
    """
    session: Session = ctx.obj
    match = session.host.find(name)
    if not isinstance(match, Component):
        print(f"plugin {match.label}: {match.state}")
        if match.error:
            print(match.error)
        for component in match.components:
            print(f"  {component.kind}/{component.name}: {component.summary}")
        if match.cause is not None:
            session.say("".join(traceback.format_exception(match.cause)))
        return
    from cartpole_dqn.cli.component_text import print_component

    print_component(session.out, match)


@app.command()
def check(
    ctx: typer.Context,
    kind: Annotated[str, typer.Argument(metavar="KIND", help=_KIND_HELP)],
    target: Annotated[str, typer.Argument(metavar="MODULE:CLASS|NAME", help="A class, or a registered component.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set an option of the component. May be repeated."),
    ] = None,
) -> None:
    """Run the conformance kit on a component.

    MODULE may be in the current folder. The exit code is 1 if a check fails.

    Examples:
        cartpole-dqn plugins check replay uniform
        cartpole-dqn plugins check exploration linear --set steps=100
    """
    from cartpole_dqn.config.layers import parse_set

    Registry.require_kind(kind)
    session: Session = ctx.obj
    subject = session.host.registry.load(kind, target)
    table: dict[str, Any] = {}
    for text in settings or []:
        parse_set(text, table)
    from cartpole_dqn import testing  # late: it imports torch
    from cartpole_dqn.training.assembly import builtin_collection, make_builder

    testing.checks_for(kind)  # raises if there are no checks for this kind
    builder = make_builder(session.host)
    causes: dict[str, str] = {}

    def show(result: testing.CheckResult) -> None:
        if result.passed:
            print(f"passed  {result.name}", flush=True)
            return
        first = causes.setdefault(result.message, result.name)
        print(f"FAILED  {result.name}: {result.message if first == result.name else f'as {first}'}", flush=True)

    results = testing.run_checks(kind, subject, table, builder=builder, surroundings=builtin_collection, on_result=show)
    failed = [result.name for result in results if not result.passed]
    if failed:
        summary = f"{len(failed)} of {len(results)} checks of {kind} {target} failed: {', '.join(failed)}."
        place = testing.defined_in(subject)
        raise RunError(f"{summary} It is in {place}." if place else summary)
    session.say(f"All {len(results)} checks of {kind} {target} passed.")


@app.command()
def new(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The project's folder, new or empty.")],
    name: Annotated[
        str | None, typer.Option("--name", metavar="DIST", help="Name of the distribution.", show_default="DIR's name")
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--kind",
            metavar="KIND",
            help=f"One of {', '.join(TEMPLATE_KINDS)}. May be repeated.",
            show_default="replay",
        ),
    ] = None,
) -> None:
    """Create a working plugin project.

    It is a package with an entry point, conformance tests, a README and CI.

    Examples:
        cartpole-dqn plugins new my-replay
        cartpole-dqn plugins new my-parts --kind network --kind environment
    """
    kinds = list(dict.fromkeys(kind or ["replay"]))
    for kind_name in kinds:
        if kind_name not in TEMPLATE_KINDS:
            raise UserError(f"--kind {bad(kind_name)}: there is no such kind.{did_you_mean(kind_name, TEMPLATE_KINDS)}")
    names = names_for(name or folder.resolve().name)
    session: Session = ctx.obj
    for component in session.host.registry.components():
        if component.name == names.component and component.kind in kinds:
            clash = f"the {component.kind} '{component.name}' is {component.owner}'s already"
            raise UserError(f"{clash}: choose another name with --name.")
    for path in write_project(folder, names, kinds):
        print(folder / path)
    session.say(f"\n{names.distribution} has {', '.join(f'{kind} {names.component}' for kind in kinds)}. Go on with:\n")
    if folder.resolve() != Path.cwd():
        session.say(f"    cd {shlex.quote(str(folder))}")
    for line in ('pip install -e ".[test]"', "pytest", "cartpole-dqn plugins list", *usage(names, kinds)):
        session.say(f"    {line}")


for command in (plugin_sets.install, plugin_sets.uninstall, plugin_sets.freeze, plugin_sets.restore):
    app.command()(command)


def _status_text(plugin: PluginRecord, summary: str = "") -> Text:
    """Return the summary, or why there is none: the plugin's state, if it is not loaded, and its error."""
    from rich.text import Text

    if plugin.state == "loaded":
        return Text(summary)
    return Text.assemble((plugin.state, "bold red"), f": {plugin.error or summary}".rstrip(": "))


def _print_entries(console: Console, entries: Sequence[tuple[str, str, str, Text]]) -> None:
    """Print (kind, distribution, name, text), with a section for each kind and distribution."""
    from rich.text import Text

    from cartpole_dqn.text.tables import print_sections

    sections: dict[tuple[str, str], list[tuple[Text, Text]]] = {}
    for kind, owner, name, text in entries:
        sections.setdefault((kind, owner), []).append((Text(name, style=NAME), text))
    headings = {key: Text.assemble((key[0], HEADING), (f"  {key[1]}", ASIDE)) for key in sections}
    print_sections(console, [(headings[key], rows) for key, rows in sections.items()], wrap=console.is_terminal)
