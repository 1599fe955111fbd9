"""The events in a run's `metrics.jsonl`, which everybody reads through here.

* `read_events`: all of them.
* `read_figures`: what a listing shows of them, in about a millisecond.

A last line that was torn by a crash, or is being written, is left out. Neither torch nor NumPy is imported here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypedDict

from cartpole_dqn.errors import RunFolderError
from cartpole_dqn.files import open_regular, reason

Event = Mapping[str, Any]


class Figures(TypedDict, total=False):
    """What a listing shows; what is not known is absent."""

    step: int
    """Environment steps at the last event."""
    best: float | None
    """Mean return of the model in `best/`: in its confirmation where it has one, else when it was selected."""
    best_step: int
    solved_step: int
    """Where a model was first confirmed."""


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


def read_figures(folder: Path) -> Figures:
    """Return what a listing shows; nothing where the file is missing.

    Raises:
        RunFolderError: the file cannot be read, or is damaged.
    """
    path = _file(folder)
    try:
        with open_regular(path) as file:
            # Read, not mapped: a run that resumes cuts the file, and a page that is gone would end this process.
            return _figures(file.readall())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read: {reason(error)}.") from error
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        raise RunFolderError(f"{path} is not what the observer 'metrics' writes.") from None


def _file(folder: Path) -> Path:
    return folder / "metrics.jsonl"


def _figures(text: bytes) -> Figures:
    """Look for the few lines that matter, from the end: parsing every line would take a hundred times as long."""
    figures: Figures = {}
    end = text.rfind(b"\n")
    if end >= 0:
        figures["step"] = int(_event(text[text.rfind(b"\n", 0, end) + 1 : end]).get("step", 0))
    best = next(_marked(text, b'"best":true}', backwards=True), None)
    if best is not None:
        figures["best"], figures["best_step"] = _mean(best), int(best["step"])
    for confirmation in _marked(text, b'"stream":"confirm"'):
        if int(confirmation["step"]) == figures.get("best_step"):
            figures["best"] = _mean(confirmation)
        if confirmation.get("best") and "solved_step" not in figures:
            figures["solved_step"] = int(confirmation["step"])
    return figures


def _marked(text: bytes, mark: bytes, *, backwards: bool = False) -> Iterator[Event]:
    """Yield the whole lines that are evaluations and hold `mark`."""
    place = text.rfind(mark) if backwards else text.find(mark)
    while place >= 0:
        start, end = text.rfind(b"\n", 0, place) + 1, text.find(b"\n", place)
        if end >= 0:
            event = _event(text[start:end])
            if event.get("event") == "evaluation":
                yield event
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
