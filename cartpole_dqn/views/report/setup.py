"""A run's configuration and origin, as tables of its report.

* `differences_of`, `preset_of`, `parts_of`: differences from the preset, and a summary of all parts.
* `plugins_of`, `made_with`: plugins, versions, machine. `commands`: commands that repeat, resume and show the run.
* `table_at`: a table of the configuration, or an empty one.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from cartpole_dqn.text.figures import NOTHING, number, size
from cartpole_dqn.text.tables import TextTable
from cartpole_dqn.views.report.content import Report


def preset_of(report: Report) -> str:
    """Return a name for the preset that the configuration is compared with."""
    preset = report.settings.get("preset")
    return f"the preset {preset}" if preset else "the preset that its environment would have chosen"


def differences_of(report: Report) -> TextTable | None:
    """Return the settings that differ from the preset; None without any, or if unknown."""
    if not report.differences:
        return None
    rows = tuple((key, _value(own), _value(preset)) for key, own, preset in report.differences)
    title = f"Settings that differ from {preset_of(report)}"
    return TextTable(title, ("setting", "here", "in the preset"), rows, left=3)


def parts_of(settings: Mapping[str, Any]) -> TextTable:
    """Return one row for each part of the configuration."""
    return TextTable("In short", ("part", "what", "settings"), tuple(_in_short(settings)), left=3)


def _in_short(settings: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield a row for the environment, each wrapper, and the agent with all its parts."""
    env = table_at(settings, "env")
    yield "environment", str(env.get("id")), _listed({key: v for key, v in env.items() if key != "id"})
    wrappers = settings.get("observation")
    for i, entry in enumerate(wrappers if isinstance(wrappers, list) else []):
        if isinstance(entry, Mapping):
            rest = {key: value for key, value in entry.items() if key != "wrapper"}
            yield f"observation {i + 1}", str(entry.get("wrapper")), _listed(rest)
    for key in settings:
        if "name" in table_at(settings, key):
            yield from _parts(key, table_at(settings, key))
    for key in ("init", "evaluation", "checkpoint"):
        table = table_at(settings, key)
        if key != "init" or table.get("run"):
            yield key, "", _listed(table)


def _parts(name: str, table: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    inside = {key: value for key, value in table.items() if isinstance(value, Mapping) and "name" in value}
    rest = {key: value for key, value in table.items() if key not in inside and key != "name"}
    yield name.replace("_", " "), str(table.get("name", "")), _listed(rest)
    for key, value in inside.items():
        yield from _parts(key if name == "agent" else f"{name} {key}", value)


def made_with(environment: Mapping[str, Any]) -> list[TextTable]:
    """Return the recorded versions and machine of the run."""
    memory = environment.get("memory_bytes")
    sections = {
        "Versions": {"python": environment.get("python"), **table_at(environment, "versions")},
        "Machine": {
            "processor": environment.get("cpu"),
            "processors": environment.get("cpu_count"),
            "memory": size(memory) if isinstance(memory, int) else None,
            "system": environment.get("platform"),
            "device": environment.get("device"),
            "threads": environment.get("threads"),
        },
    }
    tables = [
        TextTable(title, ("", ""), tuple((key, str(value)) for key, value in table.items() if value is not None), 2)
        for title, table in sections.items()
    ]
    return [table for table in tables if table.rows]


def plugins_of(report: Report) -> TextTable:
    """Return the installed plugins, and the components that the run used from each."""
    plugins = report.environment.get("plugins")
    rows = [_plugin(plugin, report.components) for plugin in _list(plugins) if isinstance(plugin, Mapping)]
    return TextTable("Plugins", ("distribution", "version", "used by this run"), tuple(rows), left=3)


def _plugin(plugin: Mapping[str, Any], components: Mapping[str, str]) -> tuple[str, str, str]:
    names = [str(name) for name in _list(plugin.get("components"))]
    text = ", ".join(name for name in names if name in components) or "nothing"
    state = plugin.get("state")
    text = text if state in (None, "loaded") else f"{state}"
    return str(plugin.get("distribution", "")), str(plugin.get("version", "")), text


def commands(place: str) -> str:
    """Return commands that repeat, resume and show the run."""
    folder = shlex.quote(place)
    lines = (
        (f"cartpole-dqn run --config {shlex.quote(f'{place}/config.toml')}", "the same run again, in a new folder"),
        (f"cartpole-dqn resume {folder}", "continue from its last checkpoint"),
        (f"cartpole-dqn evaluate {folder}", ""),
        (f"cartpole-dqn watch {folder}", ""),
        (f"cartpole-dqn plot {folder}", ""),
        (f"cartpole-dqn report {folder} --out report.html", "this page again"),
    )
    wide = max(len(command) for command, comment in lines if comment)
    return "\n".join(f"{command.ljust(wide)}  # {comment}" if comment else command for command, comment in lines)


# Words ----------------------------------------------------------------------------------------------------------------


def table_at(settings: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return the table under `key`, or an empty one."""
    table = settings.get(key)
    return table if isinstance(table, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _listed(table: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{key.replace('_', ' ')} {_value(value)}" for key, value in table.items() if value not in ({}, "")
    )


def _value(value: Any) -> str:
    """Return a value as text: None as a dash, booleans as yes and no."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return number(value)
    if isinstance(value, list):
        return f"[{', '.join(_value(entry) for entry in value)}]"
    if isinstance(value, Mapping):
        return f"({_listed(value)})"
    return str(value) or '""'
