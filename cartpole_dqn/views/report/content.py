"""What stands on a report: `Report`, and its parts `Curves`, `Difference`, `Play`."""

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
    """The same curves for a light page and a dark one."""

    light: bytes
    dark: bytes
    kind: str
    """Their media type."""


@dataclass(frozen=True)
class Difference:
    """A setting that is not the preset's; None where one of them has no such key."""

    key: str
    here: Any
    preset: Any


@dataclass(frozen=True)
class Play:
    """An episode as a GIF."""

    gif: bytes
    steps: int
    total: float
    """Rewards of these steps, undiscounted."""
    cut: bool
    """Whether the episode went on."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What is known of a run; what is None or empty is not, and `missing` says why."""

    name: str
    place: str
    """How commands name the folder."""
    title: str
    summary: RunSummary
    settings: Mapping[str, Any]
    config_text: str
    environment: Mapping[str, Any]
    missing: tuple[str, ...]
    now: float
    """When the page was made, in seconds since the epoch."""
    seed: int
    """Which report seeds."""
    history: RunHistory | None = None
    curves: Curves | None = None
    differences: tuple[Difference, ...] | None = None
    components: Mapping[str, str] = field(default_factory=dict)
    changed: tuple[str, ...] = ()
    """What is otherwise on the machine that made the page: "torch 2.14.0 is now 2.15.0"."""
    solved_at: float | None = None
    stages: tuple[Stage, ...] = ()
    names: tuple[str, ...] = ()
    """Of the numbers that the agent observes, where they have any."""
    which: str = ""
    """The model that plays: "best" or "last"."""
    evaluation: Evaluation | None = None
    play: Play | None = None
