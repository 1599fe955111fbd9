"""The plan of a sweep.

* `SweepPlan`: the request. `write` and `read` store it as `sweep.toml` in the sweep's folder.
* `plan_trials`: a setting and the seeds -> `Planned` trials with valid configurations.
* `check_setting`: builds a setting's environment and agent, so that errors appear before any trial starts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import tomli_w

from cartpole_dqn.config.schema import RunConfig, Table, parse_toml, read_text, read_toml, to_toml
from cartpole_dqn.contracts.options import changed
from cartpole_dqn.contracts.seeding import SeedTree
from cartpole_dqn.contracts.sweep_engine import Trial
from cartpole_dqn.errors import CartpoleDqnError, ConfigError, RunFolderError, UserError, bad, error_line
from cartpole_dqn.plugin.host import PluginHost
from cartpole_dqn.runs.catalogue import TRIALS
from cartpole_dqn.runs.folder import write_text_atomic
from cartpole_dqn.studies.sweep_space import (
    Choice,
    Setting,
    Space,
    checked_variants,
    draw,
    grid_settings,
    read_space_table,
    setting_labels,
    space_table,
)
from cartpole_dqn.system import __version__
from cartpole_dqn.training import assembly
from cartpole_dqn.training.resolve import components_of, resolve_config

FILE = "sweep.toml"
BASE = "base.toml"
"""Copy of the `--config` file."""

_PATIENCE = 100
"""Draws per setting before the space counts as too small."""


@dataclass(frozen=True, kw_only=True)
class SweepPlan:
    """The trials of a sweep. The engine does not change them."""

    seeds: tuple[int, ...]
    preset: str | None = None
    config: str | None = None
    """Text of the `--config` file."""
    flags: Table = field(default_factory=dict)
    """Settings from command-line options, as for `resolve_config`."""
    sets: tuple[str, ...] = ()
    grid: Mapping[str, list[str]] = field(default_factory=dict)
    variants: tuple[Setting, ...] = ()
    """Named settings, instead of a grid."""
    space: Space = field(default_factory=dict)
    draws: int = 0
    """Number of settings to draw from `space`."""
    searches: int = 0
    """Number of settings to search in `space`."""
    seed: int = 0
    """Seed of draws and searches."""
    engine: str = "local"
    engine_options: Table = field(default_factory=dict)
    jobs: int | None = None

    def settings(self) -> list[Setting]:
        """Return the settings, or none for a search. Raises `UserError` if the space has fewer than `draws`."""
        if self.searches:
            return []
        if not self.draws:
            return list(self.variants) or grid_settings(self.grid)
        generator = SeedTree(self.seed).child("sweep").numpy("draws")
        distinct: dict[tuple[str, ...], Setting] = {}
        for _ in range(_PATIENCE * self.draws):
            setting = draw(self.space, generator)
            distinct.setdefault(tuple(setting.values.values()), setting)
            if len(distinct) == self.draws:
                return list(distinct.values())
        raise UserError(f"--random {bad(self.draws)}: the space holds no more than {len(distinct)} different settings.")

    def table(self) -> Table:
        """Return the plan as a TOML table."""
        base = {"preset": self.preset, "config": None if self.config is None else BASE, "set": list(self.sets)}
        settings: Table = {}
        if self.draws or self.searches:
            method, number = ("search", self.searches) if self.searches else ("random", self.draws)
            settings = {"method": method, "number": number, "seed": self.seed, "space": space_table(self.space)}
        elif self.variants:
            settings = {"method": "variants", "variants": {entry.name: dict(entry.values) for entry in self.variants}}
        elif self.grid:
            settings = {"method": "grid", "grid": {key: list(values) for key, values in self.grid.items()}}
        return {
            "cartpole_dqn": __version__,
            "seeds": list(self.seeds),
            "base": {**{k: v for k, v in base.items() if v not in (None, [])}, "flags": self.flags},
            "settings": settings,
            "engine": {
                "name": self.engine,
                **({} if self.jobs is None else {"jobs": self.jobs}),
                "options": self.engine_options,
            },
        }

    def write(self, folder: Path) -> None:
        """Write `sweep.toml` and the base configuration. Raises `RunError`."""
        if self.config is not None:
            write_text_atomic(folder / BASE, self.config)
        write_text_atomic(folder / FILE, tomli_w.dumps(self.table()))

    @classmethod
    def read(cls, folder: Path) -> SweepPlan:
        """Return the plan in a sweep's folder. Raises `UserError` if it is missing or invalid."""
        path = folder / FILE
        if not path.is_file():
            raise RunFolderError(f"{folder} is not the folder of a sweep: it holds no {FILE}.")
        table = read_toml(path)
        try:
            return cls._of_table(folder, table)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f"{path} is not what a sweep writes: {error_line(error)}.") from None

    @classmethod
    def _of_table(cls, folder: Path, table: Table) -> SweepPlan:
        base, settings, engine = table["base"], table["settings"], table["engine"]
        method = settings.get("method", "grid")
        number = int(settings.get("number", 0))
        return cls(
            seeds=tuple(int(seed) for seed in table["seeds"]),
            preset=base.get("preset"),
            config=read_text(folder / BASE) if "config" in base else None,
            flags=dict(base["flags"]),
            sets=tuple(map(str, base.get("set", []))),
            grid={key: list(map(str, values)) for key, values in settings.get("grid", {}).items()},
            variants=tuple(
                checked_variants(
                    (str(folder / FILE), Setting({key: str(text) for key, text in values.items()}, name))
                    for name, values in settings.get("variants", {}).items()
                )
            ),
            space=read_space_table(str(folder / FILE), settings.get("space", {})),
            draws=number if method == "random" else 0,
            searches=number if method == "search" else 0,
            seed=int(settings.get("seed", 0)),
            engine=str(engine["name"]),
            engine_options=dict(engine.get("options", {})),
            jobs=engine.get("jobs"),
        )

    def differences(self, other: SweepPlan) -> list[str]:
        """Return the differences apart from the engine: "seeds: [0, 1], now [0]", ..."""
        before, now = self._comparable(), other._comparable()
        return [
            f"{name}: {_short(before.get(name))}, now {_short(now.get(name))}"
            for name in dict.fromkeys([*before, *now])
            if before.get(name) != now.get(name)
        ]

    def _comparable(self) -> Table:
        table = replace(self, config=None).table()
        base = {f"base.{key}": value for key, value in table["base"].items()}
        text = None if self.config is None else parse_toml(self.config, BASE)
        return {"seeds": table["seeds"], **base, "base.config": text, **table["settings"]}


@dataclass(frozen=True)
class Planned:
    """A trial with its setting's label, its seed and its limits."""

    trial: Trial
    label: str
    seed: int
    steps: int | None
    episodes: int | None


def plan_trials(
    plan: SweepPlan,
    setting: Setting,
    label: str,
    host: PluginHost,
    folder: Path,
    *,
    base: Path | None,
    prepare: Callable[[RunConfig], RunConfig] = lambda config: config,
) -> tuple[list[Planned], RunConfig, list[str]]:
    """Return a setting's trials, its configuration, and messages for the user. Arguments are those of `Sweep`.

    Raises:
        UserError: the configuration is invalid.
    """
    try:
        config, notes = resolve_config(
            host,
            preset=plan.preset,
            config_file=base,
            flags=plan.flags,
            sets=[*plan.sets, *setting.sets],
            observers=["metrics"],
        )
        _require_in_files(config, host)
        config = prepare(config)
    except CartpoleDqnError as error:
        raise type(error)(f"{_where(label)}{error}") from None
    planned = []
    for seed in plan.seeds:
        name = ",".join(part for part in (label, f"seed={seed}") if part)
        trial = Trial(name=name, config=to_toml(changed(config, seed=seed)), folder=folder / TRIALS / name)
        planned.append(Planned(trial, label, seed, config.steps, config.episodes))
    return planned, config, notes


def check_setting(config: RunConfig, label: str, host: PluginHost) -> list[str]:
    """Build a setting's environment and agent, and return warnings. Raises `UserError` if they do not fit."""
    try:
        note = assembly.check_agent(config, host)
    except CartpoleDqnError as error:
        raise type(error)(f"{_where(label)}{error}") from None
    return [f"{_where(label)}{note}"] if note else []


def corner_settings(space: Space) -> list[Setting]:
    """Return settings that cover every choice and both ends of every range, changing one key at a time."""
    ends = {key: _ends(entry) for key, entry in space.items()}
    first = {key: values[0] for key, values in ends.items()}
    every = [Setting({**first, key: value}) for key, values in ends.items() for value in values]
    return list({tuple(setting.values.values()): setting for setting in every}.values())


def labels_of(plan: SweepPlan, settings: list[Setting], *, first: int = 0) -> list[str]:
    """Return the settings' labels. Those of drawn and searched settings start with a number, from `first`."""
    if not (plan.draws or plan.searches):
        return setting_labels(settings)
    width = len(str(max(plan.draws, plan.searches) - 1))
    return [f"{i:0{width}},{setting_labels([setting])[0]}" for i, setting in enumerate(settings, first)]


def _require_in_files(config: RunConfig, host: PluginHost) -> None:
    """Raise a `UserError` for a class of the program or the notebook that asks for the sweep."""
    named = [("env", config.env.id), *((part.kind, part.name) for part in components_of(config, host.registry))]
    for kind, name in named:
        if name.startswith("__main__:"):
            raise UserError(
                f"{kind} '{name}': the runs of a sweep train in other processes, which import classes from files. Move "
                f"it into a file such as parts.py, and write parts:{name.partition(':')[2]}."
            )


def _ends(entry: Any) -> list[str]:
    if isinstance(entry, Choice):
        return list(entry.values)
    return [str(int(value)) if entry.int else repr(value) for value in (entry.low, entry.high)]


def _where(label: str) -> str:
    return f"setting {label}: " if label else ""


def _short(value: Any) -> str:
    text = "nothing" if value in (None, [], {}) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
