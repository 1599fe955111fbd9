"""Presets: whole configurations under a name, each a TOML file beside this one or in a plugin.

Beside the keys of a configuration a preset has a `summary` and `[[applies]]` tables (`env` as a pattern, `obs`) that
say what it is the default for.

* `Preset`, `parse_preset`: one of them.
* `choose_preset`: the default for an environment and a kind of observation.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cartpole_dqn.config.schema import Table, parse_toml, with_obs_renamed
from cartpole_dqn.errors import ConfigError


@dataclass(frozen=True)
class Preset:
    """A named configuration; `applies` holds (pattern of environment ids, obs) pairs."""

    name: str
    summary: str
    applies: tuple[tuple[str, str], ...]
    table: Table


def parse_preset(name: str, text: str) -> Preset:
    """Return the preset in a TOML text. Raises `ConfigError` where it is malformed."""
    table = with_obs_renamed(parse_toml(text, f"preset '{name}'"))
    summary = table.pop("summary", "")
    applies = table.pop("applies", [])
    if not isinstance(summary, str) or not isinstance(applies, list) or not all(map(_is_pair, applies)):
        raise ConfigError(f"preset '{name}': expected a text as summary and [[applies]] tables of env and obs.")
    return Preset(
        name, summary, tuple((a["env"], with_obs_renamed(a)["obs"]) for a in applies), {**table, "preset": name}
    )


def choose_preset(presets: Iterable[Preset], env_id: str, obs: str) -> Preset:
    """Return the preset that applies most closely to `env_id` and `obs`; among equals, the first by name.

    Raises:
        ConfigError: none applies.
    """
    known = list(presets)
    fitting = [
        (-len(pattern.replace("*", "")), preset.name, preset)
        for preset in known
        for pattern, its_obs in preset.applies
        if its_obs == obs and fnmatch.fnmatchcase(env_id, pattern)
    ]
    if not fitting:
        kinds = sorted({its_obs for preset in known for _, its_obs in preset.applies})
        raise ConfigError(
            f"no preset is the default for {env_id} with --obs {obs}. Known observations: {', '.join(kinds)}; "
            f"or name one with --preset."
        )
    return min(fitting, key=lambda entry: entry[:2])[2]


def _is_pair(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("env"), str) and isinstance(entry.get("obs"), str)
