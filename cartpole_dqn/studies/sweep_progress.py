"""How far a trial is, read from its run folder while another process, or another machine, writes there.

* `ProgressReader`: reads on in `metrics.jsonl` from where it was; `TrialProgress`: what it found.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cartpole_dqn.files import open_regular

_LARGEST = 1 << 24
"""Bytes that one look takes in at most."""


@dataclass(frozen=True)
class TrialProgress:
    """How far a trial is. What is not known is None."""

    step: int = 0
    """Environment steps taken."""
    episode: int = 0
    """Episodes ended."""
    last: float | None = None
    """Mean return of the last evaluation."""
    best: float | None = None
    """Mean return of the model in `best/`: in its confirmation where it has one, else when it was selected."""


class ProgressReader:
    """Follows one run folder. What is missing or damaged there is no error: it is not known yet."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "metrics.jsonl"
        self._place = 0
        self._progress = TrialProgress()
        self._best_step = -1

    def read(self) -> TrialProgress:
        """Return what the folder tells now. A file that is shorter than before, as after a resume, is read anew."""
        try:
            with open_regular(self._path) as file:
                length = file.seek(0, 2)
                if length < self._place:
                    self.__init__(self._path.parent)  # type: ignore[misc]
                file.seek(self._place)
                data = file.read(_LARGEST)
        except OSError:
            return self._progress
        end = data.rfind(b"\n") + 1  # what comes after it is being written
        self._place += end
        for line in data[:end].splitlines():
            try:
                self._hear(json.loads(line))
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                continue
        return self._progress

    def _hear(self, event: dict[str, Any]) -> None:
        self._progress = replace(self._progress, step=max(self._progress.step, int(event["step"])))
        if event["event"] == "episode":
            self._progress = replace(self._progress, episode=int(event["episode"]))
        if event["event"] == "evaluation" and event["mean"] is not None:
            mean, confirms = float(event["mean"]), event.get("stream") == "confirm"
            if not confirms:
                self._progress = replace(self._progress, last=mean)
            # A confirmation has the better figure of the model that was just selected, passed or not.
            if event.get("best") or (confirms and int(event["step"]) == self._best_step):
                self._best_step = int(event["step"])
                self._progress = replace(self._progress, best=mean)
