"""Make a complete configuration: `resolve_config` from preset, file and flags, `read_config` from a run.

`named_settings` makes settings of `run`'s options and `train`'s arguments. `components_of` lists all parts.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cartpole_dqn.config.layers import merge_layers, merge_plain, parse_set, set_value
from cartpole_dqn.config.presets import choose_preset, layers_of, parse_preset
from cartpole_dqn.config.schema import (
    RunConfig,
    Table,
    complete,
    default_layer,
    read_toml,
    require_sections,
    which_model,
    with_obs_renamed,
)
from cartpole_dqn.contracts.options import changed, describe_options
from cartpole_dqn.envs.chain import complete_observation
from cartpole_dqn.envs.ids import env_source, full_id, use_env
from cartpole_dqn.errors import ConfigError, UserError, bad, error_line
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
    values: Mapping[str, Any] | None = None,
    observers: Sequence[Any] = (),
) -> tuple[RunConfig, list[str]]:
    """Combine defaults, preset, file, flags, `--set` and `values`, where later ones win, and add `observers`.

    The keys of `values` are dotted, as those of `--set`.

    Returns:
        The complete configuration, and what changed parts inherit and lose.

    Raises:
        UserError: a setting is invalid.
    """
    flags = with_obs_renamed(flags or {})
    from_file = with_obs_renamed(read_toml(config_file)) if config_file is not None else {}
    require_sections(from_file, str(config_file))
    if {"preset", "extends"} <= from_file.keys():
        raise ConfigError(f"{config_file}: preset and extends mean the same: give one of them.")
    # The output of `presets show` can be used as a file: these keys describe the preset.
    from_file = {key: value for key, value in from_file.items() if key not in ("summary", "applies")}
    if "extends" in from_file:
        from_file["preset"] = from_file.pop("extends")
    lowest = [default_layer(), *_choose(host.registry, preset, from_file, flags)]
    added = named_parts(host.registry, "observer", observers)
    top: Table = {}
    for text in sets:
        parse_set(text, top)
    for key, value in (values or {}).items():
        set_value(key, value, top)
    layers = [*lowest, from_file, flags, {"observer": added}, top]
    layers = [_without_budget(layer, *layers[i + 1 :]) for i, layer in enumerate(layers)]
    options_of = host.registry.options
    below, _ = merge_layers(layers[: len(lowest)], options_of)
    merged, notes = merge_layers(layers[len(lowest) :], options_of, below)
    config = complete(merged, options_of)
    env = changed(config.env, id=full_id(config.env.id))
    filled = complete_observation(config.observation, host.registry)
    config = changed(config, env=env, observation=filled)
    return changed(config, sources=_sources(config, host.registry)), notes


def named_settings(registry: Registry, settings: Mapping[str, Any]) -> Table:
    """Return settings as tables.

    Args:
        registry: learns of the classes among them.
        settings: by the names of `run`'s options, such as `num_envs` or `network`; None is left out. A part is a name,
            "module:Class", a class, or a pair of one of these and its options. `wrappers` is a list of them, or a
            dictionary of changes to single wrappers. `env` may also be a function that makes an environment, or an
            `EnvSpec`.
    """
    table: Table = {}
    for key, value in settings.items():
        if value is None or key == "init_last":
            continue
        if key == "init_from":
            # The whole section, so that nothing remains of other weights that a file names.
            which = which_model(bool(settings.get("init_last")))
            table["init"] = {"run": str(value), "which": which, "step": 0, "weights": ""}
        elif key == "env":
            table.setdefault("env", {})["id"] = use_env(value)
        elif key in _SECTIONS:
            table.setdefault(_SECTIONS[key], {})[key] = value
        elif key in ("agent", "collector"):
            table[key] = {**part_table(registry, key, value), **table.get(key, {})}
        elif key in _AGENT_PARTS:
            table.setdefault("agent", {})[key] = part_table(registry, key.replace("_", "-"), value)
        elif key == "wrappers" and isinstance(value, Mapping):
            table["observation"] = named_parts(registry, "wrapper", value.items())
        elif key == "wrappers":
            table["observation"] = [part_table(registry, "wrapper", entry, key="wrapper") for entry in value]
        else:
            table[key] = value
    return table


def part_table(registry: Registry, kind: str, part: Any, *, key: str = "name") -> Table:
    """Return the table of a part that is given as a name or a class, or as a pair of that and its options."""
    target, options = part if isinstance(part, tuple) and len(part) == 2 else (part, {})
    if not isinstance(options, Mapping):
        raise UserError(f"{kind}: expected a pair of a class and a dictionary of options, got {bad(repr(part))}.")
    return {key: registry.use(kind, target), **options}


def named_parts(registry: Registry, kind: str, parts: Iterable[Any]) -> Table:
    """Return the options of parts by their names, as changes to a list. Raises as `part_table`."""
    tables = [part_table(registry, kind, part, key="") for part in parts]
    return {table.pop(""): table for table in tables}


def read_config(folder: RunFolder, host: PluginHost, settings: Table | None = None) -> RunConfig:
    """Return the configuration of a run.

    An observer that is given as module:name and cannot be found is left out, and a note in `host` says so: the run
    itself does not depend on it.

    Args:
        folder: of the run.
        host: the loaded plugins.
        settings: they replace the run's own, such as classes from `named_settings`.

    Raises:
        UserError: it cannot be read or used.
    """
    table: Table = merge_plain(read_settings(folder.path), settings or {})
    sources = table["sources"] if isinstance(table.get("sources"), Mapping) else {}
    host.expect(folder.plugins(), sources)
    if isinstance(table.get("observer"), list):
        table["observer"] = [entry for entry in table["observer"] if not _is_lost(entry, sources, host)]
    return complete(table, host.registry.options)


def components_of(config: RunConfig, registry: Registry) -> list[Component]:
    """Return every component of a configuration, each once."""
    names = [("wrapper", str(entry["wrapper"])) for entry in config.observation]
    names += [("observer", str(entry["name"])) for entry in config.observer]

    def walk(kind: str, table: Mapping[str, Any]) -> None:
        names.append((kind, str(table["name"])))
        for info in describe_options(registry.options(kind, str(table["name"]))):
            if info.part:
                walk(info.part, table[info.name])

    walk("agent", config.agent)
    walk("collector", config.collector)
    return [registry.component(kind, name) for kind, name in dict.fromkeys(names)]


def _choose(registry: Registry, name: str | None, from_file: Table, flags: Table) -> list[Table]:
    """Return the tables of the preset: of those that it extends, and its own."""
    load = functools.partial(registry.load, "preset")
    preset = name or from_file.get("preset")
    obs = flags.get("obs", from_file.get("obs"))
    if preset:
        tables = layers_of(parse_preset(preset, load(preset)), load)
        own = next((table["obs"] for table in reversed(tables) if "obs" in table), "state")
        if obs not in (None, own) and not isinstance(from_file.get("observation"), list):
            raise ConfigError(f"preset '{preset}' observes {own}, not {obs}: leave out --obs or --preset.")
        return tables
    env_id = (flags.get("env") or {}).get("id") or (from_file.get("env") or {}).get("id") or DEFAULT_ENV
    presets = [parse_preset(name, load(name)) for name in registry.names("preset")]
    return layers_of(choose_preset(presets, full_id(env_id), obs or DEFAULT_OBS), load)


def _without_budget(table: Table, *above: Table) -> Table:
    """Drop the budget of a layer if a higher one sets it: steps replace episodes, and vice versa."""
    if any("steps" in layer or "episodes" in layer for layer in above):
        return {key: value for key, value in table.items() if key not in ("steps", "episodes")}
    return table


def _sources(config: RunConfig, registry: Registry) -> dict[str, str] | None:
    """Return the file of each part that is given as module:Class; None if there is no such part."""
    part_sources = {f"{c.kind}/{c.name}": c.distribution for c in components_of(config, registry) if ":" in c.name}
    source = env_source(config.env.id)
    return {**({f"env/{config.env.id}": source} if source else {}), **part_sources} or None


def _is_lost(entry: Any, sources: Mapping[str, Any], host: PluginHost) -> bool:
    name = entry.get("name") if isinstance(entry, Mapping) else None
    if not isinstance(name, str) or ":" not in name:
        return False
    try:
        component = host.registry.component("observer", name)
        if isinstance(component.target, type) and str(sources.get(f"observer/{name}")).endswith(INSTANCE):
            raise UserError(f"observer '{name}' was an instance: give it again with load(RUN, observers=[...]).")
    except UserError as error:
        host.notes.append(f"left out: {error_line(error)}")
        return True
    return False
