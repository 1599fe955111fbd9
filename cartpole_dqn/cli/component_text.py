"""Text for `cartpole-dqn plugins show`.

* `describe_component`: heading, documentation, table of options and example.
* `option_rows`: table rows from the options class, or from a wrapper's constructor.
* `example`: a command, or TOML, that uses the component.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

from cartpole_dqn.contracts.options import OptionInfo, describe_options
from cartpole_dqn.plugin.registry import Component

HEADINGS = ("option", "type", "default", "range", "effect", "typical")

Block = str | tuple[tuple[str, ...], list[tuple[str, ...]]]

_PARTS = ("replay", "network", "target-update", "exploration", "optimiser")
_OPTIONS = (*_PARTS, "agent", "observer", "collector", "preset")
"""Kinds with an option of `run`."""


def describe_component(component: Component) -> list[Block]:
    """Return texts and tables (headings, rows). Raises the errors of `Component.load`."""
    heading = f"{component.kind} {component.name}: {component.summary}".rstrip(": ")
    blocks: list[Block] = [f"{heading}\nfrom {component.owner}, {component.reference}"]
    loaded = component.load()
    if component.kind == "preset":
        return [*blocks, f"\n{loaded.strip()}\n\nExample\n\n{_indented(example(component, []))}"]
    documentation = inspect.getdoc(loaded)
    if documentation:
        blocks.append(f"\n{documentation}")
    rows = option_rows(component.kind, loaded)
    if rows:
        blocks += ["\nOptions\n", (HEADINGS, rows)]
    else:
        blocks.append("\nIt has no options.")
    return [*blocks, f"\nExample\n\n{_indented(example(component, rows))}"]


def option_rows(kind: str, cls: Any) -> list[tuple[str, ...]]:
    """Return a row for each option, with the columns `HEADINGS`."""
    declared = getattr(cls, "Options", None)
    if isinstance(declared, type):
        return [_row(info) for info in describe_options(declared)]
    return _constructor_rows(cls) if kind == "wrapper" else []


def example(component: Component, rows: list[tuple[str, ...]]) -> str:
    """Return a command or TOML that uses the component."""
    if component.kind == "wrapper":
        lines = ["[[observation]]", f'wrapper = "{component.name}"']
        lines += [f"{row[0]} = ...  # required" for row in rows if row[2] == "required"]
        return "# in a file for: cartpole-dqn run --config FILE.toml\n" + "\n".join(lines)
    if component.kind == "sweep-engine":
        return f"cartpole-dqn sweep --engine {component.name}"
    if component.kind not in _OPTIONS:
        return f"cartpole-dqn run --set {component.kind}.name={component.name}"
    command = f"cartpole-dqn run --{component.kind} {component.name}"
    place = f"agent.{component.kind.replace('-', '_')}" if component.kind in _PARTS else component.kind
    plain = [row for row in rows if re.fullmatch(r"-?[\d.e-]+", row[2])]
    if plain and component.kind in (*_PARTS, "agent", "collector"):
        command += f" --set {place}.{plain[0][0]}={plain[0][2]}"
    return command


def _row(info: OptionInfo) -> tuple[str, ...]:
    if info.part:
        default = str(info.default.get("name", ""))
        return info.name, f"{info.part} part", default, "", info.effect, info.typical
    default = "required" if info.required else _text(info.default)
    return info.name, info.type, default, info.range, info.effect, info.typical


def _constructor_rows(cls: Any) -> list[tuple[str, ...]]:
    effects = _documented_arguments(cls)
    rows: list[tuple[str, ...]] = []
    for parameter in list(inspect.signature(cls).parameters.values())[1:]:
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            annotation = parameter.annotation
            kind = "" if annotation is parameter.empty else inspect.formatannotation(annotation).strip("'")
            default = "required" if parameter.default is parameter.empty else _text(parameter.default)
            rows.append((parameter.name, kind, default, "", effects.get(parameter.name, ""), ""))
    return rows


def _documented_arguments(cls: Any) -> dict[str, str]:
    """Return name -> text from the "Args:" sections of a class and its constructor."""
    found: dict[str, str] = {}
    for documentation in (inspect.getdoc(cls), inspect.getdoc(cls.__init__)):
        section = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", f"{documentation or ''}\n", re.MULTILINE)
        name, depth = "", 0
        for line in section[1].splitlines() if section else ():
            indent = len(line) - len(line.lstrip())
            entry = re.match(r"\s+(\w+)(?: \([^)]*\))?:\s*(.*)", line)
            if entry and (not name or indent <= depth):
                name, depth = entry[1], indent
                found[name] = entry[2]
            elif name:
                found[name] = f"{found[name]} {line.strip()}".strip()
    return found


def _text(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
