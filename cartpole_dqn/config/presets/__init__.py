"""Presets: named configurations, each a TOML file in this folder or in a plugin.

A preset also has a `summary`, and `[[applies]]` tables: the environments (`env`, a pattern) and observations (`obs`)
that it is the default for. It may extend another preset (`extends`), and then says only what differs.

* `Preset`, `parse_preset`: parse a preset. `choose_preset`: the default for an environment and a kind of observation.
* `layers_of`: the tables of a preset and of those that it extends.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from cartpole_dqn.config.schema import Table, parse_toml, with_obs_renamed
from cartpole_dqn.errors import ConfigError, UnknownComponentError, bad


@dataclass(frozen=True)
class Preset:
    """A named configuration. `applies` has pairs of a pattern of environment ids and `obs`; `extends` may be ""."""

    name: str
    summary: str
    applies: tuple[tuple[str, str], ...]
    table: Table
    extends: str = ""


def parse_preset(name: str, text: str) -> Preset:
    """Parse a preset. Raises `ConfigError` if it is malformed."""
    table = with_obs_renamed(parse_toml(text, f"preset '{name}'"))
    summary = table.pop("summary", "")
    applies = table.pop("applies", [])
    extends = table.pop("extends", "")
    texts = isinstance(summary, str) and isinstance(extends, str)
    if not texts or not isinstance(applies, list) or not all(map(_is_pair, applies)):
        raise ConfigError(
            f"preset '{name}': expected texts as summary and extends, and [[applies]] tables of env and obs."
        )
    pairs = tuple((entry["env"], with_obs_renamed(entry)["obs"]) for entry in applies)
    return Preset(name, summary, pairs, {**table, "preset": name}, extends)


def layers_of(preset: Preset, load: Callable[[str], str]) -> list[Table]:
    """Return the tables of the presets that `preset` extends, the lowest first, and its own.

    Args:
        preset: the highest.
        load: returns the text of the preset with a name.

    Raises:
        UserError: an extended preset is unknown or malformed, or presets extend each other in a circle.
    """
    line = [preset]
    while line[-1].extends:
        name = line[-1].extends
        if name in [below.name for below in line]:
            circle = " -> ".join([*(below.name for below in line), name])
            raise ConfigError(f"preset '{preset.name}': presets extend each other in a circle: {circle}.")
        try:
            line.append(parse_preset(name, load(name)))
        except UnknownComponentError as error:
            raise ConfigError(f"preset '{line[-1].name}', extends: {error}") from None
    return [below.table for below in reversed(line)]


def choose_preset(presets: Iterable[Preset], env_id: str, obs: str) -> Preset:
    """Return the preset with the most specific pattern for `env_id` and `obs`; in a tie, the first by name.

    Raises:
        ConfigError: none applies.
    """
    candidates = list(presets)
    fitting = [
        (-len(pattern.replace("*", "")), preset.name, preset)
        for preset in candidates
        for pattern, preset_obs in preset.applies
        if preset_obs == obs and fnmatch.fnmatchcase(env_id, pattern)
    ]
    if not fitting:
        kinds = sorted({preset_obs for preset in candidates for _, preset_obs in preset.applies})
        raise ConfigError(f"--obs {bad(obs)}: expected {' or '.join(kinds)}, or name a preset with --preset.")
    return min(fitting, key=lambda entry: entry[:2])[2]


def _is_pair(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("env"), str) and isinstance(entry.get("obs"), str)
