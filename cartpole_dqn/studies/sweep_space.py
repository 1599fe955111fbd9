"""The settings of a sweep.

* `Setting`: values of dotted keys as TOML texts, and a label.
* `parse_grid`, `grid_settings`: `--grid KEY=A,B` -> every combination.
* `parse_variants`: `--variant NAME:KEY=VALUE,...` or a file -> named settings.
* `check_grid`, `check_variants`, `check_keys`: refuse what no sweep can try.
* `read_space`, `Range`, `Choice`, `draw`: ranges from a file, and random values. `read_space_table` and `space_table`
  convert from and to TOML tables. `numbered_setting`: a setting of such values.
* `setting_labels`: unique labels for folder names.
* `as_toml`: a value as TOML text on one line. `texts_of`: the texts of several values.
"""

from __future__ import annotations

import hashlib
import inspect
import itertools
import json
import math
import numbers
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cartpole_dqn.config.layers import parse_value
from cartpole_dqn.config.schema import read_toml
from cartpole_dqn.contracts.options import check_options, option, options_class, to_table
from cartpole_dqn.errors import ConfigError, UserError, bad
from cartpole_dqn.plugin.registry import reference_to
from cartpole_dqn.studies.grouping import VARIANT_NAME, short_key

_DIGITS = 4
"""Significant digits of drawn numbers."""
_LONGEST = 120
"""Most characters of a label. Folder names may have 255 bytes."""
_OWN_KEYS = {"seed": "--seeds", "steps": "--steps", "episodes": "--episodes"}
"""Keys that are the same in all trials, and the options that set them."""


@dataclass(frozen=True)
class Setting:
    """Values by dotted key, as the TOML texts in `sweep.toml`."""

    texts: Mapping[str, str] = field(default_factory=dict)
    label: str = ""
    """Begins the names of the setting's trials: the name of a variant, or made of the values."""

    @property
    def values(self) -> dict[str, Any]:
        """The values by dotted key."""
        return {key: parse_value(text) for key, text in self.texts.items()}


@options_class
class Range:
    """Numbers from `low` to `high`, both included."""

    low: float = option(effect="the lowest number; a choice has values = [A, B, ...] instead of low and high")
    high: float = option(effect="the highest number")
    log: bool = option(default=False, effect="as many draws between 1 and 10 as between 10 and 100")
    int: bool = option(default=False, effect="whole numbers only")


@dataclass(frozen=True)
class Choice:
    """One of some values."""

    values: tuple[Any, ...]


Grid = Mapping[str, Sequence[str]]
"""The TOML texts of the values, by dotted key."""
Space = Mapping[str, Range | Choice]
"""By dotted key."""


# Grids and variants ---------------------------------------------------------------------------------------------------


def parse_grid(texts: Sequence[str]) -> dict[str, list[str]]:
    """Return the texts of the values of each key in `--grid KEY=A,B,...` arguments.

    Commas inside brackets, braces or quotes do not separate values.

    Raises:
        UserError: no `=`, no values, or a repeated key.
    """
    grid: dict[str, list[str]] = {}
    for text in texts:
        key, values = text.partition("=")[0].strip(), _split(text.partition("=")[2])
        if not key or not all(values):
            raise UserError(f"--grid {bad(text)}: expected KEY=A,B,... such as agent.optimiser.lr=1e-3,5e-4.")
        if key in grid:
            raise UserError(f"--grid {bad(key)} comes twice: give all its values in one, {key}=A,B,...")
        grid[key] = values
    return grid


def check_grid(grid: Grid) -> None:
    """Raise a `UserError` for a key without values, or with one that comes twice."""
    for key, texts in grid.items():
        if not texts:
            raise UserError(f"grid: {bad(key)}: expected one value or more.")
        values = [*map(parse_value, texts)]
        for i, text in enumerate(texts):
            if values[i] in values[:i]:
                raise UserError(f"grid: {key}: {bad(text)} comes twice.")


def grid_settings(grid: Grid) -> list[Setting]:
    """Return every combination of the grid's values. The last key changes fastest."""
    combinations = [dict(zip(grid, texts, strict=True)) for texts in itertools.product(*grid.values())]
    return [*map(Setting, combinations, setting_labels(combinations))]


def parse_variants(texts: Sequence[str]) -> tuple[Setting, ...]:
    """Return the settings of `--variant` arguments.

    Args:
        texts: `NAME:KEY=VALUE,...`, or `NAME` for no changes, or the path of a TOML file. A file has a table for each
            variant, with quoted keys: `[NAME]`, `"agent.double" = false`.

    Raises:
        UserError: no `=`, or a file that cannot be read.
    """
    return tuple(variant for text in texts for variant in _variants(text))


def check_variants(variants: Iterable[Setting]) -> None:
    """Raise a `UserError` for a name that is invalid or comes twice. Some file systems ignore case."""
    names: set[str] = set()
    for label in (variant.label for variant in variants):
        if not VARIANT_NAME.fullmatch(label):
            raise UserError(f"variant {bad(label)}: expected a name of letters, digits and ._+- such as no-double.")
        if label.lower() in names:
            raise UserError(f"the variant {bad(label)} comes twice.")
        names.add(label.lower())


def check_keys(keys: Iterable[str]) -> None:
    """Raise a `UserError` for a key that is the same in all settings of a sweep."""
    for key in keys:
        if key in _OWN_KEYS:
            raise UserError(f"{bad(key)} is the same for all settings of a sweep: give it by {_OWN_KEYS[key]}.")


def _variants(text: str) -> Iterator[Setting]:
    if text.endswith(".toml") and "=" not in text:
        for name, table in read_toml(Path(text)).items():
            if not isinstance(table, Mapping):
                raise ConfigError(f"{text}: {name}: expected a table [{name}] of settings, got {bad(repr(table))}.")
            yield Setting(texts_of(table), name)
        return
    name, separator, assignments = text.partition(":")
    pairs = [part.partition("=") for part in _split(assignments)] if separator else []
    if not all(key.strip() and equals and value.strip() for key, equals, value in pairs):
        raise UserError(f"--variant {bad(text)}: expected NAME:KEY=VALUE,... such as no-double:agent.double=false.")
    yield Setting({key.strip(): value.strip() for key, _, value in pairs}, name.strip())


def _split(text: str) -> list[str]:
    """Split at commas outside brackets, braces and quotes."""
    parts, depth, quote = [""], 0, ""
    for sign in text:
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "\"'":
            quote = sign
        depth += (sign in "[{") - (sign in "]}") if not quote else 0
        if sign == "," and depth == 0 and not quote:
            parts.append("")
        else:
            parts[-1] += sign
    return [part.strip() for part in parts]


# Ranges ---------------------------------------------------------------------------------------------------------------


def read_space(path: Path) -> dict[str, Range | Choice]:
    """Return the ranges and choices in a TOML file, by dotted key.

    A range is a table `{low = 1e-4, high = 1e-2, log = true}`, optionally with `int = true`. A choice is
    `{values = [32, 64]}`. Keys may be quoted (`"agent.batch_size"`) or nested tables.

    Raises:
        ConfigError: the file cannot be read, is empty, or has an invalid entry.
    """
    space = read_space_table(str(path), read_toml(path))
    if not space:
        raise ConfigError(f'{path} has no ranges: expected some such as "agent.optimiser.lr" = {{low = 1e-4, ...}}.')
    return space


def read_space_table(source: str, table: Mapping[str, Any]) -> dict[str, Range | Choice]:
    """Return the ranges in a table. Raises `ConfigError` that names `source`."""
    return {key: _entry(f"{source}: {key}", entry) for key, entry in _tables(source, table)}


def space_table(space: Space) -> dict[str, Any]:
    """Return ranges as a TOML table, the inverse of `read_space_table`."""
    return {key: {"values": [*one.values]} if isinstance(one, Choice) else to_table(one) for key, one in space.items()}


def draw(space: Space, generator: np.random.Generator) -> dict[str, Any]:
    """Draw a value for each key, independently. Numbers have four significant digits."""
    return {key: _draw_value(entry, generator) for key, entry in space.items()}


def rounded(entry: Range, value: float) -> float:
    """Return an integer, or a number of four significant digits within the range."""
    if entry.int:
        return round(value)
    return min(max(float(f"{value:.{_DIGITS}g}"), entry.low), entry.high)


def numbered_setting(values: Mapping[str, Any], number: int, total: int) -> Setting:
    """Return a setting of values from a space. Its label begins with its number, from 0 to `total` - 1."""
    texts = texts_of(values)
    (label,) = setting_labels([texts])
    return Setting(texts, f"{number:0{len(str(total - 1))}},{label}")


def _tables(source: str, table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    for key, value in table.items():
        place = f"{prefix}{key}"
        if not isinstance(value, Mapping):
            raise ConfigError(f"{source}: {place}: expected a table with low and high, or with values; got {value!r}.")
        if any(isinstance(entry, Mapping) for entry in value.values()):
            yield from _tables(source, value, f"{place}.")
        else:
            yield place, value


def _entry(where: str, table: Mapping[str, Any]) -> Range | Choice:
    if "values" in table:
        values = table["values"]
        if len(table) > 1 or not isinstance(values, list) or not values:
            raise ConfigError(f"{where}: expected values = [A, B, ...] and no other key.")
        return Choice(tuple(parse_value(as_toml(value)) for value in values))
    entry = check_options(Range, table, where=where)
    for value in (entry.low, entry.high):
        if entry.int and not value.is_integer():
            raise ConfigError(f"{where}: int = true needs whole numbers, got {bad(repr(value))}.")
    if entry.low >= entry.high:
        raise ConfigError(f"{where}: expected low below high, got {entry.low:g} and {entry.high:g}.")
    if entry.log and entry.low <= 0:
        raise ConfigError(f"{where}: log = true needs a low above 0, got {entry.low:g}.")
    return entry


def _draw_value(entry: Range | Choice, generator: np.random.Generator) -> Any:
    if isinstance(entry, Choice):
        return entry.values[int(generator.integers(len(entry.values)))]
    # Half a unit more on both sides makes the ends of integer ranges as likely as the rest.
    margin = 0.5 if entry.int else 0.0
    low, high = entry.low - margin, entry.high + margin
    value = math.exp(generator.uniform(math.log(low), math.log(high))) if entry.log else generator.uniform(low, high)
    return rounded(entry, min(max(value, entry.low), entry.high))


# Names ----------------------------------------------------------------------------------------------------------------


def setting_labels(settings: Sequence[Mapping[str, str]]) -> list[str]:
    """Return a unique label for each setting, such as "lr=0.001,batch_size=64", or "" if it sets nothing.

    They contain only letters, digits and `._+=,-`.

    Args:
        settings: the TOML texts of the values, by dotted key.
    """
    keys = list(dict.fromkeys(key for texts in settings for key in texts))
    short = {key: re.sub(r"[^A-Za-z0-9._-]+", "-", short_key(key, keys)) for key in keys}
    labels = []
    for texts in settings:
        label = ",".join(f"{short[key]}={_word(parse_value(text))}" for key, text in texts.items())
        labels.append(label if len(label) <= _LONGEST else f"{label[: _LONGEST - 10]}-{_digest(texts)}")
    # Some file systems ignore case.
    lower = [label.lower() for label in labels]
    return [
        label if lower.count(lowered) == 1 or not texts else f"{label},{_digest(texts)}"
        for label, lowered, texts in zip(labels, lower, settings, strict=True)
    ]


def _word(value: Any) -> str:
    """Return a value in characters for a folder name."""
    if isinstance(value, Mapping):
        value = value.get("name", value.get("wrapper", as_toml(value)))
    if isinstance(value, float) and len(repr(value)) > 9:
        value = f"{value:.{_DIGITS}g}"
    if isinstance(value, int | float):
        return as_toml(value)  # with its sign
    word = value if isinstance(value, str) else as_toml(value)
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", word).strip("-") or "empty"


def _digest(texts: Mapping[str, str]) -> str:
    return hashlib.blake2b(json.dumps(sorted(texts.items())).encode(), digest_size=4).hexdigest()


# Values ---------------------------------------------------------------------------------------------------------------


def texts_of(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the TOML texts of the values of a setting."""
    return {str(key): as_toml(value) for key, value in values.items()}


def as_toml(value: Any) -> str:
    """Return a value as TOML text on one line.

    A tuple is a list, a number of NumPy one of Python, a path text, and a class or a function "module:Class".
    """
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_quoted(str(k))} = {as_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, numbers.Integral):
        return repr(int(value))
    if isinstance(value, numbers.Real):
        return repr(float(value))
    if isinstance(value, type) or inspect.isfunction(value):
        return _quoted(reference_to(value))
    return _quoted(str(value))


def _quoted(text: str) -> str:
    # JSON strings are TOML strings, apart from the delete character, which TOML escapes.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
