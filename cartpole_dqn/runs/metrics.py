"""The events in a run's `metrics.jsonl`, which everybody reads through here.

* `read_events`: all of them.
* `read_figures`: how far a run is and how good it is, in about a millisecond, also while it writes.
* `training_seconds`: how long a run trained up to a step.

A last line that was torn by a crash, or is being written, is left out. Neither torch nor NumPy is imported here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cartpole_dqn.errors import RunFolderError
from cartpole_dqn.files import open_regular, reason

Event = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class RunFigures:
    """How far a run is and how good it is, by its `metrics.jsonl`. What is not known is None."""

    step: int = 0
    """Environment steps taken."""
    episode: int = 0
    """Episodes ended."""
    last: float | None = None
    """Mean return of the last evaluation."""
    best: float | None = None
    """Mean return of the model in `best/`: in its confirmation where it has one, else when it was selected."""
    best_step: int | None = None
    solved_step: int | None = None
    """Where a model was first confirmed."""
    solved_seconds: float | None = None
    """Training seconds until then, without evaluations and checkpoints."""


def read_events(folder: Path) -> list[Event]:
    """Return every event in the run's folder, in order; unknown ones too.

    Raises:
        RunFolderError: the file is missing, or a line is damaged.
    """
    path = _file(folder)
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        raise RunFolderError(f"{path} is missing: the run kept no metrics, or has not begun.") from None
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read: {reason(error)}.") from error
    events = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                events.append(_event(line))
            except (ValueError, TypeError, RecursionError):
                raise RunFolderError(f"{path}, line {number}: expected a JSON object, got {line[:60]!r}.") from None
    return events


def read_figures(folder: Path) -> RunFigures:
    """Return what a listing shows; nothing is known where the file is missing.

    Raises:
        RunFolderError: the file cannot be read, or is damaged.
    """
    path = _file(folder)
    try:
        with open_regular(path) as file:
            # Read, not mapped: a run that resumes cuts the file, and a page that is gone would end this process.
            return RunFigures(**_figures(file.readall()))
    except FileNotFoundError:
        return RunFigures()
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read: {reason(error)}.") from error
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        raise RunFolderError(f"{path} is not what the observer 'metrics' writes.") from None


def training_seconds(step: float, *known: tuple[float, float]) -> float:
    """Return the training seconds at an environment step, in proportion between what is known; NaN for nothing.

    Args:
        step: where.
        known: (step, seconds) of the episode that ended last before, and of what is known next. Where nothing comes
            next, the run is taken to go on at the speed that it had.
    """
    if not known:
        return math.nan
    (before, seconds), (after, then) = ((0.0, 0.0), *known)[-2:]
    if step >= after:
        return float(then * (step / after))
    return float(seconds + (then - seconds) * (step - before) / (after - before))


def _file(folder: Path) -> Path:
    return folder / "metrics.jsonl"


def _figures(text: bytes) -> dict[str, Any]:
    """Look for the few lines that matter, from the end: parsing every line would take a hundred times as long."""
    figures: dict[str, Any] = {}
    # What comes after the last newline is torn, or being written.
    end = text.rfind(b"\n")
    if end >= 0:
        figures["step"] = int(_event(text[text.rfind(b"\n", 0, end) + 1 : end]).get("step", 0))
    for _, episode in _marked(text, b'"event":"episode"', backwards=True):
        figures["episode"] = int(episode.get("episode", 0))
        break
    for _, evaluation in _marked(text, b'"stream":"select"', backwards=True):
        figures["last"] = _mean(evaluation)
        break
    for _, best in _marked(text, b'"best":true}', backwards=True):
        figures["best"], figures["best_step"] = _mean(best), int(best["step"])
        break
    for place, confirmation in _marked(text, b'"stream":"confirm"'):
        if int(confirmation["step"]) == figures.get("best_step"):
            figures["best"] = _mean(confirmation)
        if confirmation.get("best") and "solved_step" not in figures:
            figures["solved_step"] = step = int(confirmation["step"])
            seconds = training_seconds(step, *_known_around(text, place))
            figures["solved_seconds"] = seconds if math.isfinite(seconds) else None
    return figures


def _known_around(text: bytes, place: int) -> list[tuple[float, float]]:
    """Return (step, seconds) of the last episode before `place`, and of the next, or of the run's end."""
    mark = b'"event":"episode"'
    before = next(_marked(text[:place], mark, backwards=True), None)
    after = next(_marked(text[place:], mark), None) or next(_marked(text[place:], b'"event":"run_ended"'), None)
    events = [found[1] for found in (before, after) if found]
    return [(float(event["step"]), float(event.get("seconds", math.nan))) for event in events]


def _marked(text: bytes, mark: bytes, *, backwards: bool = False) -> Iterator[tuple[int, Event]]:
    """Yield the whole lines that hold `mark`, each with its place."""
    place = text.rfind(mark) if backwards else text.find(mark)
    while place >= 0:
        start, end = text.rfind(b"\n", 0, place) + 1, text.find(b"\n", place)
        if end >= 0:
            event = _event(text[start:end])
            # Figures of a part, too, may be called "best".
            if mark.startswith(b'"event"') or event.get("event") == "evaluation":
                yield start, event
        elif not backwards:
            return
        place = text.rfind(mark, 0, start) if backwards else text.find(mark, end)


def _event(line: bytes) -> Event:
    event = json.loads(line)
    if not isinstance(event, dict):
        raise TypeError("expected a JSON object")
    return event


def _mean(evaluation: Event) -> float | None:
    mean = evaluation.get("mean")
    return None if mean is None else float(mean)
