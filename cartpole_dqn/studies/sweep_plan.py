"""The plan of a sweep.

* `SweepPlan`: the request. `write` and `read` store it as `sweep.toml` in the sweep's folder.
* `plan_trials`: a setting and the seeds -> a `SweepTrial` with a valid configuration for each seed.
* `corner_settings`: settings at the ends of a space, to check before a search.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import tomli_w

from cartpole_dqn.config.layers import parse_value
from cartpole_dqn.config.schema import RunConfig, Table, read_text, read_toml, to_toml
from cartpole_dqn.contracts.options import changed
from cartpole_dqn.contracts.seeding import SeedTree
from cartpole_dqn.contracts.sweep_engine import Trial, TrialState
from cartpole_dqn.errors import CartpoleDqnError, ConfigError, RunFolderError, UserError, bad, error_line
from cartpole_dqn.plugin.host import PluginHost
from cartpole_dqn.runs.catalogue import SWEEP_FILE, TRIALS, find_run
from cartpole_dqn.runs.folder import is_run, write_text_atomic
from cartpole_dqn.runs.metrics import RunFigures
from cartpole_dqn.studies.sweep_space import (
    Choice,
    Grid,
    Range,
    Setting,
    Space,
    as_toml,
    check_grid,
    check_keys,
    check_variants,
    draw,
    grid_settings,
    numbered_setting,
    read_space_table,
    space_table,
    texts_of,
)
from cartpole_dqn.system import __version__
from cartpole_dqn.training import assembly
from cartpole_dqn.training.initial_weights import find_initial_weights
from cartpole_dqn.training.resolve import components_of, resolve_config

FILE = SWEEP_FILE
BASE = "base.toml"
"""Copy of the `--config` file."""

_PATIENCE = 100
"""Draws per setting before the space counts as too small."""


@dataclass(frozen=True, kw_only=True)
class SweepPlan:
    """The trials of a sweep. The engine does not change them.

    Raises:
        UserError: a seed, a value or a variant comes twice, or a key or a name is unsuitable.
    """

    seeds: tuple[int, ...]
    preset: str | None = None
    config: Path | None = None
    """The `--config` file. `write` copies it."""
    flags: Table = field(default_factory=dict)
    """Settings from command-line options, as for `resolve_config`."""
    sets: tuple[str, ...] = ()
    grid: Grid = field(default_factory=dict)
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

    def __post_init__(self) -> None:
        if len(set(self.seeds)) < len(self.seeds):
            raise UserError(f"seeds: expected each one once, got {list(self.seeds)}.")
        check_grid(self.grid)
        check_variants(self.variants)
        check_keys([*self.grid, *self.space, *(key for variant in self.variants for key in variant.texts)])

    def settings(self) -> list[Setting]:
        """Return the settings, or none for a search. Raises `UserError` if the space has fewer than `draws`."""
        if self.searches:
            return []
        if not self.draws:
            return list(self.variants) or grid_settings(self.grid)
        generator = SeedTree(self.seed).child("sweep").numpy("draws")
        distinct: dict[str, Table] = {}
        for _ in range(_PATIENCE * self.draws):
            values = draw(self.space, generator)
            distinct.setdefault(as_toml(values), values)
            if len(distinct) == self.draws:
                return [numbered_setting(values, i, self.draws) for i, values in enumerate(distinct.values())]
        raise UserError(f"--random {bad(self.draws)}: the space holds no more than {len(distinct)} different settings.")

    def table(self) -> Table:
        """Return the plan as a TOML table."""
        base = {"preset": self.preset, "config": None if self.config is None else BASE, "set": list(self.sets)}
        settings: Table = {}
        if self.draws or self.searches:
            method, number = ("search", self.searches) if self.searches else ("random", self.draws)
            settings = {"method": method, "number": number, "seed": self.seed, "space": space_table(self.space)}
        elif self.variants:
            settings = {"method": "variants", "variants": {one.label: one.texts for one in self.variants}}
        elif self.grid:
            settings = {"method": "grid", "grid": self.grid}
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

    def write(self, folder: Path) -> SweepPlan:
        """Write `sweep.toml` and the base configuration, and return the plan as `read` does. Raises `RunError`."""
        if self.config is not None:
            write_text_atomic(folder / BASE, read_text(self.config))
        write_text_atomic(folder / FILE, tomli_w.dumps(self.table()))
        return replace(self, config=self.config and folder / BASE)

    @classmethod
    def read(cls, folder: Path) -> SweepPlan:
        """Return the plan in a sweep's folder. Raises `UserError` if it is missing or invalid."""
        path = folder / FILE
        if not path.is_file():
            hint = f" It is a run: `cartpole-dqn resume {folder}` resumes it." if is_run(folder) else ""
            raise RunFolderError(f"{folder} is not the folder of a sweep: it holds no {FILE}.{hint}")
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
            config=folder / BASE if "config" in base else None,
            flags=dict(base["flags"]),
            sets=tuple(map(str, base.get("set", []))),
            grid={key: [*map(str, texts)] for key, texts in settings.get("grid", {}).items()},
            variants=tuple(
                Setting({key: str(text) for key, text in texts.items()}, name)
                for name, texts in settings.get("variants", {}).items()
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
            f"{name}: {_short(before[name])}, now {_short(now[name])}" for name in before if before[name] != now[name]
        ]

    def _comparable(self) -> Table:
        """Return what decides the trials, with values for texts: 1e-3 and 0.001 are one."""
        sets = [text.partition("=") for text in self.sets]
        return {
            "seeds": list(self.seeds),
            "preset": self.preset,
            "config": None if self.config is None else read_toml(self.config),
            "flags": self.flags,
            "set": [f"{key.strip()}={as_toml(parse_value(text))}" for key, _, text in sets],
            "grid": {key: [*map(parse_value, texts)] for key, texts in self.grid.items()},
            "variants": {one.label: one.values for one in self.variants},
            "space": space_table(self.space),
            "random": self.draws,
            "search": self.searches,
            "sweep_seed": self.seed if self.space else None,
        }


TrialStatus = TrialState | Literal["waiting", "running"]


@dataclass(frozen=True, kw_only=True)
class SweepTrial:
    """A trial, its state and its progress."""

    run: Trial
    """What the engine runs."""
    setting: Setting
    seed: int
    steps: int | None
    """Total steps of the run; None if it is limited by episodes."""
    episodes: int | None
    state: TrialStatus = "waiting"
    error: str = ""
    seconds: float = 0.0
    """Running time, over all sessions of the sweep."""
    progress: RunFigures = field(default_factory=RunFigures)
    place: str = ""
    """Where it runs, as the engine says; "" for nothing."""

    @property
    def name(self) -> str:
        """Unique in the sweep."""
        return self.run.name


def plan_trials(
    plan: SweepPlan, setting: Setting, host: PluginHost, folder: Path, *, build: bool = False
) -> tuple[list[SweepTrial], list[str]]:
    """Return a setting's trials in a sweep's folder, and messages for the user.

    If `build` is set, the environment and the agent are built once, to find out whether they fit together.

    Raises:
        UserError: the setting is invalid.
    """
    where = f"setting {setting.label}: " if setting.label else ""
    try:
        config, notes = resolve_config(
            host,
            preset=plan.preset,
            config_file=plan.config,
            flags=plan.flags,
            sets=plan.sets,
            values=setting.values,
            observers=["metrics"],
        )
        _require_in_files(config, host)
        config = _with_initial_weights(config, host)
        note = assembly.check_agent(config, host) if build else ""
    except CartpoleDqnError as error:
        raise type(error)(f"{where}{error}") from None
    trials = []
    for seed in plan.seeds:
        name = ",".join(part for part in (setting.label, f"seed={seed}") if part)
        run = Trial(name=name, config=to_toml(changed(config, seed=seed)), folder=folder / TRIALS / name)
        trials.append(SweepTrial(run=run, setting=setting, seed=seed, steps=config.steps, episodes=config.episodes))
    return trials, [*notes, *([f"{where}{note}"] if note else [])]


def corner_settings(space: Space) -> list[Setting]:
    """Return settings that cover every choice and both ends of every range, changing one key at a time."""
    ends = {key: _ends(entry) for key, entry in space.items()}
    first = {key: values[0] for key, values in ends.items()}
    settings = {}
    for key, values in ends.items():
        for value in values:
            texts = texts_of({**first, key: value})
            label = ", ".join(f"{key}={text}" for key, text in texts.items())
            settings[label] = Setting(texts, label)
    return list(settings.values())


def _with_initial_weights(config: RunConfig, host: PluginHost) -> RunConfig:
    """Return the configuration with an absolute path and a checksum for its initial weights, if it has any."""
    if not config.init.run:
        return config
    path = find_run(config.init.run).path.resolve()
    filled, _ = find_initial_weights(config, host)
    return changed(filled, init=changed(filled.init, run=str(path)))


def _require_in_files(config: RunConfig, host: PluginHost) -> None:
    """Raise a `UserError` for a class of the program or the notebook that asks for the sweep."""
    named = [("env", config.env.id), *((part.kind, part.name) for part in components_of(config, host.registry))]
    for kind, name in named:
        if name.startswith("__main__:"):
            raise UserError(
                f"{kind} '{name}': the runs of a sweep train in other processes, which import classes from files. Move "
                f"it into a file such as parts.py, and write parts:{name.partition(':')[2]}."
            )


def _ends(entry: Range | Choice) -> list[Any]:
    if isinstance(entry, Choice):
        return list(entry.values)
    return [int(value) if entry.int else value for value in (entry.low, entry.high)]


def _short(value: Any) -> str:
    text = "nothing" if value in (None, [], {}) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
