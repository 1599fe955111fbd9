"""Put a configuration together from layers.

* `merge_layers`: merges tables, from defaults to `--set`, and says what a changed part inherits and loses.
* `merge_tables`, `merge_plain`: merge two tables without looking at options.
* `edit_list`: changes, inserts and drops single entries of `[[observation]]` or `[[observer]]`.
* `parse_set`, `set_value`: apply `agent.replay.capacity=5000` to a table. `parse_value`: a value of `--set`.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cartpole_dqn.config.schema import PARTS, OptionsOf, Table, part_name
from cartpole_dqn.config.toml import load_toml, require_bounded
from cartpole_dqn.contracts.options import describe_options, takes
from cartpole_dqn.errors import ConfigError, bad, did_you_mean

LISTS = {"observation": "wrapper", "observer": "name"}
"""The lists of a configuration, and the key that names an entry."""
PLACES = ("before", "after")
_NUMBER = re.compile(r"#\d+$")
"""The end of "stack#2"."""


def merge_layers(layers: Sequence[Table], options_of: OptionsOf, onto: Table | None = None) -> tuple[Table, list[str]]:
    """Merge tables; later ones win. If the `name` of a part changes, options that the new part accepts are kept.

    Args:
        layers: tables. Their lists are whole lists, or tables of changes for `edit_list`.
        options_of: finds the options of a part.
        onto: a merged table below the layers.

    Returns:
        The merged table, and a sentence for each part that inherits unusual options or loses some.

    Raises:
        ConfigError: something is not a table or a list, as it should be.
    """
    merged = dict(onto or {})
    renamed: list[_Renamed] = []
    for layer in layers:
        for key, value in layer.items():
            if key in PARTS:
                below = merged.get(key, {"name": PARTS[key]})
                merged[key] = _merge_part(key, key, below, value, options_of, renamed)
            else:
                merged[key] = _merge_key(key, merged.get(key), value)
    return merged, [note for part in renamed if (note := part.note(merged))]


def merge_tables(below: Table, above: Table) -> Table:
    """Merge two layers, but keep all options of a part whose name changes."""
    return {**below, **{key: _merge_key(key, below.get(key), value) for key, value in above.items()}}


def merge_plain(below: Any, above: Any) -> Any:
    """Merge two values: tables recursively; anything else is replaced. Parts keep options of other names."""
    if not (isinstance(below, Mapping) and isinstance(above, Mapping)):
        return copy.deepcopy(above)
    return {**below, **{key: merge_plain(below.get(key), value) for key, value in above.items()}}


def edit_list(key: str, entries: Sequence[Any], changes: Mapping[str, Any]) -> list[Table]:
    """Return a list with single entries changed, inserted or dropped.

    Args:
        key: of `LISTS`.
        entries: the list's tables.
        changes: by an entry's name, name and number ("stack#2" is the second of that name), or position in `entries`:
            a table of options to set. `drop = true` removes the entry. `before` or `after` names another entry, or
            "*" for all, beside which the entry is put: it is moved, or added if there is none. An observer is added
            without a place too.

    Raises:
        ConfigError: there is no such entry, or a change is not a table.
    """
    labels = _labels(key, entries)
    tables: dict[str, Any] = dict(zip(labels, entries, strict=True))
    order = list(labels)
    for entry_name, change in changes.items():
        where = f"{key}.{entry_name}"
        if not isinstance(change, Mapping):
            raise ConfigError(f"{where}: expected a table of options, got {bad(repr(change))}.")
        label = _label(entry_name, labels)
        options = {name: value for name, value in change.items() if name not in (*PLACES, "drop")}
        beside = [(side, _label(change[side], labels)) for side in PLACES if side in change]
        drop = change.get("drop", False)
        if not isinstance(drop, bool) or len(beside) + drop > 1:
            raise ConfigError(f"{where}: expected at most one of before = NAME, after = NAME and drop = true.")
        if label in order:
            tables[label] = merge_plain(tables[label], options)
        elif beside or (key == "observer" and not drop):
            tables[label] = {LISTS[key]: _NUMBER.sub("", label), **copy.deepcopy(options)}
            order.append(label)
        else:
            insert = "" if drop else f" To insert it: {where}.after = NAME, or before."
            raise ConfigError(f"{bad(where)}: there is no such entry.{did_you_mean(label, order)}{insert}")
        if beside or drop:
            order.remove(label)
        for side, anchor in beside:
            if anchor not in ("*", *order):
                raise ConfigError(f"{where}.{side}: there is no entry '{bad(anchor)}'.{did_you_mean(anchor, order)}")
            at = order.index(anchor) if anchor in order else 0 if side == "before" else len(order) - 1
            order.insert(at + (side == "after"), label)
    return [tables[label] for label in order]


def parse_set(text: str, table: Table, *, option: str = "--set") -> None:
    """Apply `key=value` to `table` in place.

    The key is dotted and may name an entry of a list: `observation.resize.height=60`. The value is TOML, or else a
    string. `option` is where it was given, for errors.

    Raises:
        ConfigError: there is no `=`, no such entry in a list, or the key has too many steps.
    """
    key, separator, value = text.partition("=")
    if not separator or not key.strip():
        example = ", such as agent.batch_size=64" if option == "--set" else ""
        raise ConfigError(f"{option} {bad(text)}: expected KEY=VALUE{example}.")
    set_value(key, parse_value(value), table)


def set_value(key: str, value: Any, table: Table) -> None:
    """Apply a value to `table` in place. `key` is that of `parse_set`, which raises the same errors."""
    nested = value
    for step in reversed(key.split(".")):
        nested = {step.strip(): nested}
    try:
        require_bounded(nested)
    except ValueError as error:
        raise ConfigError(f"--set {bad(key[:60])}: {error}.") from None
    table.update(merge_tables(table, nested))


def parse_value(text: str) -> Any:
    """Return the value of a text: of TOML, or else the text itself."""
    try:
        return load_toml(f"value = {text}")["value"]
    except ValueError:
        return text.strip()


class _Renamed(NamedTuple):
    """A part whose name changed."""

    where: str
    name: str
    former: str
    dropped: list[str]
    unusual: Table

    def note(self, merged: Table) -> str:
        """Return what it loses, and which of the kept options are unusual and not overridden in `merged`; or ""."""
        current: Any = merged
        for step in self.where.split("."):
            current = current.get(step, {})
        kept_options = [
            f"{key} = {_as_text(value)}" for key, value in self.unusual.items() if current.get(key) == value
        ]
        lost = f", which does not take the former {', '.join(self.dropped)}: dropped" if self.dropped else ""
        stays = (
            f"{', '.join(kept_options)} stay{'s' * (len(kept_options) == 1)} from '{self.former}'"
            if kept_options
            else ""
        )
        text = f"{self.where} is now '{self.name}'{lost}{'; ' if lost and stays else ': ' * bool(stays)}{stays}."
        return text if lost or stays else ""


def _merge_key(key: str, below: Any, above: Any) -> Any:
    if key in LISTS and isinstance(below, list) and isinstance(above, Mapping):
        return edit_list(key, below, above)
    return merge_plain(below, above)


def _merge_part(
    kind: str, where: str, below: Mapping[str, Any], above: Any, options_of: OptionsOf, renamed: list[_Renamed]
) -> Table:
    if not isinstance(above, Mapping):
        raise ConfigError(f"{where}: expected a table with a name, got {bad(repr(above))}.")
    name = part_name({**below, **above}, kind, where)
    declared = options_of(kind, name)
    infos = {info.name: info for info in describe_options(declared)}
    inherited = {key: value for key, value in below.items() if key != "name"}
    if name != below.get("name", name):
        dropped = sorted(key for key, value in inherited.items() if not takes(declared, key, value))
        inherited = {key: value for key, value in inherited.items() if key not in dropped}
        unusual = {key: value for key, value in inherited.items() if _plain(value) != _plain(infos[key].default)}
        renamed.append(_Renamed(where, name, below["name"], dropped, unusual))
    merged: Table = {"name": name, **copy.deepcopy(inherited)}
    for key, value in above.items():
        info = infos.get(key)
        if info is not None and info.part:
            base = merged.get(key, info.default)
            merged[key] = _merge_part(info.part, f"{where}.{key}", base, value, options_of, renamed)
        elif key != "name":
            merged[key] = copy.deepcopy(value)
    return merged


def _labels(key: str, entries: Sequence[Any]) -> list[str]:
    """Return the name of each entry, with a number from its second occurrence on."""
    names: list[str] = []
    for entry in entries:
        if not isinstance(entry, Mapping):
            raise ConfigError(f"{key}: expected a list of tables, got an entry {bad(repr(entry))}.")
        names.append(str(entry.get(LISTS[key], "")))
    counts = [names[: i + 1].count(name) for i, name in enumerate(names)]
    return [name if count == 1 else f"{name}#{count}" for name, count in zip(names, counts, strict=True)]


def _label(name: Any, labels: Sequence[str]) -> str:
    """Return the label of an entry that may be given by its position."""
    text = str(name)
    return text if text in labels else {str(i): label for i, label in enumerate(labels)}.get(text, text)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _as_text(value: Any) -> str:
    """Return a value as TOML; of a part, its name."""
    return json.dumps(value.get("name", value) if isinstance(value, Mapping) else value, default=str)
