"""`presets list`, `presets show NAME` and `presets schema`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from cartpole_dqn.cli import options

if TYPE_CHECKING:
    from cartpole_dqn.cli.session import Session

app = typer.Typer(no_args_is_help=True, help="Complete configurations with a name.", rich_markup_mode="rich")


@app.command("list", epilog="Examples: cartpole-dqn presets list   |   cartpole-dqn presets list --json")
def list_presets(ctx: typer.Context, as_json: options.Json = False) -> None:
    """List the presets, with the environments that use each by default."""
    from cartpole_dqn.config.presets import parse_preset
    from cartpole_dqn.text.tables import TextTable, print_table

    session: Session = ctx.obj
    registry = session.host().registry
    presets = [parse_preset(name, registry.load("preset", name)) for name in registry.names("preset")]
    if as_json:
        print(json.dumps([{"name": p.name, "summary": p.summary, "applies": list(p.applies)} for p in presets]))
        return
    rows = [(p.name, ", ".join(f"{env} --obs {obs}" for env, obs in p.applies), p.summary) for p in presets]
    print_table(TextTable("", ("name", "default for", "summary"), tuple(rows), left=3), session.out)


@app.command(
    "show", epilog="Examples: cartpole-dqn presets show pixels   |   cartpole-dqn presets show state > my.toml"
)
def show_preset(ctx: typer.Context, name: Annotated[str, typer.Argument(help="The preset's name.")]) -> None:
    """Print a preset as TOML, to save, edit and use with run --config."""
    session: Session = ctx.obj
    print(session.host().registry.load("preset", name), end="")


@app.command("schema", epilog="Examples: cartpole-dqn presets schema > cartpole-dqn.schema.json")
def schema(ctx: typer.Context) -> None:
    """Print JSON Schema of configuration files, with the installed parts, for editors to check and complete them."""
    from cartpole_dqn.training.json_schema import config_schema

    session: Session = ctx.obj
    print(json.dumps(config_schema(session.host().registry), indent=2))
