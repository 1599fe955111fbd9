"""Make a complete configuration.

* `resolve_config`: combines preset, file, flags and `--set`. `read_config`: reads the configuration of a run.
* `presets_of`: every registered preset. `spec_of`: what Gymnasium knows of an environment.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import gymnasium
from gymnasium.envs.registration import EnvSpec

from cartpole_dqn.config.presets import Preset, choose_preset, parse_preset
from cartpole_dqn.config.schema import (
    RunConfig,
    Table,
    complete,
    default_layer,
    merge_layers,
    parse_set,
    read_toml,
    require_sections,
    with_obs_renamed,
)
from cartpole_dqn.contracts.options import changed
from cartpole_dqn.envs.factory import complete_observation
from cartpole_dqn.errors import ConfigError
from cartpole_dqn.plugin.host import PluginHost
from cartpole_dqn.plugin.registry import Registry
from cartpole_dqn.runs.catalogue import read_settings
from cartpole_dqn.runs.folder import RunFolder

DEFAULT_ENV = "CartPole-v1"
DEFAULT_OBS = "pixels"


def resolve_config(
    host: PluginHost,
    *,
    preset: str | None = None,
    config_file: Path | None = None,
    flags: Table | None = None,
    sets: Sequence[str] = (),
    observers: Sequence[str] = (),
) -> tuple[RunConfig, list[str]]:
    """Combine defaults, preset, file, flags and `--set`, where later ones win, and add `observers`.

    Returns:
        The complete configuration, and warnings about dropped options.

    Raises:
        UserError: a setting is invalid.
    """
    flags = with_obs_renamed(flags or {})
    from_file = with_obs_renamed(read_toml(config_file)) if config_file is not None else {}
    require_sections(from_file, str(config_file))
    # The output of `presets show` can be used as a file: these two keys describe the preset.
    from_file = {key: value for key, value in from_file.items() if key not in ("summary", "applies")}
    chosen = _choose(host.registry, preset, from_file, flags)
    options_of = host.registry.options
    below = [default_layer(), _without_budget(chosen.table, from_file, flags), _without_budget(from_file, flags), flags]
    merged, notes = merge_layers(below, options_of)
    # `--set` may rename a part, so it is a layer too; it changes list entries in place.
    watching = merged.get("observer", [])
    present = [entry.get("name") for entry in watching]
    watching = [*watching, *({"name": name} for name in dict.fromkeys(observers) if name not in present)]
    top: Table = {"observation": merged.get("observation", []), "observer": watching}
    for text in sets:
        parse_set(text, top)
    merged, more = merge_layers([_without_budget(merged, top), top], options_of)
    config = complete(merged, options_of)
    env = changed(config.env, id=_full_id(config.env.id))
    filled = complete_observation(config.observation, host.registry)
    return changed(config, env=env, observation=filled), notes + more


def read_config(folder: RunFolder, host: PluginHost) -> RunConfig:
    """Return the configuration of a run. Raises `UserError` if it cannot be read or used."""
    table = read_settings(folder.path)
    host.expect(folder.plugins())  # errors about missing components then name their distribution
    return complete(table, host.registry.options)


def presets_of(registry: Registry) -> list[Preset]:
    """Return every registered preset, by name."""
    return [parse_preset(name, registry.load("preset", name)) for name in registry.names("preset")]


def spec_of(env_id: str) -> EnvSpec | None:
    """Return the spec that `gymnasium.make` uses for an id: without a version, the newest. None if there is none."""
    name = env_id.rpartition(":")[2]
    newest = [spec for spec in gymnasium.registry.values() if spec.id.rpartition("-v")[0] == name]
    return gymnasium.registry.get(name) or max(newest, key=lambda spec: spec.version or 0, default=None)


def _full_id(env_id: str) -> str:
    """Return an id with its version, so that presets for it apply and a later version does not change the run."""
    spec = spec_of(env_id)
    return env_id if spec is None else f"{env_id.rpartition(':')[0]}:{spec.id}".lstrip(":")


def _choose(registry: Registry, name: str | None, from_file: Table, flags: Table) -> Preset:
    wanted = name or from_file.get("preset")
    obs = flags.get("obs", from_file.get("obs"))
    if wanted:
        preset = parse_preset(wanted, registry.load("preset", wanted))
        own = preset.table.get("obs", "state")
        if obs not in (None, own) and "observation" not in from_file:
            raise ConfigError(f"preset '{wanted}' observes {own}, not {obs}: leave out --obs or --preset.")
        return preset
    env_id = (flags.get("env") or {}).get("id") or (from_file.get("env") or {}).get("id") or DEFAULT_ENV
    return choose_preset(presets_of(registry), _full_id(env_id), obs or DEFAULT_OBS)


def _without_budget(table: Table, *above: Table) -> Table:
    """Drop the budget of a layer if a higher one sets it: steps replace episodes, and vice versa."""
    if any("steps" in layer or "episodes" in layer for layer in above):
        return {key: value for key, value in table.items() if key not in ("steps", "episodes")}
    return table
