"""`presets list`, `presets show NAME` and `presets schema`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from cartpole_dqn.cli import options
from cartpole_dqn.cli.help import ASIDE, HEADING, NAME, App
from cartpole_dqn.cli.session import Session

app = App(no_args_is_help=True, help="List and show presets, which are complete configurations with a name.")


@app.command("list")
def list_presets(ctx: typer.Context, as_json: options.Json = False) -> None:
    """List the presets, with the environments that use each by default.

    Examples:
        cartpole-dqn presets list
        cartpole-dqn presets list --json
    """
    from rich.text import Text

    from cartpole_dqn.config.presets import parse_preset
    from cartpole_dqn.text.tables import print_sections

    session: Session = ctx.obj
    registry = session.host.registry
    presets = [parse_preset(name, registry.load("preset", name)) for name in registry.names("preset")]
    if as_json:
        print(json.dumps([{"name": p.name, "summary": p.summary, "applies": list(p.applies)} for p in presets]))
        return
    rows = []
    for preset in presets:
        uses = ", ".join(f"{env} --obs {obs}" for env, obs in preset.applies)
        aside = (f" [default for {uses}]" if uses else "", ASIDE)
        rows.append((Text(preset.name, style=NAME), Text.assemble(preset.summary, aside)))
    print_sections(session.out, [(Text("Presets", style=HEADING), rows)], wrap=session.out.is_terminal)


@app.command("show")
def show_preset(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The preset's name.")],
    full: Annotated[bool, typer.Option("--full", help="Include what it extends, and all defaults.")] = False,
) -> None:
    """Print a preset as TOML, which you can edit and use with `run --config`.

    Examples:
        cartpole-dqn presets show pixels
        cartpole-dqn presets show state > my.toml
    """
    session: Session = ctx.obj
    from cartpole_dqn.cli.component_text import print_toml
    from cartpole_dqn.config.schema import to_toml
    from cartpole_dqn.training.resolve import resolve_config

    host = session.host
    text = host.registry.load("preset", name)
    print_toml(session.out, (to_toml(resolve_config(host, preset=name)[0]) if full else text).rstrip())


@app.command()
def schema(ctx: typer.Context) -> None:
    """Print a JSON Schema of configuration files.

    With it, an editor checks and completes them. It includes the parts of installed plugins.

    Examples:
        cartpole-dqn presets schema > cartpole-dqn.schema.json
    """
    from cartpole_dqn.training.json_schema import config_schema

    session: Session = ctx.obj
    print(json.dumps(config_schema(session.host.registry), indent=2))
