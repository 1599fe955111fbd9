"""Groups runs that differ only in their seed, or that share chosen settings.

* `Record`, `read_record`, `read_records`: a run's folder, settings and history.
* `group_records`: records -> `Group`s, each with a distinctive label.
* `has_effect`: whether a setting can change results.
* `short_key`: the shortest unambiguous end of a dotted key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cartpole_dqn.errors import RunFolderError, UserError, bad, did_you_mean
from cartpole_dqn.runs.catalogue import TRIALS, find_runs, read_settings, run_title
from cartpole_dqn.runs.history import RunHistory, read_metrics
from cartpole_dqn.text.tables import flat

RUN, ALL, VARIANT = "run", "all", "variant"
"""Values of `--group-by` other than configuration keys: each run, all runs, or a sweep's variants."""
VARIANT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")

_WITHOUT_EFFECT = ("seed", "device", "threads", "observer", "checkpoint", "sources", "env.vector", "env.step_timeout")
"""Keys that do not change results systematically."""
BUDGET = ("steps", "episodes", "evaluation.until_solved")
"""Keys that only say where a run ends."""
_FIRST = (VARIANT, "env.id", "obs", "preset", "agent.name")
"""Keys that labels prefer."""
_TRIAL = re.compile(f"({VARIANT_NAME.pattern}),seed=[0-9]+")
"""Folder name of a variant's trial. Other settings have a "=" in their labels."""


@dataclass(frozen=True)
class Record:
    """A run's settings and history, without its model."""

    path: Path
    settings: Mapping[str, Any]
    """Values by dotted key, such as "agent.optimiser.lr" or "observation.0.wrapper".

    A trial of a sweep's variant also has the key "variant".
    """
    history: RunHistory
    title: str

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.history.name

    @property
    def env(self) -> str:
        """The environment's id."""
        return str(self.settings.get("env.id"))

    @property
    def seed(self) -> Any:
        """The run's seed; None if its configuration has none."""
        return self.settings.get("seed")


@dataclass(frozen=True)
class Group:
    """Runs that are compared as one."""

    label: str
    settings: Mapping[str, Any]
    """The settings in which this group differs from the others."""
    records: tuple[Record, ...]

    @property
    def envs(self) -> tuple[str, ...]:
        """Ids of its runs' environments."""
        return tuple(sorted({record.env for record in self.records}))


def read_record(folder: Path) -> Record:
    """Read a run's settings and metrics. Raises `RunFolderError` if they are missing or damaged."""
    settings, history = read_settings(folder), read_metrics(folder)
    trial = _TRIAL.fullmatch(history.name)
    variant = {VARIANT: trial[1]} if trial else {}
    return Record(folder, {**variant, **flat(settings)}, history, run_title(settings))


def read_records(runs: Sequence[str | Path], warn: Callable[[str], None]) -> list[Record]:
    """Read the settings and metrics of runs. A folder of runs, or of a sweep, stands for all of them.

    Unreadable runs in a folder of runs are skipped with a warning.

    Raises:
        UserError: there is no such run, or a run that was named itself cannot be read.
    """
    places = {place.resolve() for run in runs for place in (Path(run), Path(run, TRIALS))}
    records = []
    failures = 0
    for folder in find_runs(runs):
        try:
            if folder.shared.exists():
                raise RunFolderError(f"{folder.path.name} is a shared agent, which holds no metrics.")
            records.append(record := read_record(folder.path))
            if record.history.problem:
                warn(record.history.problem)
        except RunFolderError as error:
            if folder.path.resolve().parent not in places:
                raise
            failures += 1
            warn(f"left out: {error}")
    if not records:
        raise UserError(f"none of the {failures} runs there can be read.")
    return records


def group_records(records: Sequence[Record], keys: Sequence[str] = (), *, ignoring: Sequence[str] = ()) -> list[Group]:
    """Group runs. Groups are in the order of their first runs.

    Args:
        records: the runs.
        keys: settings that the runs of a group share: dotted keys, or a unique end of one ("lr"). The key of a part
            means its name ("agent.replay"). "run" makes a group for each run, "all" one group.
            By default, the runs of a group differ only in their seed and in settings without an effect on results,
            such as device, threads, observers and checkpoints.
        ignoring: keys in which the runs of a group may differ too, without `keys`.

    Raises:
        UserError: no run has such a key, or it is ambiguous.
    """
    present = list(dict.fromkeys(key for record in records for key in record.settings))
    if RUN in keys:
        return [Group(label, {}, (record,)) for label, record in zip(_names(records), records, strict=True)]
    if ALL in keys:
        return [Group("all runs", {}, tuple(records))] if records else []
    requested = [_resolve(text, present) for text in keys]
    compared = requested or [key for key in present if has_effect(key) and key not in ignoring]
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        groups.setdefault(tuple(_text(record.settings.get(key)) for key in compared), []).append(record)
    columns = {key: [values[i] for values in groups] for i, key in enumerate(compared)}
    differing = [key for key in compared if len(set(columns[key])) > 1]
    label_keys = requested or _distinctive(differing, columns, len(groups))
    labels = _labels(label_keys, columns, len(groups))
    if not label_keys:
        labels = [_common_label(members) for members in groups.values()]
    return [
        Group(label, {key: members[0].settings.get(key) for key in requested or differing}, tuple(members))
        for label, members in zip(labels, groups.values(), strict=True)
    ]


def has_effect(key: str) -> bool:
    """Return whether a setting can change results systematically. The seed cannot."""
    return not f"{key}.".startswith(tuple(f"{other}." for other in _WITHOUT_EFFECT))


# Settings -------------------------------------------------------------------------------------------------------------


def _resolve(text: str, present: Sequence[str]) -> str:
    """Return the key in `present` that `text` means."""
    name = text.strip()
    for suffix in ("", ".name", ".id", ".wrapper"):
        candidate = f"{name}{suffix}"
        if candidate in present:
            return candidate
        ending = [key for key in present if key.endswith(f".{candidate}")]
        if len(ending) > 1:
            raise UserError(f"--group-by {bad(text)}: {', '.join(ending[:6])} end like that. Give one of them.")
        if ending:
            return ending[0]
    choices = [RUN, ALL, *present, *(key.rsplit(".", 1)[-1] for key in present)]
    hint = did_you_mean(name, choices, " `config.toml` in a run's folder has the keys there are.")
    raise UserError(f"--group-by {bad(text)}: no run has such a key.{hint}")


def _text(value: Any) -> str:
    return "none" if value is None else str(value)


# Labels ---------------------------------------------------------------------------------------------------------------


def _distinctive(differing: Sequence[str], columns: Mapping[str, Sequence[str]], count: int) -> list[str]:
    """Return a few of the differing keys that still distinguish all groups."""

    def rank(key: str) -> tuple[int, int]:
        first = _FIRST.index(key) if key in _FIRST else len(_FIRST) + (not key.endswith((".name", ".wrapper")))
        return first, key.count(".")

    selected: list[str] = []
    distinct = 1
    for key in sorted(differing, key=rank):
        now = len(set(zip(*(columns[k] for k in [*selected, key]), strict=True)))
        if now > distinct:
            selected, distinct = [*selected, key], now
        if distinct == count:
            break
    return selected


def _labels(keys: Sequence[str], columns: Mapping[str, Sequence[str]], count: int) -> list[str]:
    def part(key: str, value: str) -> str:
        return value if key == VARIANT and value != _text(None) else f"{short_key(key, keys)}={value}"

    return [", ".join(part(key, columns[key][i]) for key in keys) for i in range(count)]


def short_key(key: str, others: Sequence[str]) -> str:
    """Return the shortest end of a key that none of `others` has: "agent.optimiser.lr" -> "lr"."""
    steps = _subject(key)
    for n in range(1, len(steps)):
        alike = any(other != key and _subject(other)[-n:] == steps[-n:] for other in others)
        if not steps[-n].isdigit() and not alike:
            return ".".join(steps[-n:])
    return ".".join(steps)


def _subject(key: str) -> list[str]:
    """Split a key at its dots, without the ".name" of a part."""
    steps = key.split(".")
    return steps[:-1] if len(steps) > 1 and steps[-1] in ("name", "id", "wrapper") else steps


def _common_label(members: Sequence[Record]) -> str:
    """Return a label for the only group."""
    if len(members) == 1:
        return members[0].name
    labels = {"env.id": "{}", "obs": "{}", "preset": "preset {}"}
    values = {key: members[0].settings.get(key) for key in labels}
    return ", ".join(labels[key].format(value) for key, value in values.items() if value)


def _names(records: Sequence[Record]) -> list[str]:
    """Return the folders' names. Names that repeat get the parent folder, or the whole path."""
    paths = [record.path.resolve() for record in records]
    names = [record.name for record in records]
    longer = ["/".join(path.parts[-2:]) for path in paths]
    if len(set(longer)) < len(paths):
        longer = [str(path) for path in paths]
    return [short if names.count(short) == 1 else long for short, long in zip(names, longer, strict=True)]
