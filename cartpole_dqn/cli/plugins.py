"""`cartpole-dqn plugins`: what is installed, what it can do, and whether it keeps its contract.

* `list`: components and plugins, with what became of each; imports none of them.
* `show`: one component: its options, its documentation, a command that uses it; or one plugin.
* `check`: the conformance kit, from the command line.
* `new`: a project to write a plugin in.

Every command finds the loaded plugins in `ctx.obj.host()`.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cartpole_dqn.cli.plugin_commands import find_plugin_commands
from cartpole_dqn.cli.plugin_project import TEMPLATE_KINDS, names_for, write_project
from cartpole_dqn.errors import RunError, UnknownComponentError, UserError, did_you_mean
from cartpole_dqn.plugin.registry import KINDS, Component, Registry

if TYPE_CHECKING:
    from cartpole_dqn.plugin.host import PluginHost, PluginRecord

app = typer.Typer(no_args_is_help=True, help="What is installed, what it can do, and whether it keeps its contract.")

_OWN = "cartpole-dqn"
_KIND_HELP = f"One of {', '.join(KINDS)}."


@app.command("list", epilog="Examples: cartpole-dqn plugins list   |   cartpole-dqn plugins list --all --kind replay")
def list_plugins(
    ctx: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="Show the built-in components too.")] = False,
    kind: Annotated[str | None, typer.Option("--kind", metavar="KIND", help=_KIND_HELP)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List what plugins bring, and what became of each plugin."""
    if kind is not None:
        Registry.require_kind(kind)
    host: PluginHost = ctx.obj.host()
    shown = [(r, c) for r, c in _components(host) if (every or not _is_builtin(r)) and kind in (None, c.kind)]
    silent = [] if kind else [r for r in host.plugins if not r.components and not _is_builtin(r)]
    if as_json:
        import json

        plugins = [described for described in host.describe() if every or described["distribution"] != _OWN]
        print(json.dumps({"components": [_as_data(r, c) for r, c in shown], "plugins": plugins}, indent=2))
        return
    if shown or silent:
        rows: list[tuple[str, ...]] = [
            (c.name, c.kind, c.distribution, c.version, r.state, r.error or c.summary) for r, c in shown
        ]
        rows += [(r.name, "(plugin)", r.distribution, r.version, r.state, r.error) for r in silent]
        _print_table(("name", "kind", "distribution", "version", "state", "what it is, or what is wrong"), rows)
    else:
        _say(f"No plugin brings {'any ' + kind if kind else 'anything'} here.")
    if kind and host.failures():
        names = ", ".join(r.label for r in host.failures())
        _say(f"Plugins that failed may have brought more: {names}. `cartpole-dqn plugins list` says why.")
    built_in = getattr(ctx.find_root().command, "commands", ())
    for clash in find_plugin_commands(built_in, blocked=ctx.obj.blocked)[1]:
        _say(clash)
    if not every:
        _say("The built-in components are left out; --all shows them.")


@app.command(
    "show",
    epilog="Examples: cartpole-dqn plugins show replay/uniform   |   cartpole-dqn plugins show network/conv",
)
def show(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME|KIND/NAME", help="A component, or a plugin.")],
) -> None:
    """Show a component's options, documentation and an example command."""
    host: PluginHost = ctx.obj.host()
    found = find_component(host, name)
    if not isinstance(found, Component):
        _show_plugin(found)
        return
    from cartpole_dqn.cli.component_text import describe_component

    for block in describe_component(found):
        if isinstance(block, str):
            print(block)
        else:
            _print_table(*block)


@app.command(
    "check",
    epilog="Examples: cartpole-dqn plugins check replay uniform   |   "
    "cartpole-dqn plugins check exploration linear --set steps=100",
)
def check(
    ctx: typer.Context,
    kind: Annotated[str, typer.Argument(metavar="KIND", help=_KIND_HELP)],
    target: Annotated[str, typer.Argument(metavar="MODULE:CLASS|NAME", help="A class, or a registered component.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set an option of the component. May be repeated."),
    ] = None,
) -> None:
    """Run the conformance kit on a component; exit with 1 where a check fails.

    A MODULE is looked for in the current folder too.
    """
    Registry.require_kind(kind)
    subject, options = _subject(ctx, kind, target), _options(settings or [])
    from cartpole_dqn import testing  # late: it imports torch
    from cartpole_dqn.training.assembly import builtin_collection, make_builder

    testing.checks_for(kind)  # says in words which kinds there are checks for
    builder = make_builder(ctx.obj.host())
    results = testing.run_checks(kind, subject, options, builder=builder, surroundings=builtin_collection)
    for result in results:
        line = f"{'passed' if result.passed else 'FAILED'}  {result.name}"
        print(line if result.passed else f"{line}: {result.message}")
    failed = [result.name for result in results if not result.passed]
    if failed:
        raise RunError(f"{len(failed)} of {len(results)} checks of {kind} {target} failed: {', '.join(failed)}.")
    _say(f"All {len(results)} checks of {kind} {target} passed.")


@app.command(
    "new",
    epilog="Examples: cartpole-dqn plugins new my-replay   |   "
    "cartpole-dqn plugins new my-parts --kind network --kind exploration",
)
def new(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The project's folder; new, or empty.")],
    name: Annotated[
        str | None, typer.Option("--name", metavar="DIST", help="What pip will install; by default DIR's name.")
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", metavar="KIND", help=f"One of {', '.join(TEMPLATE_KINDS)}. May be repeated."),
    ] = None,
) -> None:
    """Make a working plugin project: a package with an entry point, tests that use the kit, a README, CI."""
    kinds = list(dict.fromkeys(kind or ["replay"]))
    for wanted in kinds:
        Registry.require_kind(wanted)
        if wanted not in TEMPLATE_KINDS:
            raise UserError(
                f"--kind {wanted}: there is no project for it; expected one of {', '.join(TEMPLATE_KINDS)}."
            )
    names = names_for(name or folder.resolve().name)
    host: PluginHost = ctx.obj.host()
    for component in host.registry.components():
        if component.name == names.component and component.kind in kinds:
            raise UserError(
                f"the {component.kind} '{component.name}' is {component.owner}'s already: choose another name with "
                f"--name."
            )
    for path in write_project(folder, names, kinds):
        print(folder / path)
    chosen = kinds[0]
    _say(f"\n{names.distribution} brings {', '.join(f'{kind} {names.component}' for kind in kinds)}. Go on with:\n")
    if folder.resolve() != Path.cwd():
        _say(f"    cd {shlex.quote(str(folder))}")
    _say(f"""\
    pip install -e ".[test]"
    pytest
    cartpole-dqn plugins list
    cartpole-dqn plugins check {chosen} {names.component}
    cartpole-dqn run --obs state --{chosen} {names.component}""")


def find_component(host: PluginHost, name: str) -> Component | PluginRecord:
    """Return what NAME or KIND/NAME stands for: a component, else a plugin or its distribution.

    Raises:
        UnknownComponentError: nothing goes by that name.
        UserError: several components do.
    """
    kind, slash, rest = name.partition("/")
    if slash:
        return host.registry.component(kind, rest)
    found = [component for component in host.registry.components() if component.name == name]
    if len(found) > 1:
        candidates = ", ".join(f"{component.kind}/{name}" for component in found)
        raise UserError(f"'{name}' names several components: say which of {candidates}.")
    if found:
        return found[0]
    for record in host.plugins:
        if name in (record.name, record.distribution):
            return record
    names = [c.name for c in host.registry.components()] + [r.name for r in host.plugins]
    failed = f" These plugins failed: {'; '.join(host.registry.unavailable)}" if host.failures() else ""
    raise UnknownComponentError(f"no component or plugin is named '{name}'.{did_you_mean(name, names)}{failed}")


def _print_table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    from rich.console import Console

    from cartpole_dqn.text.tables import TextTable, print_table

    print_table(TextTable("", headings, tuple(rows), left=len(headings)), Console(highlight=False))


def _components(host: PluginHost) -> list[tuple[PluginRecord, Component]]:
    pairs = [(record, component) for record in host.plugins for component in record.components]
    return sorted(pairs, key=lambda pair: (KINDS.index(pair[1].kind), pair[1].name))


def _is_builtin(record: PluginRecord) -> bool:
    return record.distribution == _OWN


def _as_data(record: PluginRecord, component: Component) -> dict[str, Any]:
    return {
        "name": component.name,
        "kind": component.kind,
        "distribution": component.distribution,
        "version": component.version,
        "state": record.state,
        "plugin": record.name,
        "target": component.reference,
        "summary": component.summary,
    }


def _show_plugin(record: PluginRecord) -> None:
    print(f"plugin {record.label}: {record.state}")
    if record.error:
        print(record.error)
    for component in record.components:
        print(f"  {component.kind}/{component.name}: {component.summary}")
    if record.cause is not None:
        import traceback

        _say("".join(traceback.format_exception(record.cause)))


def _subject(ctx: typer.Context, kind: str, target: str) -> Any:
    if ":" not in target:
        host: PluginHost = ctx.obj.host()
        return host.registry.load(kind, target)
    # An installed program does not look into the current folder, where somebody writing a component has it.
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    registry = Registry("your code")
    registry.add(kind, "checked", target)
    return registry.load(kind, "checked")


def _options(settings: list[str]) -> dict[str, Any]:
    from cartpole_dqn.config.schema import parse_set

    table: dict[str, Any] = {}
    for text in settings:
        parse_set(text, table)
    return table


def _say(text: str) -> None:
    print(text, file=sys.stderr)
