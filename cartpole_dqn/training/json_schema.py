"""`config_schema`: JSON Schema of configuration files, with the options of every installed part.

It describes the files that `run --config` takes, which need not be complete, and the `config.toml` of a run. What
depends on several options is left to the run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, get_type_hints

from pydantic import TypeAdapter
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

from cartpole_dqn.config.schema import RunConfig
from cartpole_dqn.contracts.options import describe_options
from cartpole_dqn.envs.chain import TRAINING_ONLY, parameters_of
from cartpole_dqn.errors import CartpoleDqnError
from cartpole_dqn.plugin.registry import Registry

Schema = dict[str, Any]

_DRAFT = "http://json-schema.org/draft-07/schema#"
"""Editors of TOML know this draft best."""
_REFERENCE = {"type": "string", "pattern": "^[^:]+:[^:]+$"}
"""`module:Class`."""
_EDIT = {
    "before": {"type": "string", "description": "the entry to put this one before, * for all"},
    "after": {"type": "string", "description": "the entry to put this one after, * for all"},
    "drop": {"type": "boolean", "description": "leave this entry out"},
}
"""What a change to an entry of a list may have besides options."""
_OF_PRESETS = {
    "summary": {"type": "string", "description": "what a preset is, in a line"},
    "applies": {
        "type": "array",
        "description": "the environments and observations that a preset is the default for",
        "items": {
            "type": "object",
            "properties": {"env": {"type": "string"}, "obs": {"type": "string"}},
            "required": ["env", "obs"],
            "additionalProperties": False,
        },
    },
}


def config_schema(registry: Registry) -> Schema:
    """Return JSON Schema of a configuration, draft 7.

    Parts that cannot be imported are left out.

    Args:
        registry: the parts that a configuration may name.
    """
    definitions: dict[str, Schema] = {}
    top = _object(RunConfig, registry, definitions)
    properties = top["properties"]
    properties["preset"]["enum"] = ["", *registry.names("preset")]
    properties["agent"] |= _part("agent", registry, definitions)
    properties["collector"] |= _part("collector", registry, definitions)
    properties["observer"] |= _list(_part("observer", registry, definitions), {})
    wrappers = _wrappers(registry)
    properties["observation"] |= _list({**_selected("wrapper", wrappers), "required": ["wrapper"]}, wrappers)
    properties["extends"] = {
        "enum": registry.names("preset"),
        "description": "the preset that this one, or this file, changes",
    }
    properties.update(_OF_PRESETS)
    return {"$schema": _DRAFT, "title": "cartpole-dqn configuration", **top, "definitions": definitions}


def _object(cls: type, registry: Registry, definitions: dict[str, Schema]) -> Schema:
    """Return the schema of an options class, with the parts that its options select. Nothing is required."""
    generated = TypeAdapter(cls).json_schema(ref_template="#/definitions/{model}")
    definitions.update({name: _plain(inner) for name, inner in generated.pop("$defs", {}).items()})
    schema = _plain(generated)
    for info in describe_options(cls):
        if info.part:
            schema["properties"][info.name] |= _part(info.part, registry, definitions)
    return schema


def _part(kind: str, registry: Registry, definitions: dict[str, Schema]) -> Schema:
    """Return a reference to the schema of the parts of one kind."""
    if kind not in definitions:
        definitions[kind] = {}  # a part may hold another of its kind
        members = {}
        for component in registry.components(kind):
            with contextlib.suppress(CartpoleDqnError):
                members[component.name] = _object(registry.options(kind, component.name), registry, definitions)
        definitions[kind] = _selected("name", members)
    return {"$ref": f"#/definitions/{kind}"}


def _list(entry: Schema, members: Mapping[str, Schema]) -> Schema:
    """Return the schema of a list with such entries, or of a table of changes to entries by name."""
    changes = {
        name: {**member, "properties": {**member["properties"], **_EDIT}, "required": []}
        for name, member in members.items()
    }
    other_entries = {"type": "object", "properties": _EDIT}
    return {"type": ["array", "object"], "items": entry, "properties": changes, "additionalProperties": other_entries}


def _wrappers(registry: Registry) -> dict[str, Schema]:
    """Return the schema of each wrapper's options."""
    members = {}
    for component in registry.components("wrapper"):
        with contextlib.suppress(CartpoleDqnError):
            members[component.name] = _options_of_wrapper(component.load())
    return members


def _options_of_wrapper(cls: Any) -> Schema:
    hints, parameters = get_type_hints(cls.__init__), parameters_of(cls)
    options = {name: _argument(hints.get(name, Any)) for name in parameters}
    options[TRAINING_ONLY] = {"type": "boolean", "description": "leave it out of evaluation"}
    required = [name for name, parameter in parameters.items() if parameter.default is parameter.empty]
    return {"type": "object", "properties": options, "required": required, "additionalProperties": False}


def _selected(key: str, members: Mapping[str, Schema]) -> Schema:
    """Return the schema of a table whose `key` selects one of `members`, or names a class.

    Without `key`, as in a file that changes a preset, it takes the options of all members. These stand under
    `properties` too, where editors look for completions.
    """
    all_options: dict[str, Schema] = {}
    for member in members.values():
        for name, option in member["properties"].items():
            known = all_options.setdefault(name, option)
            if known != option:  # they mean different things
                all_options[name] = {"description": known.get("description", "")}
    selecting = [
        {
            "if": {"properties": {key: {"const": name}}, "required": [key]},
            "then": {**member, "properties": {key: {}, **member["properties"]}},
        }
        for name, member in members.items()
    ]
    unnamed = {"if": {"not": {"required": [key]}}, "then": {"propertyNames": {"enum": sorted(all_options)}}}
    return {
        "type": "object",
        "properties": {key: {"anyOf": [{"enum": sorted(members)}, _REFERENCE]}, **all_options},
        "allOf": [*selecting, unnamed],
    }


def _argument(hint: Any) -> Schema:
    """Return the schema of a wrapper's argument; one that takes anything if its type is not plain data."""
    try:
        return _plain(TypeAdapter(hint).json_schema())
    except (PydanticSchemaGenerationError, PydanticUserError):
        return {}


def _plain(schema: Any) -> Schema:
    """Return a schema in the words of draft 7 and of TOML: without null, `required` and `prefixItems`."""
    plain: Schema = {}
    for key, value in schema.items():
        if key == "properties":
            plain[key] = {name: _plain(inner) for name, inner in value.items()}
        elif key in ("anyOf", "prefixItems"):
            plain[key] = [_plain(inner) for inner in value if inner != {"type": "null"}]
        elif key == "items":
            plain[key] = _plain(value)
        elif key not in ("required", "title", "typical", "part") and (key, value) != ("default", None):
            plain[key] = value
    if schema.get("typical"):
        plain["description"] = f"{plain.get('description', '')} (typical: {schema['typical']})"
    if "prefixItems" in plain:
        plain["items"] = plain.pop("prefixItems")
    if len(plain.get("anyOf", ())) == 1:
        plain |= plain.pop("anyOf")[0]
    return plain
