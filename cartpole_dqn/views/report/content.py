"""The content of a report: `Report`, and its parts.

* `Play`, `Look`: an episode, and a moment of it. `Shown`: a picture for any screen.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from cartpole_dqn.contracts.events import Evaluation
from cartpole_dqn.envs.stages import Stage
from cartpole_dqn.errors import error_line
from cartpole_dqn.runs.catalogue import RunSummary
from cartpole_dqn.runs.folder import RunFolder
from cartpole_dqn.runs.history import RunHistory
from cartpole_dqn.runs.saved import Which
from cartpole_dqn.views.record import Recording


@dataclass(frozen=True)
class Shown:
    """A picture that follows the reader's screen."""

    kind: str
    """Its media type."""
    data: bytes
    others: tuple[tuple[str, bytes, str], ...]
    """What replaces it: media type, picture, and the CSS media query of the readers who see it instead."""


class Play(NamedTuple):
    """Episodes as an animation."""

    film: Shown
    recording: Recording


@dataclass(frozen=True)
class Look:
    """Where the value of an action comes from."""

    shown: Shown
    step: int
    """Of the episode."""
    action: str
    """The chosen one."""


@dataclass(kw_only=True)
class Report:
    """A run's data. Unknown parts stay None or empty, and `missing` gives the reasons."""

    folder: RunFolder
    summary: RunSummary
    settings: Mapping[str, Any]
    config_text: str
    environment: Mapping[str, Any]
    now: float
    """The time of the report, in seconds since the epoch."""
    seed: int
    """Selects the held-out seeds, as in `evaluate`."""
    which: Which = "best"
    """The model that plays: "best" or "last"."""
    missing: list[str] = field(default_factory=list)
    history: RunHistory | None = None
    curves: Shown | None = None
    differences: list[tuple[str, Any, Any]] | None = None
    """Settings that differ from the preset: key, here, in the preset. A missing key has None."""
    components: Mapping[str, str] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    """Differences between the run's machine and this one: "torch 2.14.0 is now 2.15.0"."""
    stages: Sequence[Stage] = ()
    """What the agent sees."""
    evaluation: Evaluation | None = None
    play: Play | None = None
    """An episode of the model."""
    progress: Play | None = None
    """One episode with models of several stages."""
    look: Look | None = None

    @property
    def name(self) -> str:
        return self.folder.path.resolve().name

    @property
    def place(self) -> str:
        """The folder in commands: relative to the current one, or only its name if it lies elsewhere."""
        path = self.folder.path.resolve()
        return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else path.name

    @contextlib.contextmanager
    def or_say(self, what: str) -> Iterator[None]:
        """Catch any error inside the block and list `what` as missing: an environment may raise anything."""
        try:
            yield
        except Exception as error:
            self.say(f"{what}: {error_line(error)}")

    def say(self, text: str) -> None:
        """List a sentence under `missing`, without this machine's paths: pages are passed on."""
        self.missing.append(text.replace(str(self.folder.path), self.name))
