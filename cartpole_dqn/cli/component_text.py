"""Text for `cartpole-dqn plugins show`.

* `print_component`: heading, documentation, options and example.
* `options_of`: the options, from the options class or from a wrapper's constructor.
* `example`: a command, or TOML, that uses the component.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Sequence
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
    options: list[OptionInfo] = []
    if component.kind == "preset":
        console.print()
        print_toml(console, loaded.strip())
    else:
        print_documentation(console, inspect.getdoc(loaded) or "")
        options = options_of(component.kind, loaded)
        if options:
            console.print()
            print_sections(
                console, [(Text("Options", style=HEADING), [*map(_entry, options)])], wrap=console.is_terminal
            )
        else:
            console.print("\nIt has no options.")
    console.print(Text("\nExample", style=HEADING))
    console.print(Text(f"    {example(component, options)}"), soft_wrap=True)


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


def options_of(kind: str, cls: Any) -> list[OptionInfo]:
    """Return the options of a component's class."""
    declared = getattr(cls, "Options", None)
    if isinstance(declared, type):
        return describe_options(declared)
    return _parameters(cls) if kind == "wrapper" else []


def example(component: Component, options: Sequence[OptionInfo]) -> str:
    """Return a command that uses the component."""
    if component.kind == "sweep-engine":
        return f"cartpole-dqn sweep --engine {component.name}"
    if component.kind not in _OPTIONS:
        return f"cartpole-dqn run --set {component.kind}.name={component.name}"
    command = f"cartpole-dqn run --{component.kind} {component.name}"
    place = f"agent.{component.kind.replace('-', '_')}" if component.kind in _PARTS else component.kind
    if component.kind == "wrapper":
        required = [option.name for option in options if option.required]
        return command + "".join(f" --set observation.{component.name}.{name}=..." for name in required)
    numbers = [option for option in options if type(option.default) in (int, float) and math.isfinite(option.default)]
    if numbers and component.kind in (*_PARTS, "agent", "collector"):
        command += f" --set {place}.{numbers[0].name}={numbers[0].default}"
    return command


def _entry(option: OptionInfo) -> tuple[Text, Text]:
    """Return an option's name and text, as in the help of a command."""
    from rich.text import Text

    kind = f"{option.part} part" if option.part else option.type
    bounds = re.sub(r"^>= (\S+), <= (\S+)$", r"from \1 to \2", option.range)
    default = option.default.get("name", "") if option.part else _text(option.default)
    default = "required" if option.required else f"default: {default}"
    asides = [f"{kind} {bounds}".strip(), default, option.typical and f"typical: {option.typical}"]
    aside = f"[{', '.join(filter(None, asides))}]"
    return Text(option.name, style=NAME), Text.assemble(f"{option.effect} ".lstrip(), (aside, ASIDE))


def _parameters(cls: Any) -> list[OptionInfo]:
    """Return the arguments of a wrapper's constructor as options."""
    from cartpole_dqn.envs.chain import parameters_of

    effects = _documented_arguments(cls)
    options = []
    for name, parameter in parameters_of(cls).items():
        annotation, required = parameter.annotation, parameter.default is parameter.empty
        kind = "" if annotation is parameter.empty else inspect.formatannotation(annotation).strip("'")
        default = None if required else parameter.default
        options.append(OptionInfo(name, kind, default, required, "", effects.get(name, ""), "", ""))
    return options


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
