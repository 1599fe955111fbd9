"""Text for `cartpole-dqn plugins show`.

* `print_component`: heading, documentation, options and example.
* `option_rows`: the options as text, from the options class or from a wrapper's constructor.
* `example`: a command, or TOML, that uses the component.
"""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

from cartpole_dqn.cli.help import ASIDE, HEADING, NAME
from cartpole_dqn.contracts.options import OptionInfo, describe_options
from cartpole_dqn.plugin.registry import Component

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_TOML_STYLES = {("Comment",): ASIDE, ("Keyword",): HEADING, ("Literal",): "magenta", ("Literal", "String"): NAME}
"""Styles by Pygments' types of token. They have the terminal's own colours, which suit its background."""
_PARTS = ("replay", "network", "target-update", "exploration", "optimiser")
_OPTIONS = (*_PARTS, "agent", "observer", "collector", "preset", "wrapper")
"""Kinds with an option of `run`."""


def print_component(console: Console, component: Component) -> None:
    """Print a component. Raises the errors of `Component.load`."""
    from rich.text import Text

    from cartpole_dqn.text.tables import print_sections

    loaded = component.load()
    summary = f": {component.summary}" if component.summary else ""
    console.print(Text.assemble((f"{component.kind} {component.name}", HEADING), summary))
    console.print(Text(f"from {component.owner}, {component.reference}", style=ASIDE))
    rows: list[tuple[str, ...]] = []
    if component.kind == "preset":
        console.print()
        print_toml(console, loaded.strip())
    else:
        print_documentation(console, inspect.getdoc(loaded) or "")
        rows = option_rows(component.kind, loaded)
        if rows:
            console.print()
            print_sections(
                console, [(Text("Options", style=HEADING), [_entry(row) for row in rows])], wrap=console.is_terminal
            )
        else:
            console.print("\nIt has no options.")
    console.print(Text("\nExample", style=HEADING))
    console.print(Text(f"    {example(component, rows)}"), soft_wrap=True)


def print_documentation(console: Console, text: str) -> None:
    """Print a docstring after an empty line. A terminal's width decides where its paragraphs are wrapped."""
    from rich.padding import Padding
    from rich.text import Text

    lines: list[str] = []
    for line in f"\n{text}".splitlines() if text else ():
        joins = lines and lines[-1] and not lines[-1].startswith((" ", ">>")) and re.match(r"[\w`(\"'$]", line)
        if joins and console.is_terminal:
            lines[-1] += f" {line}"
        else:
            lines.append(line)
    for line in lines:
        indent = len(line) - len(line.lstrip())
        console.print(Padding(Text(line.strip()), (0, 0, 0, indent)) if console.is_terminal else Text(line))


def print_toml(console: Console, text: str) -> None:
    """Print TOML: in colours on a terminal, otherwise as it is."""
    if not console.is_terminal:
        print(text)
        return
    from rich.style import Style
    from rich.syntax import ANSISyntaxTheme, Syntax

    theme = ANSISyntaxTheme({token: Style.parse(style) for token, style in _TOML_STYLES.items()})
    highlighted = Syntax("", "toml", theme=theme).highlight(text)
    highlighted.rstrip()
    console.print(highlighted, soft_wrap=True)


def option_rows(kind: str, cls: Any) -> list[tuple[str, ...]]:
    """Return (option, type, default, range, effect, typical) for each option."""
    declared = getattr(cls, "Options", None)
    if isinstance(declared, type):
        return [_row(info) for info in describe_options(declared)]
    return _constructor_rows(cls) if kind == "wrapper" else []


def example(component: Component, rows: list[tuple[str, ...]]) -> str:
    """Return a command that uses the component."""
    if component.kind == "sweep-engine":
        return f"cartpole-dqn sweep --engine {component.name}"
    if component.kind not in _OPTIONS:
        return f"cartpole-dqn run --set {component.kind}.name={component.name}"
    command = f"cartpole-dqn run --{component.kind} {component.name}"
    place = f"agent.{component.kind.replace('-', '_')}" if component.kind in _PARTS else component.kind
    if component.kind == "wrapper":
        required = [row[0] for row in rows if row[2] == "required"]
        return command + "".join(f" --set observation.{component.name}.{option}=..." for option in required)
    plain = [row for row in rows if re.fullmatch(r"-?[\d.e-]+", row[2])]
    if plain and component.kind in (*_PARTS, "agent", "collector"):
        command += f" --set {place}.{plain[0][0]}={plain[0][2]}"
    return command


def _entry(row: tuple[str, ...]) -> tuple[Text, Text]:
    """Return an option's name and text, as in the help of a command."""
    from rich.text import Text

    name, kind, default, bounds, effect, typical = row
    default = default if default in ("", "required") else f"default: {default}"
    bounds = re.sub(r"^>= (\S+), <= (\S+)$", r"from \1 to \2", bounds)
    aside = ", ".join(filter(None, [f"{kind} {bounds}".strip(), default, typical and f"typical: {typical}"]))
    return Text(name, style=NAME), Text.assemble(f"{effect} ".lstrip(), (f"[{aside}]", ASIDE))


def _row(info: OptionInfo) -> tuple[str, ...]:
    if info.part:
        default = str(info.default.get("name", ""))
        return info.name, f"{info.part} part", default, "", info.effect, info.typical
    default = "required" if info.required else _text(info.default)
    return info.name, info.type, default, info.range, info.effect, info.typical


def _constructor_rows(cls: Any) -> list[tuple[str, ...]]:
    from cartpole_dqn.envs.chain import parameters_of

    effects = _documented_arguments(cls)
    rows: list[tuple[str, ...]] = []
    for name, parameter in parameters_of(cls).items():
        annotation = parameter.annotation
        kind = "" if annotation is parameter.empty else inspect.formatannotation(annotation).strip("'")
        default = "required" if parameter.default is parameter.empty else _text(parameter.default)
        rows.append((name, kind, default, "", effects.get(name, ""), ""))
    return rows


def _documented_arguments(cls: Any) -> dict[str, str]:
    """Return name -> text from the "Args:" sections of a class and its constructor."""
    arguments: dict[str, str] = {}
    for documentation in (inspect.getdoc(cls), inspect.getdoc(cls.__init__)):
        section = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", f"{documentation or ''}\n", re.MULTILINE)
        name, depth = "", 0
        for line in section[1].splitlines() if section else ():
            indent = len(line) - len(line.lstrip())
            entry = re.match(r"\s+(\w+)(?: \([^)]*\))?:\s*(.*)", line)
            if entry and (not name or indent <= depth):
                name, depth = entry[1], indent
                arguments[name] = entry[2]
            elif name:
                arguments[name] = f"{arguments[name]} {line.strip()}".strip()
    return arguments


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
