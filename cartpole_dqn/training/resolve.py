"""Make a complete configuration.

* `resolve_config`: combines preset, file, flags and `--set`. `read_config`: reads the configuration of a run.
* `named_settings`: settings by the names of `run`'s options and of `train`'s arguments, where parts may be classes.
* `components_of`: every component of a configuration.
* `presets_of`: every registered preset. `spec_of`: what Gymnasium knows of an environment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec

from cartpole_dqn.config.presets import Preset, choose_preset, parse_preset
from cartpole_dqn.config.schema import (
    RunConfig,
    Table,
    complete,
    default_layer,
    merge_layers,
    merge_plain,
    parse_set,
    read_toml,
    require_sections,
    with_obs_renamed,
)
from cartpole_dqn.contracts.options import changed, describe_options
from cartpole_dqn.envs.factory import complete_observation, env_source, use_env
from cartpole_dqn.errors import ConfigError, UserError, said_by
from cartpole_dqn.plugin.host import PluginHost
from cartpole_dqn.plugin.registry import INSTANCE, Component, Registry
from cartpole_dqn.runs.catalogue import read_settings
from cartpole_dqn.runs.folder import RunFolder

DEFAULT_ENV = "CartPole-v1"
DEFAULT_OBS = "pixels"

_SECTIONS = {
    "num_envs": "env",
    "vector": "env",
    "step_timeout": "env",
    "save_replay": "checkpoint",
    "until_solved": "evaluation",
}
"""The section of each setting that is not at the top."""
_AGENT_PARTS = ("replay", "network", "target_update", "exploration", "optimiser")


def resolve_config(
    host: PluginHost,
    *,
    preset: str | None = None,
    config_file: Path | None = None,
    flags: Table | None = None,
    sets: Sequence[str] = (),
    observers: Sequence[Any] = (),
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
    added = [part_table(host.registry, "observer", given) for given in observers]
    for entry in added:
        if entry["name"] not in present:
            watching, present = [*watching, entry], [*present, entry["name"]]
    top: Table = {"observation": merged.get("observation", []), "observer": watching}
    for text in sets:
        parse_set(text, top)
    merged, more = merge_layers([_without_budget(merged, top), top], options_of)
    config = complete(merged, options_of)
    env = changed(config.env, id=_full_id(config.env.id))
    filled = complete_observation(config.observation, host.registry)
    config = changed(config, env=env, observation=filled)
    return changed(config, sources=_sources(config, host.registry)), notes + more


def named_settings(registry: Registry, given: Mapping[str, Any]) -> Table:
    """Return settings as tables.

    Args:
        registry: learns of the classes among them.
        given: by the names of `run`'s options, such as `num_envs` or `network`; None is left out. A part is a name,
            "module:Class", a class, or a pair of one of these and its options. `wrappers` is a list of them. `env` may
            also be a function that makes an environment, or an `EnvSpec`.
    """
    table: Table = {}
    for key, value in given.items():
        if value is None:
            continue
        if key == "env":
            table.setdefault("env", {})["id"] = use_env(value)
        elif key in _SECTIONS:
            table.setdefault(_SECTIONS[key], {})[key] = value
        elif key in ("agent", "collector"):
            table[key] = {**part_table(registry, key, value), **table.get(key, {})}
        elif key in _AGENT_PARTS:
            table.setdefault("agent", {})[key] = part_table(registry, key.replace("_", "-"), value)
        elif key == "wrappers":
            table["observation"] = [part_table(registry, "wrapper", entry, key="wrapper") for entry in value]
        else:
            table[key] = value
    return table


def part_table(registry: Registry, kind: str, given: Any, *, key: str = "name") -> Table:
    """Return the table of a part that is given as a name or a class, or as a pair of that and its options."""
    target, options = given if isinstance(given, tuple) and len(given) == 2 else (given, {})
    if not isinstance(options, Mapping):
        raise UserError(f"{kind}: expected a pair of a class and a dictionary of options, got {given!r}.")
    return {key: registry.use(kind, target), **options}


def read_config(folder: RunFolder, host: PluginHost, given: Table | None = None) -> RunConfig:
    """Return the configuration of a run.

    An observer that is given as module:name and cannot be found is left out, and a note in `host` says so: the run
    itself does not depend on it.

    Args:
        folder: of the run.
        host: the loaded plugins.
        given: settings that replace the run's own, such as classes from `named_settings`.

    Raises:
        UserError: it cannot be read or used.
    """
    table: Table = merge_plain(read_settings(folder.path), given or {})
    sources = table["sources"] if isinstance(table.get("sources"), Mapping) else {}
    host.expect(folder.plugins(), sources)
    if isinstance(table.get("observer"), list):
        table["observer"] = [entry for entry in table["observer"] if not _is_lost(entry, sources, host)]
    return complete(table, host.registry.options)


def components_of(config: RunConfig, registry: Registry) -> list[Component]:
    """Return every component of a configuration, each once."""
    used = [("wrapper", str(entry["wrapper"])) for entry in config.observation]
    used += [("observer", str(entry["name"])) for entry in config.observer]

    def walk(kind: str, table: Mapping[str, Any]) -> None:
        used.append((kind, str(table["name"])))
        for info in describe_options(registry.options(kind, str(table["name"]))):
            if info.part:
                walk(info.part, table[info.name])

    walk("agent", config.agent)
    walk("collector", config.collector)
    return [registry.component(kind, name) for kind, name in dict.fromkeys(used)]


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


def _sources(config: RunConfig, registry: Registry) -> dict[str, str] | None:
    """Return the file of each part that is given as module:Class; None if there is no such part."""
    found = {f"{c.kind}/{c.name}": c.distribution for c in components_of(config, registry) if ":" in c.name}
    source = env_source(config.env.id)
    return {**({f"env/{config.env.id}": source} if source else {}), **found} or None


def _is_lost(entry: Any, sources: Mapping[str, Any], host: PluginHost) -> bool:
    name = entry.get("name") if isinstance(entry, Mapping) else None
    if not isinstance(name, str) or ":" not in name:
        return False
    try:
        found = host.registry.component("observer", name)
        if isinstance(found.target, type) and str(sources.get(f"observer/{name}")).endswith(INSTANCE):
            raise UserError(f"observer '{name}' was an instance: give it again with load(RUN, observers=[...]).")
    except UserError as error:
        host.notes.append(f"left out: {said_by(error)}")
        return True
    return False
