"""What there is to say of a run in a line, read from its folder in about a millisecond.

* `list_runs`: every run in a folder -> `RunSummary`, those started or resumed last first.
* `summarise_run`: one of them.
* `read_settings`: a run's `config.toml` as a plain table, unchecked; `run_title` makes a title of one.

Nothing here raises for a folder that is broken: the summary says what is wrong with it. No torch is imported.
"""

from __future__ import annotations

import contextlib
import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cartpole_dqn.errors import RunFolderError
from cartpole_dqn.files import open_regular, reason
from cartpole_dqn.runs.catalogue import started_at
from cartpole_dqn.runs.folder import RunFolder, run_state

RunState = Literal["running", "done", "interrupted", "failed", "killed", "unknown", "broken"]

_LARGEST_CONFIG = 1 << 20


@dataclass(frozen=True)
class RunSummary:
    """A run in a line. What is not known is None."""

    name: str
    path: Path
    state: RunState
    problem: str | None = None
    """What is wrong with the folder, as a sentence."""
    started: float | None = None
    """When it was started or resumed last, in seconds since the epoch."""
    env: str | None = None
    obs: str | None = None
    preset: str | None = None
    agent: str | None = None
    seed: int | None = None
    step: int = 0
    """Environment steps taken."""
    steps: int | None = None
    """Environment steps that it is to take, where these bound it."""
    best: float | None = None
    """Mean return of the model in `best/`: in its confirmation where it has one, else when it was selected."""
    best_step: int | None = None
    solved_step: int | None = None
    """Where a model was first confirmed."""


def list_runs(root: Path) -> list[RunSummary]:
    """Return the runs directly in `root`: those started or resumed last first, at the end those without a config.

    Folders that hold nothing of a run are left out.

    Raises:
        RunFolderError: `root` is missing, no folder, or cannot be read.
    """
    try:
        with os.scandir(root) as entries:
            folders = [Path(entry.path) for entry in entries if entry.is_dir()]
    except OSError as error:
        raise RunFolderError(f"the runs in {root} cannot be listed: {reason(error)}.") from error
    summaries = [summarise_run(folder) for folder in folders if _looks_like_a_run(folder)]
    return sorted(summaries, key=lambda run: (run.started or 0.0, run.name), reverse=True)


def summarise_run(folder: Path) -> RunSummary:
    """Return what there is to say of the run in `folder`; never raises for what is wrong there."""
    name, started = folder.name, started_at(folder) or None
    try:
        settings = read_settings(folder)
        env, agent = _table(settings, "env"), _table(settings, "agent")
        if not isinstance(env.get("id"), str):
            raise RunFolderError(f"{folder / 'config.toml'} is not the configuration of a run: it has no env.id.")
    except RunFolderError as error:
        return RunSummary(name, folder, "broken", str(error), started)
    status = run_state(folder)
    figures, problem = _figures(folder)
    return RunSummary(
        name=name,
        path=folder,
        state=status.state,
        problem=problem,
        started=started,
        env=env["id"],
        obs=_kept(settings, "obs", str),
        preset=_kept(settings, "preset", str) or None,
        agent=_kept(agent, "name", str),
        seed=_kept(settings, "seed", int),
        step=max(status.step, figures.pop("step", 0)),
        steps=_kept(settings, "steps", int),
        **figures,
    )


def read_settings(folder: Path) -> dict[str, Any]:
    """Return the table in the `config.toml` of the run in `folder`, as it stands there.

    Raises:
        RunFolderError: it is missing, cannot be read, or is no TOML.
    """
    path = folder / "config.toml"
    try:
        with open_regular(path) as file:
            data = file.read(_LARGEST_CONFIG)
        return tomllib.loads(data.decode())
    except FileNotFoundError:
        raise RunFolderError(f"{folder} holds no config.toml.") from None
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read: {reason(error)}.") from error
    except UnicodeDecodeError:
        raise RunFolderError(f"{path} is not UTF-8 text.") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise RunFolderError(f"{path} is not valid TOML: {error}.") from None


def run_title(settings: Mapping[str, Any]) -> str:
    """Return what stands above a run's pictures: "dqn on CartPole-v1, pixels, preset pixels, seed 0"."""
    preset = f", preset {settings['preset']}" if settings.get("preset") else ""
    agent, env = _table(settings, "agent").get("name"), _table(settings, "env").get("id")
    return f"{agent} on {env}, {settings.get('obs')}{preset}, seed {settings.get('seed')}"


def _looks_like_a_run(folder: Path) -> bool:
    run = RunFolder(folder)
    files = (run.config, run.metrics_jsonl, run.environment, run.status, run.checkpoint)
    with contextlib.suppress(OSError):
        return any(os.path.lexists(file) for file in files)
    return False


def _figures(folder: Path) -> tuple[dict[str, Any], str | None]:
    """Return step, best, best_step and solved_step as `metrics.jsonl` has them, and what is wrong with it."""
    path = folder / "metrics.jsonl"
    try:
        with open_regular(path) as file:
            # Read, not mapped: a run that resumes cuts the file, and a page that is gone would end this process.
            return _read_figures(file.readall()), None
    except FileNotFoundError:
        return {}, None
    except OSError as error:
        return {}, f"{path} cannot be read: {reason(error)}."
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return {}, f"{path} is not what the observer 'metrics' writes."


def _read_figures(text: bytes) -> dict[str, Any]:
    """Look for the few lines that matter, from the end: parsing every line would take a hundred times as long."""
    figures: dict[str, Any] = {}
    # What comes after the last newline is torn, or being written.
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


def _marked(text: bytes, mark: bytes, *, backwards: bool = False) -> Iterator[dict[str, Any]]:
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


def _event(line: bytes) -> dict[str, Any]:
    event = json.loads(line)
    if not isinstance(event, dict):
        raise TypeError("expected a JSON object")
    return event


def _mean(evaluation: Mapping[str, Any]) -> float | None:
    mean = evaluation.get("mean")
    return None if mean is None else float(mean)


def _table(settings: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    table = settings.get(key)
    return table if isinstance(table, Mapping) else {}


def _kept(settings: Mapping[str, Any], key: str, kind: type) -> Any:
    """Return the value of `key` if it is of that kind: a truth value is no number."""
    value = settings.get(key)
    return value if type(value) is kind else None
