"""The events in a run's `metrics.jsonl`. All readers of that file use this module.

* `read_events`: all events. `flat_row`, `columns`: make tables of them.
* `read_figures`: a run's progress and scores, in about a millisecond, even while the run writes.
* `training_seconds`: the training time at a step.

An incomplete last line (a crash, or a write under way) is skipped. So are damaged lines, which `problem` names.
`read_figures` parses few lines, and sees only whether the others are whole. Neither torch nor NumPy is imported here.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cartpole_dqn.errors import RunFolderError
from cartpole_dqn.files import open_regular, reason
from cartpole_dqn.system import available_bytes
from cartpole_dqn.text import figures

Event = Mapping[str, Any]

_DAMAGE = (ValueError, TypeError, KeyError, OverflowError, RecursionError)
"""What a damaged line raises."""
_SHOWN = 3
_LARGE = 64 << 20
"""Bytes from which it takes less time to ask for the memory that is left than to read them."""
_EPISODE = b'"event":"episode"'


@dataclass(frozen=True, kw_only=True)
class RunFigures:
    """A run's progress and scores from its `metrics.jsonl`. Unknown values are None."""

    step: int = 0
    """Environment steps taken."""
    episode: int = 0
    """Episodes ended."""
    last: float | None = None
    """Mean return of the last evaluation."""
    best: float | None = None
    """Mean return of the model in `best/`: from its confirmation if it has one, else from its evaluation."""
    best_step: int | None = None
    solved_step: int | None = None
    """The step of the first confirmed model."""
    solved_seconds: float | None = None
    """Training seconds until `solved_step`, without evaluations and checkpoints."""
    problem: str | None = None
    """What is wrong with the folder or its metrics, as a sentence."""


def read_events(folder: Path) -> tuple[list[Event], str | None]:
    """Return all events in the run's folder in order, including unknown ones, and a sentence if lines are damaged.

    Raises:
        RunFolderError: the file is missing, or every line is damaged.
    """
    path = _file(folder)
    text = _read(path)
    if text is None:
        raise RunFolderError(f"{path} is missing: the run writes no metrics, or has not begun.")
    sound, problem = _sound_lines(path, text)
    return [event for _, event in sound], problem


def read_figures(folder: Path) -> RunFigures:
    """Return what a listing shows. A missing file gives unknown values.

    Raises:
        RunFolderError: the file cannot be read, or every line is damaged.
    """
    path = _file(folder)
    text = _read(path)
    if text is None:
        return RunFigures()
    with contextlib.suppress(*_DAMAGE):
        # Every line begins and ends as an event does: torn ones are found without parsing.
        if text.count(b'}\n{"event":"') >= text.count(b"\n") - 1:
            return RunFigures(**_figures(text.split(b"\n")[:-1]))
    sound, problem = _sound_lines(path, text)
    return RunFigures(**_figures([line for line, _ in sound]), problem=problem)


def flat_row(event: Event) -> dict[str, Any]:
    """Return an event with the tables in it as keys of its own, such as "status.epsilon"."""
    row: dict[str, Any] = {}
    for key, value in event.items():
        row |= {f"{key}.{inner}": v for inner, v in value.items()} if isinstance(value, Mapping) else {key: value}
    return row


def columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return rows as a dictionary of NumPy arrays. Missing values are NaN in columns of numbers, else None."""
    import numpy as np

    arrays = {}
    for key in dict.fromkeys(key for row in rows for key in row):
        values = [row.get(key) for row in rows]
        numbers = all(value is None or isinstance(value, bool | int | float) for value in values)
        if numbers:
            values = [math.nan if value is None else value for value in values]
        arrays[key] = np.array(values, dtype=None if numbers else object)
    return arrays


def training_seconds(step: float, *points: tuple[float, float]) -> float:
    """Return the training seconds at an environment step by linear interpolation; NaN without `points`.

    Args:
        step: the environment step.
        points: (step, seconds) of the last episode end before, and of the next known point. Without a next point, the
            average speed so far is assumed.
    """
    if not points:
        return math.nan
    (before, seconds), (after, then) = ((0.0, 0.0), *points)[-2:]
    if step >= after:
        return float(then * (step / after))
    return float(seconds + (then - seconds) * (step - before) / (after - before))


def _file(folder: Path) -> Path:
    return folder / "metrics.jsonl"


def _read(path: Path) -> bytes | None:
    """Return the file's content; None if it is missing. Raises `RunFolderError`."""
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > _LARGE and size > available_bytes():
                raise OSError(errno.EFBIG, f"it has {figures.size(size)}, more than the memory that is left")
            # Not memory-mapped: a resuming run truncates the file, and access to a missing page ends the process.
            return file.readall()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read: {reason(error)}.") from error


def _sound_lines(path: Path, text: bytes) -> tuple[list[tuple[bytes, Event]], str | None]:
    """Return the lines that can be read with their events, and a sentence if others cannot."""
    sound, damaged = [], []
    for number, line in enumerate(text.split(b"\n")[:-1], start=1):
        try:
            if line.strip():
                sound.append((line, _event(line)))
        except _DAMAGE:
            damaged.append(str(number))
    if not damaged:
        return sound, None
    if not sound:
        raise RunFolderError(f"{path} is not what the observer 'metrics' writes: none of its lines can be read.")
    if len(damaged) == 1:
        return sound, f"{path}: line {damaged[0]} is damaged and left out."
    more = f" and {len(damaged) - _SHOWN} more" if len(damaged) > _SHOWN else ""
    return sound, f"{path}: lines {', '.join(damaged[:_SHOWN])}{more} are damaged and left out."


def _figures(lines: Sequence[bytes]) -> dict[str, Any]:
    """Find the few lines that matter. Parsing every line takes a hundred times as long."""
    values: dict[str, Any] = {}
    if lines:
        values["step"] = int(_event(lines[-1]).get("step") or 0)
    if episode := _find(reversed(lines), _EPISODE):
        values["episode"] = int(episode.get("episode", 0))
    if evaluation := _find(reversed(lines), b'"stream":"select"'):
        values["last"] = _mean(evaluation)
    if best := _find(reversed(lines), b'"best":true}'):
        values["best"], values["best_step"] = _mean(best), int(best["step"])
    for place, line in enumerate(lines):
        if not (confirmation := _marked(line, b'"stream":"confirm"')):
            continue
        if int(confirmation["step"]) == values.get("best_step"):
            values["best"] = _mean(confirmation)
        if confirmation.get("best") and "solved_step" not in values:
            values["solved_step"] = step = int(confirmation["step"])
            seconds = training_seconds(step, *_known_around(lines, place))
            values["solved_seconds"] = seconds if math.isfinite(seconds) else None
    return values


def _known_around(lines: Sequence[bytes], place: int) -> list[tuple[float, float]]:
    """Return (step, seconds) of the last episode before `place`, and of the next one or of the run's end."""
    later = lines[place:]
    events = [_find(lines[place::-1], _EPISODE), _find(later, _EPISODE) or _find(later, b'"event":"run_ended"')]
    return [(float(event["step"]), float(event.get("seconds", math.nan))) for event in events if event]


def _find(lines: Iterable[bytes], mark: bytes) -> Event | None:
    """Return the first event with `mark`."""
    return next((event for line in lines if (event := _marked(line, mark))), None)


def _marked(line: bytes, mark: bytes) -> Event | None:
    """Return the event in a line that contains `mark`. Marks that name no event are those of evaluations."""
    if mark not in line:
        return None
    event = _event(line)
    # A part's own figure may be called "best" too.
    return event if mark.startswith(b'"event"') or event.get("event") == "evaluation" else None


def _event(line: bytes) -> Event:
    """Return the event in a line. Raises one of `_DAMAGE` if the observer 'metrics' writes no such line."""
    event = json.loads(line)
    if not isinstance(event, dict):
        raise TypeError("expected a JSON object")
    if event.get("event") in ("episode", "evaluation", "run_ended"):
        for count in (event["step"], event.get("episode", 0)):
            int(count)
        returns = event["returns"] if event["event"] == "evaluation" else ()
        for figure in (event.get("mean"), event.get("seconds"), *returns):
            float(figure or 0)
    return event


def _mean(evaluation: Event) -> float | None:
    mean = evaluation.get("mean")
    return None if mean is None else float(mean)
