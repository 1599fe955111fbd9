"""Finding and listing runs.

* `find_run`, `find_runs`: what the user typed -> folders. `runs_in`, `complete_run`: what may be typed.
* `list_runs`, `summarise_run`: runs in a line each. `read_settings`, `run_title`: of a `config.toml`, unchecked.

A broken folder in a listing raises nothing: its summary says what is wrong. Neither torch nor NumPy is imported here,
because shell completion waits for this module.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cartpole_dqn.config.toml import load_toml
from cartpole_dqn.errors import RunFolderError, UserError, bad, did_you_mean, error_line, suggestion
from cartpole_dqn.files import open_regular, reason
from cartpole_dqn.runs.folder import RunFolder, StateName, is_run, run_state, started_at
from cartpole_dqn.runs.metrics import RunFigures, read_figures

LATEST = "latest"
ROOT = Path("runs")
"""Where `run` creates folders by default, relative to the working directory."""
TRIALS = "trials"
"""The folder of runs in a sweep's folder."""

SWEEP_FILE = "sweep.toml"
"""The file in a sweep's folder that says what its trials are."""

_SHOWN = 8
_LARGEST_CONFIG = 1 << 20
_LARGEST_INDEX = 16 << 20


def find_run(text: str | Path, *, root: Path = ROOT) -> RunFolder:
    """Return the run that `text` names. These are tried in order:

    1. the folder at the path `text`, or the zip of a shared agent;
    2. the folder of that name under `root`;
    3. for "latest", the run under `root` that was started or resumed last;
    4. the only run under `root` whose name begins with `text`.

    Args:
        text: what the user typed; only a path if it contains a separator.
        root: where names are looked up.

    Raises:
        RunFolderError: no run matches, or several do. The message names the candidates.
        UserError: it is a shared agent that is damaged, or not safe to take from a stranger.
    """
    folder = _zipped(Path(text)) or _find_folder(text, root)
    if os.path.lexists(folder.shared):
        from cartpole_dqn.runs.shared import read_claim, require_no_code

        read_claim(folder)
        require_no_code(read_settings(folder.path), str(folder.config))
    return folder


def _zipped(path: Path) -> RunFolder | None:
    try:
        if path.suffix.lower() != ".zip" or not path.is_file():
            return None
    except OSError:
        return None
    from cartpole_dqn.runs.shared import unpack_folder

    return unpack_folder(path)


def _find_folder(text: str | Path, root: Path) -> RunFolder:
    name = str(text)
    if not name:
        raise RunFolderError(f"which run? Expected a path, the beginning of a name under {root}/, or {LATEST}.")
    path = Path(name)
    if is_run(path):
        return RunFolder(path)
    if _is_file(path / SWEEP_FILE):
        raise RunFolderError(
            f"{bad(path)} is the folder of a sweep. Its runs are in {path / TRIALS}; "
            f"`cartpole-dqn sweep --resume {path}` resumes it."
        )
    if _is_path(name):
        raise _not_a_run(path, root)
    if is_run(root / name):
        return RunFolder(root / name)
    runs = runs_in(root)
    if name == LATEST:
        if runs:
            return RunFolder(runs[0])
        raise RunFolderError(f"there is no run in {root}/ yet. `cartpole-dqn run` makes one.")
    matches = [run for run in runs if run.name.startswith(name)]
    if len(matches) == 1:
        return RunFolder(matches[0])
    if matches:
        raise RunFolderError(
            f"{len(matches)} runs in {root}/ begin with '{name}': {_listed(matches)}. Type more of the name."
        )
    raise _unknown(name, runs, root)


def find_runs(texts: Sequence[str | Path], *, root: Path = ROOT) -> list[RunFolder]:
    """Return the runs that `texts` name, in order and without duplicates. Raises as `find_run`.

    A folder of runs stands for all of them, and a sweep's folder for those in its folder `trials`.
    """
    unique: dict[Path, RunFolder] = {}
    for text in texts:
        path = Path(text)
        inside = [] if not str(text) or is_run(path) else runs_in(path) or runs_in(path / TRIALS)
        folders = [RunFolder(run) for run in sorted(inside)] or [find_run(text, root=root)]
        for folder in folders:
            unique.setdefault(folder.path.resolve(), folder)
    return list(unique.values())


def runs_in(root: Path) -> list[Path]:
    """Return the folders of runs directly in `root`, most recent first; empty if `root` is not a folder.

    Only starting and resuming write `config.toml`, so its time is the time of the start.
    """
    try:
        with os.scandir(root) as entries:
            started = [(start, Path(entry.path)) for entry in entries if (start := started_at(Path(entry.path)))]
    except OSError:
        return []
    return [path for _, path in sorted(started, reverse=True)]


def complete_run(incomplete: str, *, root: Path = ROOT) -> list[str]:
    """Return the names under `root` that begin with `incomplete`, most recent first, and "latest"."""
    if _is_path(incomplete):
        return []
    names = [run.name for run in runs_in(root)]
    return [name for name in [*names, *([LATEST] if names else [])] if name.startswith(incomplete)]


# In a line ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class RunSummary(RunFigures):
    """A run in one line. Unknown values are None."""

    name: str
    path: Path
    state: StateName | Literal["shared", "broken"]
    started: float | None = None
    """Time of the last start or resume, in seconds since the epoch."""
    env: str | None = None
    obs: str | None = None
    preset: str | None = None
    agent: str | None = None
    seed: int | None = None
    steps: int | None = None
    """Maximum environment steps, if the run has one."""


def list_runs(root: Path) -> list[RunSummary]:
    """Return the runs directly in `root`, most recent first; those without a config come last.

    Folders without any file of a run are skipped. Raises `RunFolderError` if `root` cannot be read.
    """
    try:
        with os.scandir(root) as entries:
            folders = [Path(entry.path) for entry in entries if entry.is_dir()]
    except OSError as error:
        raise RunFolderError(f"the runs in {root} cannot be listed: {reason(error)}.") from error
    summaries = [summarise_run(folder) for folder in folders if _looks_like_a_run(folder)]
    return sorted(summaries, key=lambda run: (run.started or 0.0, run.name), reverse=True)


def summarise_run(folder: Path) -> RunSummary:
    """Return a summary of the run in `folder`. Never raises for a broken folder."""
    basics: Any = {"name": folder.name, "path": folder, "started": started_at(folder) or None}
    try:
        settings = read_settings(folder)
        env, agent = _table(settings, "env"), _table(settings, "agent")
        if not isinstance(env.get("id"), str):
            raise RunFolderError(f"{folder / 'config.toml'} is not the configuration of a run: it has no env.id.")
    except RunFolderError as error:
        return RunSummary(**basics, state="broken", problem=str(error))
    is_shared = os.path.lexists(RunFolder(folder).shared)
    status = run_state(folder)
    try:
        figures = _read_shared(folder) if is_shared else read_figures(folder)
    except UserError as error:
        figures = RunFigures(problem=str(error))
    return RunSummary(
        **basics,
        state="shared" if is_shared else status.state,
        env=env["id"],
        obs=_value(settings, "obs", str),
        preset=_value(settings, "preset", str) or None,
        agent=_value(agent, "name", str),
        seed=_value(settings, "seed", int),
        steps=None if is_shared else _value(settings, "steps", int),
        **{**vars(figures), "step": max(status.step, figures.step)},
    )


def _read_shared(folder: Path) -> RunFigures:
    """Return the step of a shared agent's model and the score that it claims. Raises `UserError` if damaged."""
    from cartpole_dqn.runs.shared import read_claim

    claim, index = read_claim(RunFolder(folder)), RunFolder(folder).best / "state.json"
    try:
        with open_regular(index) as file:
            step = int(json.loads(file.read(_LARGEST_INDEX))["meta"]["step"])
    except (OSError, ValueError, TypeError, LookupError, RecursionError) as error:
        raise RunFolderError(f"{index} cannot be read: {error_line(error)}.") from error
    return RunFigures(step=step, best=None if claim is None else claim.mean, best_step=step)


def read_settings(folder: Path) -> dict[str, Any]:
    """Return the table in a run's `config.toml`, unchecked. Raises `RunFolderError` if it cannot be read."""
    path = folder / "config.toml"
    try:
        with open_regular(path) as file:
            data = file.read(_LARGEST_CONFIG)
        return load_toml(data.decode())
    except FileNotFoundError:
        raise RunFolderError(f"{folder} holds no config.toml.") from None
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read: {reason(error)}.") from error
    except UnicodeDecodeError:
        raise RunFolderError(f"{path} is not UTF-8 text.") from None
    except ValueError as error:
        raise RunFolderError(f"{path} is not valid TOML: {error}.") from None


def run_title(settings: Mapping[str, Any]) -> str:
    """Return a title: "dqn on CartPole-v1, pixels, preset pixels, seed 0"."""
    preset = f", preset {settings['preset']}" if settings.get("preset") else ""
    agent, env = _table(settings, "agent").get("name"), _table(settings, "env").get("id")
    return f"{agent} on {env}, {settings.get('obs')}{preset}, seed {settings.get('seed')}"


# Helpers --------------------------------------------------------------------------------------------------------------


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _is_path(text: str) -> bool:
    """Return whether `text` can only be a path: it contains a separator, or is `.` or `..`."""
    return text in (os.curdir, os.pardir) or any(mark in text for mark in (os.sep, os.altsep) if mark)


def _not_a_run(path: Path, root: Path) -> RunFolderError:
    try:
        exists, is_folder, inside = path.exists(), path.is_dir(), is_run(path.parent)
    except OSError as error:
        return RunFolderError(f"{path} cannot be read: {reason(error)}.")
    hint = suggestion(path.parent) if exists and inside else _suggest(path, root)
    if not exists:
        return RunFolderError(f"there is no run folder at {bad(path)}.{hint}")
    if not is_folder:
        return RunFolderError(f"{bad(path)} is a file. Expected a run's folder.{hint}")
    return RunFolderError(f"{bad(path)} is not the folder of a run: it holds no config.toml.{hint}")


def _suggest(path: Path, root: Path) -> str:
    """Return a sentence that suggests a run of the same name, or one with a similar path."""
    runs = list(dict.fromkeys([*runs_in(path.parent), *runs_in(root)]))
    for run in runs:
        if run.name == path.name:
            return suggestion(run)
    return did_you_mean(str(path), [str(run) for run in runs[:_SHOWN]])


def _unknown(text: str, runs: Sequence[Path], root: Path) -> RunFolderError:
    path = Path(text)
    try:
        kind = "a file" if path.is_file() else "a folder without config.toml" if path.is_dir() else ""
    except OSError as error:
        return RunFolderError(f"'{bad(text[:80])}' cannot be looked up: {reason(error)}.")
    start = f"'{bad(text)}' is no run"
    start += f": here it is {kind}, and" if kind else ": there is no such folder, and"
    if not runs:
        return RunFolderError(f"{start} {root}/ holds no run. `cartpole-dqn run` makes one.")
    hint = did_you_mean(text, [LATEST, *(run.name for run in runs)], f" Those in {root}/: {_listed(runs)}.")
    return RunFolderError(f"{start} no name in {root}/ begins with it.{hint}")


def _listed(runs: Iterable[Path]) -> str:
    names = [run.name for run in runs]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _looks_like_a_run(folder: Path) -> bool:
    run = RunFolder(folder)
    files = (run.config, run.metrics_jsonl, run.environment, run.status, run.checkpoint)
    return any(os.path.lexists(file) for file in files)


def _table(settings: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    table = settings.get(key)
    return table if isinstance(table, Mapping) else {}


def _value(settings: Mapping[str, Any], key: str, kind: type) -> Any:
    """Return the value of `key` if its type is exactly `kind` (a boolean is not an int)."""
    value = settings.get(key)
    return value if type(value) is kind else None
