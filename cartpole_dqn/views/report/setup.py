"""How a run was made, as sections of its report.

* `configuration_section`: what differs from the preset, everything in short, and the whole text.
* `made_with_section`: plugins, versions, machine. `commands_section`: what repeats it and goes on with it.
* `table_at`: a table in a configuration that may lack it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cartpole_dqn.text.figures import NOTHING, number, size
from cartpole_dqn.text.markup import Html, count_of, data_uri, rows_table, section, tag
from cartpole_dqn.views.report.content import Report


def configuration_section(report: Report) -> Html:
    """Return what differs from the preset, every part in short, and the whole text folded away."""
    preset = report.settings.get("preset")
    than = f"the preset {preset}" if preset else "the preset that its environment would have chosen"
    parts: list[str] = []
    if report.differences is not None:
        if report.differences:
            rows = [(tag("code", d.key), _value(d.here), _value(d.preset)) for d in report.differences]
            parts += [
                tag("h3", f"Other than in {than}"),
                rows_table(("setting", "here", "in the preset"), rows, left=3),
            ]
        else:
            parts.append(tag("p", f"Every setting is that of {than}."))
    parts += [tag("h3", "In short"), rows_table(("part", "what", "settings"), list(_in_short(report.settings)), left=3)]
    link = tag(
        "a", "Save it as config.toml", href=data_uri(report.config_text.encode(), "text/plain"), download="config.toml"
    )
    text = tag("details", tag("summary", "The complete configuration"), tag("pre", report.config_text), tag("p", link))
    return section("Configuration", *parts, text, class_="long")


def _in_short(settings: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield a row for the environment, each wrapper, and the agent with its parts, however deep."""
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


def made_with_section(report: Report) -> Html:
    """Return plugins, versions and machine, as they were when the run was made."""
    known = report.environment
    versions = {"python": known.get("python"), **table_at(known, "versions")}
    memory = known.get("memory_bytes")
    machine = {
        "processor": known.get("cpu"),
        "processors": known.get("cpu_count"),
        "memory": size(memory) if isinstance(memory, int) else None,
        "system": known.get("platform"),
        "device": known.get("device"),
        "threads": known.get("threads"),
    }
    columns = [
        tag(
            "div",
            tag("h3", name),
            rows_table(("", ""), [(k, str(v)) for k, v in table.items() if v is not None], left=2),
        )
        for name, table in (("Versions", versions), ("Machine", machine))
        if any(value is not None for value in table.values())
    ]
    parts: list[str] = []
    plugins = list(_plugins(report))
    if plugins:
        parts += [tag("h3", "Plugins"), rows_table(("distribution", "version", "used by this run"), plugins, left=3)]
    parts.append(tag("div", *columns, class_="columns"))
    if report.changed:
        said = "Where this page was made, and what is played on it: "
        parts.append(tag("p", said + ", ".join(report.changed) + ".", class_="faint"))
    return section("Made with", *parts, class_="long") if plugins or columns else Html()


def _plugins(report: Report) -> Iterator[tuple[str, str, str]]:
    plugins = report.environment.get("plugins")
    for plugin in plugins if isinstance(plugins, list) else []:
        if not isinstance(plugin, Mapping):
            continue
        brought = plugin.get("components")
        brought = [str(name) for name in brought] if isinstance(brought, list) else []
        used = [name for name in brought if name in report.components]
        state = plugin.get("state")
        text = ", ".join(used) if used else f"none of {count_of(len(brought), 'component')}"
        text = text if state in (None, "loaded") else f"{state}"
        yield str(plugin.get("distribution", "")), str(plugin.get("version", "")), text


def commands_section(report: Report) -> Html:
    """Return the commands that repeat the run, go on with it, and look at it."""
    place = shlex.quote(report.place)
    config = shlex.quote(f"{report.place}/config.toml")
    commands = (
        f"cartpole-dqn run --config {config}        # the same run again, in a new folder",
        f"cartpole-dqn resume {place}        # go on from its last checkpoint",
        f"cartpole-dqn evaluate {place}",
        f"cartpole-dqn watch {place}",
        f"cartpole-dqn plot {place}",
        f"cartpole-dqn report {place} --out report.html        # this page again",
    )
    said = "With the same versions on the same kind of machine a run takes the same course, to the bit."
    return section("Again", tag("p", said), tag("pre", "\n".join(_aligned(commands))))


def _aligned(commands: Sequence[str]) -> list[str]:
    split = [command.partition("        # ") for command in commands]
    wide = max(len(before) for before, _, after in split if after)
    return [f"{before.ljust(wide)}  # {after}" if after else before for before, _, after in split]


# Words ----------------------------------------------------------------------------------------------------------------


def table_at(settings: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return the table under `key`, an empty one where there is none."""
    table = settings.get(key)
    return table if isinstance(table, Mapping) else {}


def _listed(table: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{key.replace('_', ' ')} {_value(value)}" for key, value in table.items() if value not in ({}, "")
    )


def _value(value: Any) -> str:
    """Return a value as a reader wants it: what is not there as a dash, truth as yes and no."""
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
