"""The configuration of a run.

* `RunConfig`, with `EnvConfig`, `InitConfig`, `EvaluationConfig`, `CheckpointConfig`: everything that a run depends on.
* `complete`: checks a merged table and fills in defaults.
* `check_part`: does the same for the table of one part.
* `part_name`: the name in the table of a part.
* `to_toml`, `read_toml`, `read_text`, `parse_toml`: write and read files.
* `Which`, `which_model`: the best model of a run, or the last.

This module does not use the registry. Pass a function that finds the options of a part (`OptionsOf`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import tomli_w

from cartpole_dqn.config.toml import load_toml
from cartpole_dqn.contracts.options import (
    Part,
    changed,
    check_options,
    describe_options,
    fields_of,
    option,
    options_class,
    to_table,
)
from cartpole_dqn.errors import ConfigError, bad, suggestion
from cartpole_dqn.files import reason

Table = dict[str, Any]
OptionsOf = Callable[[str, str], type]
"""(kind, name) -> options class, as `Registry.options`; raises `UserError` for an unknown name."""

PARTS = {"agent": "dqn", "collector": "lockstep"}
"""The parts of a run: kind, which is also the key, and default name."""
Which = Literal["best", "last"]
"""The best model of a run, or the last one."""


@options_class
class EnvConfig:
    """The environment."""

    id: str = option(
        default="CartPole-v1", effect="a Gymnasium id, or module:Id to import the module that registers it"
    )
    time_limit: Literal["env", "none"] | int = option(
        default="env", effect="steps an episode may take in training: the environment's own limit, none, or a number"
    )
    num_envs: int = option(default=1, ge=1, le=1024, effect="environments side by side", typical="1 to 8")
    vector: Literal["sync", "async"] = option(default="sync", effect="run them in this process, or each in its own")
    step_timeout: float = option(
        default=0.0,
        ge=0,
        effect="seconds that a step or a reset may take where vector is async, 0 for no bound",
        typical="10 to 60",
    )
    kwargs: dict[str, Any] = option(default_factory=dict, effect="further arguments for the environment")


@options_class
class EvaluationConfig:
    """Greedy episodes on held-out seeds during the run. The model with the best mean return is saved.

    A model whose mean reaches `solved_at` is confirmed with more episodes, on other held-out seeds.
    """

    every: int = option(default=5_000, ge=0, effect="environment steps between evaluations, 0 for none")
    episodes: int = option(default=10, ge=1, effect="episodes an evaluation plays", typical="10 to 100")
    until_solved: bool = option(
        default=False, effect="stop once an evaluation reaches solved_at and its confirmation does too"
    )
    solved_at: float | None = option(
        default=None, effect="the mean return that counts as solved; by default the environment's own threshold"
    )
    confirmations: int = option(default=3, ge=0, effect="how many models that reach solved_at a run confirms at most")
    confirm_episodes: int = option(default=100, ge=1, effect="episodes that confirm a solution")


@options_class
class CheckpointConfig:
    """When to save checkpoints, and what to keep. There is always a checkpoint at the end."""

    every_steps: int = option(default=0, ge=0, effect="environment steps between checkpoints, 0 for none")
    every_seconds: float = option(default=300.0, ge=0, effect="seconds of training between checkpoints, 0 for none")
    save_replay: bool = option(
        default=True, effect="save the replay too; without it a resumed run starts with an empty one"
    )

    progress: int = option(
        default=4,
        ge=0,
        le=100,
        effect="models to keep besides best/, of evaluations that were the best so far, for `record --progress`; those "
        "of more than 8 MiB are not kept",
        typical="0 or 4",
    )


@options_class
class InitConfig:
    """The run whose weights to start from. `step` and `weights` are filled in."""

    run: str = option(default="", effect="the run whose weights this one starts from, empty for random weights")
    which: Which = option(default="best", effect="that run's best model, or its last")
    step: int = option(default=0, ge=0, effect="environment steps that these weights were trained for")
    weights: str = option(default="", effect="their checksum, which must be the same when the run is repeated")


@options_class
class RunConfig:
    """A whole run."""

    preset: str = option(default="", effect="the preset that this configuration is based on")
    obs: str = option(default="state", effect="what is observed: pixels, or state as the environment gives it")
    seed: int = option(default=0, ge=0, effect="the seed of all randomness")
    steps: int | None = option(default=None, gt=0, effect="environment steps of the whole run, over all environments")
    episodes: int | None = option(default=None, gt=0, effect="episodes of the whole run")
    device: Literal["auto", "cpu", "cuda"] = option(default="auto", effect="where networks run")
    threads: int = option(default=1, ge=1, le=256, effect="torch's threads; results depend on this number")
    env: EnvConfig = option(default_factory=EnvConfig, effect="the environment")
    observation: list[dict[str, Any]] = option(default_factory=list, effect="wrappers, in order")
    agent: Part = option(default_factory=lambda: Part(name=PARTS["agent"]), effect="the agent and its parts")
    collector: Part = option(
        default_factory=lambda: Part(name=PARTS["collector"]), effect="what steps the environments"
    )
    init: InitConfig = option(default_factory=InitConfig, effect="weights of another run to start from")
    evaluation: EvaluationConfig = option(default_factory=EvaluationConfig, effect="greedy episodes")
    checkpoint: CheckpointConfig = option(default_factory=CheckpointConfig, effect="saved state")
    observer: list[Part] = option(
        default_factory=lambda: [Part(name="display"), Part(name="metrics")], effect="the observers"
    )
    sources: dict[str, str] | None = option(
        default=None, effect="the file of each part that is given as module:Class; filled in"
    )


def default_layer() -> Table:
    """Return the lowest layer: the defaults outside the agent and the collector."""
    return to_table(RunConfig())


def complete(table: Table, options_of: OptionsOf) -> RunConfig:
    """Check a merged table and fill in all defaults. Every part gets its `Part.options`.

    Raises:
        ConfigError: a key is unknown, a type is wrong, a number is out of range, or there is no budget.
    """
    unknown = table.keys() - fields_of(RunConfig).keys()
    if unknown:
        agent = check_part("agent", table["agent"], options_of, where="agent") if "agent" in table else {}
        _refuse_misplaced(unknown, {**table, "agent": agent})
    config = check_options(RunConfig, with_obs_renamed(table), where="")
    limit = config.env.time_limit
    if isinstance(limit, int) and limit < 1:
        raise ConfigError(f'env.time_limit: expected "env", "none" or a number from 1, got {bad(limit)}.')
    _check_step_timeout(config.env)
    if config.steps is None and config.episodes is None:
        raise ConfigError("a run needs an end: give steps or episodes.")
    if not config.obs:
        raise ConfigError("obs: expected pixels or state, got nothing.")
    return changed(
        config,
        agent=check_part("agent", config.agent, options_of, where="agent"),
        collector=check_part("collector", config.collector, options_of, where="collector"),
        observer=[
            check_part("observer", entry, options_of, where=f"observer[{i}]") for i, entry in enumerate(config.observer)
        ],
    )


def with_obs_renamed(table: Table) -> Table:
    """Replace the value native of `obs` by state. Older files have it."""
    return {**table, "obs": "state"} if table.get("obs") == "native" else table


def require_sections(table: Table, source: str) -> None:
    """Raise `ConfigError` if a key that selects or merges layers has a wrong type. `source` is for the message."""
    kinds: dict[str, Any] = {"preset": str, "extends": str, "obs": str, "env": Mapping}
    kinds |= dict.fromkeys(("observation", "observer"), list | Mapping)
    kinds |= dict.fromkeys(PARTS, Mapping)
    values = [(key, table[key], kind) for key, kind in kinds.items() if key in table]
    if isinstance(table.get("env"), Mapping) and "id" in table["env"]:
        values.append(("env.id", table["env"]["id"], str))
    for key in ("observation", "observer"):
        if isinstance(table.get(key), list):
            values += [(f"{key}[{i}]", entry, Mapping) for i, entry in enumerate(table[key])]
    names = {str: "a text", Mapping: "a table", list | Mapping: "a list of tables, or a table of changes to one"}
    for place, value, kind in values:
        if not isinstance(value, kind):
            raise ConfigError(f"{source}: {place}: expected {names[kind]}, got {bad(repr(value)[:200])}.")


def with_step_timeout(config: RunConfig, seconds: float) -> RunConfig:
    """Return the configuration with another `env.step_timeout`, for `resume`. Raises `ConfigError` if it is invalid."""
    changed_env = check_options(EnvConfig, {**to_table(config.env), "step_timeout": seconds}, where="env")
    _check_step_timeout(changed_env)
    return changed(config, env=changed_env)


def check_part(kind: str, table: Mapping[str, Any], options_of: OptionsOf, *, where: str) -> Part:
    """Check the table of a part, and of the parts inside it, and fill in all defaults.

    A part that is already checked is returned unchanged. `where` is its dotted path, for error messages.

    Raises:
        ConfigError: it has no name, or an option is invalid.
    """
    if isinstance(table, Part) and table.options is not None:
        return table
    name = part_name(table, kind, where)
    declared = options_of(kind, name)
    values = {key: value for key, value in table.items() if key != "name"}
    inner = {
        info.name: check_part(info.part, values.get(info.name, info.default), options_of, where=f"{where}.{info.name}")
        for info in describe_options(declared)
        if info.part
    }
    _refuse_misplaced(values.keys() - fields_of(declared).keys(), inner, f"{where}.")
    options: Any = check_options(declared, {**values, **inner}, where=where)
    checked = Part({"name": name, **to_table(options), **inner})
    checked.options = options
    return checked


def part_name(table: Any, kind: str, where: str) -> str:
    """Return the name in the table of a part. Raises `ConfigError` if it has none."""
    if not isinstance(table, Mapping):
        raise ConfigError(f"{where}: expected a table with the {kind}'s name, got {bad(repr(table))}.")
    name = table.get("name")
    if not isinstance(name, str):
        raise ConfigError(f"{where}.name: expected the {kind}'s name, got {bad(repr(name))}.")
    return name


def which_model(last: bool) -> Which:
    """Return the model that `--last` or `init_last` chooses."""
    return "last" if last else "best"


def read_toml(path: Path) -> Table:
    """Read a TOML file. Raises `ConfigError` if it cannot be read."""
    return parse_toml(read_text(path), str(path))


def read_text(path: Path) -> str:
    """Return the text of a configuration file. Raises `ConfigError` if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problem = reason(error) if isinstance(error, OSError) else "it is not UTF-8 text"
        inside = path / "config.toml"
        hint = suggestion(inside) if isinstance(error, IsADirectoryError) and inside.exists() else ""
        raise ConfigError(f"cannot read the configuration {path}: {problem}.{hint}") from None


def parse_toml(text: str, source: str) -> Table:
    """Parse TOML. Raises `ConfigError`, which names `source`, if it is invalid."""
    try:
        return load_toml(text)
    except ValueError as error:
        raise ConfigError(f"{source} is not valid TOML: {error}.") from None


def to_toml(config: RunConfig) -> str:
    """Return the configuration as TOML. `run --config` with it repeats the run."""
    return tomli_w.dumps(to_table(config))


def _check_step_timeout(env: EnvConfig) -> None:
    if env.step_timeout and env.vector != "async":
        raise ConfigError(
            f'env.step_timeout: a limit of {env.step_timeout:g} seconds needs env.vector = "async" (--vector async), '
            f"got '{env.vector}': a step in the run's own process cannot be stopped."
        )


def _refuse_misplaced(unknown: Iterable[str], table: Mapping[str, Any], where: str = "") -> None:
    """Refuse unknown keys that belong further below, with a hint: `agent.lr` -> `agent.optimiser.lr`."""
    for key in sorted(unknown):
        deeper = [f"{where}{path}" for path in _paths_to(key, table)]
        if deeper:
            raise ConfigError(f"unknown option {bad(f'{where}{key}')}.{suggestion(min(deeper, key=len))}")


def _paths_to(key: str, table: Mapping[str, Any]) -> Iterator[str]:
    for name, below in table.items():
        if isinstance(below, Mapping):
            if key in below:
                yield f"{name}.{key}"
            yield from (f"{name}.{path}" for path in _paths_to(key, below))
