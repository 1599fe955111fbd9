"""Which runs belong together: those that differ in nothing but the seed, or those that share what is asked for.

* `Record`: a run's folder, its settings under dotted keys, and its history.
* `read_record`: a run folder -> `Record`.
* `group_records`: records -> `Group`s, each with a label that says what sets it apart.
* `has_effect`: whether a setting matters for that.
* `short_key`: a dotted key without what need not be said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cartpole_dqn.errors import UserError, did_you_mean
from cartpole_dqn.runs.catalogue import read_settings, run_title
from cartpole_dqn.runs.history import RunHistory, read_metrics
from cartpole_dqn.text.tables import flat

RUN, ALL, VARIANT = "run", "all", "variant"
"""What `--group-by` takes besides keys of the configuration: each run by itself, all of them, a sweep's variants."""
VARIANT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")

_WITHOUT_EFFECT = ("seed", "device", "threads", "observer", "checkpoint", "env.vector", "env.step_timeout")
"""Keys that change no result, or none but by chance."""
_FIRST = (VARIANT, "env.id", "obs", "preset", "agent.name")
"""What a label says rather than anything else, where it is enough to tell the groups apart."""
_TRIAL = re.compile(f"({VARIANT_NAME.pattern}),seed=[0-9]+")
"""The folder of a variant's trial. Others have a `=` before the seed, or nothing."""


@dataclass(frozen=True)
class Record:
    """A run, as far as its folder tells without loading its model."""

    path: Path
    settings: Mapping[str, Any]
    """Values by dotted key: "agent.optimiser.lr"; a wrapper's options by "observation.0.wrapper" and so on.

    A trial of a sweep's variant has its name by "variant".
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
        """The run's seed, None where its configuration has none."""
        return self.settings.get("seed")


@dataclass(frozen=True)
class Group:
    """Runs that stand for the same thing, with other seeds."""

    label: str
    settings: Mapping[str, Any]
    """The keys that set this group apart from the others, with its values."""
    records: tuple[Record, ...]

    @property
    def envs(self) -> tuple[str, ...]:
        """The environments of its runs."""
        return tuple(sorted({record.env for record in self.records}))


def read_record(folder: Path) -> Record:
    """Read a run's settings and metrics.

    Raises:
        RunFolderError: one of them is missing or damaged.
    """
    settings, history = read_settings(folder), read_metrics(folder)
    trial = _TRIAL.fullmatch(history.name)
    named = {VARIANT: trial[1]} if trial else {}
    return Record(folder, {**named, **flat(settings)}, history, run_title(settings))


def group_records(records: Sequence[Record], keys: Sequence[str] = ()) -> list[Group]:
    """Put runs into groups, in the order in which the first of each comes.

    Args:
        records: the runs.
        keys: what the runs of a group share: dotted keys, or as much of their end as is unique ("lr"); a part's key
            means its name ("agent.replay"); "variant" is that of a sweep. "run" puts each run into a group of its own,
            "all" all of them into one.
            Without any, runs are together that differ only in their seed, or in what has no effect on the result:
            device, threads, observers, checkpoints, how environments share processes.

    Raises:
        UserError: a key that no run has, or that means several.
    """
    present = list(dict.fromkeys(key for record in records for key in record.settings))
    if RUN in keys:
        return [Group(label, {}, (record,)) for label, record in zip(_names(records), records, strict=True)]
    if ALL in keys:
        return [Group("all runs", {}, tuple(records))] if records else []
    chosen = [_resolve(text, present) for text in keys]
    compared = chosen or [key for key in present if has_effect(key)]
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        groups.setdefault(tuple(_text(record.settings.get(key)) for key in compared), []).append(record)
    columns = {key: [values[i] for values in groups] for i, key in enumerate(compared)}
    differing = [key for key in compared if len(set(columns[key])) > 1]
    told = chosen or _telling(differing, columns, len(groups))
    labels = _labels(told, columns, len(groups))
    if not told:
        labels = [_common_label(members) for members in groups.values()]
    return [
        Group(label, {key: members[0].settings.get(key) for key in chosen or differing}, tuple(members))
        for label, members in zip(labels, groups.values(), strict=True)
    ]


def has_effect(key: str) -> bool:
    """Return whether a setting changes results otherwise than by chance; the seed does not."""
    return not f"{key}.".startswith(tuple(f"{other}." for other in _WITHOUT_EFFECT))


# Settings -------------------------------------------------------------------------------------------------------------


def _resolve(text: str, present: Sequence[str]) -> str:
    """Return the key that `text` means, of those that there are."""
    meant = text.strip()
    for suffix in ("", ".name", ".id", ".wrapper"):
        wanted = f"{meant}{suffix}"
        if wanted in present:
            return wanted
        ending = [key for key in present if key.endswith(f".{wanted}")]
        if len(ending) > 1:
            raise UserError(f"--group-by {text}: {', '.join(ending[:6])} end like that. Give one of them.")
        if ending:
            return ending[0]
    known = [RUN, ALL, *present, *(key.rsplit(".", 1)[-1] for key in present)]
    near = did_you_mean(meant, known)
    near = near if near.startswith(" Did") else " `config.toml` in a run's folder has the keys there are."
    raise UserError(f"--group-by {text}: no run has such a key.{near}")


def _text(value: Any) -> str:
    return "none" if value is None else str(value)


# Labels ---------------------------------------------------------------------------------------------------------------


def _telling(differing: Sequence[str], columns: Mapping[str, Sequence[str]], count: int) -> list[str]:
    """Return few of the keys that differ, which still tell all groups apart."""

    def rank(key: str) -> tuple[int, int]:
        first = _FIRST.index(key) if key in _FIRST else len(_FIRST) + (not key.endswith((".name", ".wrapper")))
        return first, key.count(".")

    told: list[str] = []
    apart = 1
    for key in sorted(differing, key=rank):
        now = len(set(zip(*(columns[k] for k in [*told, key]), strict=True)))
        if now > apart:
            told, apart = [*told, key], now
        if apart == count:
            break
    return told


def _labels(keys: Sequence[str], columns: Mapping[str, Sequence[str]], count: int) -> list[str]:
    def told(key: str, value: str) -> str:
        return value if key == VARIANT and value != _text(None) else f"{short_key(key, keys)}={value}"

    return [", ".join(told(key, columns[key][i]) for key in keys) for i in range(count)]


def short_key(key: str, others: Sequence[str]) -> str:
    """Return as much of a key's end as tells it from the others: "agent.optimiser.lr" -> "lr"."""
    steps = _subject(key)
    for n in range(1, len(steps)):
        alike = any(other != key and _subject(other)[-n:] == steps[-n:] for other in others)
        if not steps[-n].isdigit() and not alike:
            return ".".join(steps[-n:])
    return ".".join(steps)


def _subject(key: str) -> list[str]:
    """Return the steps of a key; where it is a part's name, those of the part."""
    steps = key.split(".")
    return steps[:-1] if len(steps) > 1 and steps[-1] in ("name", "id", "wrapper") else steps


def _common_label(members: Sequence[Record]) -> str:
    """Return a label for the only group."""
    if len(members) == 1:
        return members[0].name
    settings = members[0].settings
    told = [str(settings[key]) for key in ("env.id", "obs") if settings.get(key)]
    return ", ".join([*told, *([f"preset {settings['preset']}"] if settings.get("preset") else [])])


def _names(records: Sequence[Record]) -> list[str]:
    """Return the folders' names, with the folder above, or all of the path, where two are alike."""
    paths = [record.path.resolve() for record in records]
    names = [record.name for record in records]
    longer = ["/".join(path.parts[-2:]) for path in paths]
    if len(set(longer)) < len(paths):
        longer = [str(path) for path in paths]
    return [short if names.count(short) == 1 else long for short, long in zip(names, longer, strict=True)]
