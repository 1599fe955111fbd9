"""Which run is meant: from what somebody typed to a run's folder.

* `find_run`: a path, a name or the beginning of one under `runs/`, or `latest` -> `RunFolder`.
* `find_runs`: several of these -> folders, each once; a folder full of runs stands for all of them.
* `runs_in`: the runs in a folder, those started last first.
* `complete_run`: what a shell may offer for what was typed so far.

No torch is imported here: a shell waits for it at every press of the tab key.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from cartpole_dqn.errors import RunFolderError, did_you_mean
from cartpole_dqn.files import reason
from cartpole_dqn.runs.folder import RunFolder

LATEST = "latest"
ROOT = Path("runs")
"""Where `run` puts folders that were given no name, seen from where the command is called."""

_SHOWN = 8


def find_run(text: str | Path, *, root: Path = ROOT) -> RunFolder:
    """Return the run that `text` means. The first of these that is a run is taken:

    1. the folder at the path `text`;
    2. the folder of that name under `root`;
    3. where it is "latest", the run under `root` that was started or resumed last;
    4. the one run under `root` whose name begins with it.

    Args:
        text: what was typed; with a separator in it, it is a path and nothing else.
        root: where names are looked up.

    Raises:
        RunFolderError: there is none, or there are several; the sentence names those that may be meant.
    """
    given = str(text)
    if not given:
        raise RunFolderError(f"which run? Expected a path, the beginning of a name under {root}/, or {LATEST}.")
    path = Path(given)
    if is_run(path) or _is_path(given):
        return RunFolder.open(path, root=root)
    if is_run(root / given):
        return RunFolder.open(root / given)
    runs = runs_in(root)
    if given == LATEST:
        if runs:
            return RunFolder.open(runs[0])
        raise RunFolderError(f"there is no run in {root}/, so none is the latest. `cartpole-dqn run` makes one.")
    meant = [run for run in runs if run.name.startswith(given)]
    if len(meant) == 1:
        return RunFolder.open(meant[0])
    if meant:
        raise RunFolderError(
            f"'{given}' begins the names of {len(meant)} runs in {root}/: {_listed(meant)}. Give more of the name."
        )
    raise _unknown(given, runs, root)


def find_runs(texts: Sequence[str | Path], *, root: Path = ROOT) -> list[RunFolder]:
    """Return the runs that `texts` mean, in that order, each once; a folder that holds runs stands for all of them.

    Raises:
        RunFolderError: as from `find_run`.
    """
    found: dict[Path, RunFolder] = {}
    for text in texts:
        path = Path(text)
        inside = [] if not str(text) or is_run(path) else runs_in(path)
        folders = [RunFolder.open(run) for run in sorted(inside)] or [find_run(text, root=root)]
        for folder in folders:
            found.setdefault(folder.path.resolve(), folder)
    return list(found.values())


def runs_in(root: Path) -> list[Path]:
    """Return the folders of runs directly in `root`, those started or resumed last first; none where it is no folder.

    Starting and resuming write `config.toml`, and nothing else does: its time is when that was.
    """
    try:
        with os.scandir(root) as entries:
            started = [(when, Path(entry.path)) for entry in entries if (when := started_at(Path(entry.path)))]
    except OSError:
        return []
    return [path for _, path in sorted(started, reverse=True)]


def complete_run(incomplete: str, *, root: Path = ROOT) -> list[str]:
    """Return the names under `root` that begin with `incomplete`, those started last first, and "latest"."""
    if _is_path(incomplete):
        return []
    names = [run.name for run in runs_in(root)]
    return [name for name in [*names, *([LATEST] if names else [])] if name.startswith(incomplete)]


def is_run(path: Path) -> bool:
    """Return whether `path` is the folder of a run."""
    return started_at(path) > 0


def started_at(path: Path) -> float:
    """Return when the run in the folder `path` was started or resumed, in seconds since the epoch; 0 for no run."""
    try:
        status = (path / "config.toml").stat()
    except (OSError, ValueError):
        return 0.0
    return max(status.st_mtime, 1e-9) if stat.S_ISREG(status.st_mode) else 0.0


def _is_path(text: str) -> bool:
    """Return whether `text` can only be a path: it has a separator, or is a place like `.`."""
    separators = [separator for separator in (os.sep, os.altsep) if separator]
    return text in (os.curdir, os.pardir) or any(separator in text for separator in separators)


def _unknown(given: str, runs: Sequence[Path], root: Path) -> RunFolderError:
    there = Path(given)
    try:
        what = "a file" if there.is_file() else "a folder without config.toml" if there.is_dir() else ""
    except OSError as error:
        return RunFolderError(f"'{given[:80]}' cannot be looked up: {reason(error)}.")
    start = f"'{given}' is no run"
    start += f": here it is {what}, and" if what else ": there is no such folder, and"
    if not runs:
        return RunFolderError(f"{start} {root}/ holds no run. `cartpole-dqn run` makes one.")
    near = did_you_mean(given, [LATEST, *(run.name for run in runs)])
    if near.startswith(" Known:"):
        near = f" Those in {root}/: {_listed(runs)}."
    return RunFolderError(f"{start} no name in {root}/ begins with it.{near}")


def _listed(runs: Iterable[Path]) -> str:
    names = [run.name for run in runs]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
