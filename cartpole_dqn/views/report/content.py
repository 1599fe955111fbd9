"""The content of a report: `Report`, and its parts `Curves`, `Difference`, `Play`, `Look`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cartpole_dqn.contracts.events import Evaluation
from cartpole_dqn.runs.catalogue import RunSummary
from cartpole_dqn.runs.history import RunHistory
from cartpole_dqn.views.preview import Stage


@dataclass(frozen=True)
class Curves:
    """The same curves for a light page and a dark one, and the same again for a narrow screen."""

    kind: str
    """Their media type."""
    light: bytes
    dark: bytes
    narrow_light: bytes
    narrow_dark: bytes


@dataclass(frozen=True)
class Difference:
    """A setting that differs from the preset; None for a missing key."""

    key: str
    here: Any
    preset: Any


@dataclass(frozen=True)
class Play:
    """An episode as a GIF."""

    gif: bytes
    steps: int
    total: float
    """The undiscounted rewards of these steps."""
    cut: bool
    """Whether the episode continued."""


@dataclass(frozen=True)
class Look:
    """Where the value of an action comes from, as PNGs for a light page and a dark one."""

    light: bytes
    dark: bytes
    step: int
    """Of the episode."""
    action: str
    """The chosen one."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """A run's data. Unknown fields are None or empty, and `missing` gives the reasons."""

    name: str
    place: str
    """The folder's name in commands."""
    title: str
    summary: RunSummary
    settings: Mapping[str, Any]
    config_text: str
    environment: Mapping[str, Any]
    missing: tuple[str, ...]
    now: float
    """The time of the report, in seconds since the epoch."""
    seed: int
    """Of the report seeds."""
    history: RunHistory | None = None
    curves: Curves | None = None
    differences: tuple[Difference, ...] | None = None
    components: Mapping[str, str] = field(default_factory=dict)
    changed: tuple[str, ...] = ()
    """Differences between the run's machine and this one: "torch 2.14.0 is now 2.15.0"."""
    solved_at: float | None = None
    stages: tuple[Stage, ...] = ()
    names: tuple[str, ...] = ()
    """Names of the observed numbers, if they have any."""
    which: str = ""
    """The model that plays: "best" or "last"."""
    evaluation: Evaluation | None = None
    play: Play | None = None
    progress: bytes | None = None
    """One episode with models of several stages, as a GIF."""
    look: Look | None = None
