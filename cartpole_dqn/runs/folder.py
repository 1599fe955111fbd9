"""The folder that a run leaves behind: its name, its files, its lock and its state.

* `RunFolder`: `create` a new one, `open` an old one; the paths of its files; `lock` it for one run at a time.
* `is_run`, `started_at`: whether a folder is a run's, and when that was started or resumed.
* `run_state`, `RunStatus`: whether the run in a folder is running, done, interrupted, failed or was killed.
* `write_text_atomic`: a text that is there whole or not at all.
* `describe_environment`: what a run was made with: versions, plugins, machine.

No torch is imported here, so that runs can be listed quickly.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cartpole_dqn.errors import RunError, RunFolderError, did_you_mean
from cartpole_dqn.files import beside, open_regular, reason, replace_file
from cartpole_dqn.runs import lock as folder_lock

StateName = Literal["running", "done", "interrupted", "failed", "killed", "unknown"]

_DISTRIBUTIONS = (
    "cartpole-dqn",
    "torch",
    "gymnasium",
    "numpy",
    "pygame-ce",
    "pygame",
    "pillow",
    "pluggy",
    "rich",
    "safetensors",
    "ale-py",
    "box2d",
    "minigrid",
)


@dataclass(frozen=True)
class RunStatus:
    """How a run stands: its state and the environment steps that it had taken when that was written."""

    state: StateName
    step: int = 0


class RunFolder:
    """A run's folder. `path` is the folder itself; the other attributes are the files in it, whether there or not."""

    def __init__(self, path: Path, *, fresh: bool = False, made: bool = False) -> None:
        self.path = path
        self.config = path / "config.toml"
        """The complete configuration; `run --config` repeats the run."""
        self.metrics_csv = path / "metrics.csv"
        """A line an episode."""
        self.metrics_jsonl = path / "metrics.jsonl"
        """A JSON object an event."""
        self.curve = path / "curve.png"
        """The run's curve as a picture."""
        self.checkpoint = path / "checkpoint"
        """The folder of the last whole state, for resuming."""
        self.best = path / "best"
        """The folder of the best model."""
        self.initial = path / "init"
        """The folder of the weights that the run started from, where these are another run's."""
        self.environment = path / "environment.json"
        """What the run was made with."""
        self.status = path / "status.json"
        """How the run stands; read it by `run_state`."""
        self._fresh = fresh
        self._made = made

    @classmethod
    def create(
        cls,
        path: Path | None,
        *,
        env_id: str,
        obs: str,
        root: Path = Path("runs"),
        clock: Callable[[], float] = time.time,
    ) -> RunFolder:
        """Make a folder for a new run.

        Args:
            path: the folder itself, missing or empty; None chooses `<root>/<env>-<obs>-<YYYYmmdd-HHMMSS>`, with "-2"
                and so on where that is taken.
            env_id: the environment's id, for the name.
            obs: what is observed, for the name.
            root: where folders are made when `path` is None.
            clock: seconds since the epoch, for the name in local time.

        Raises:
            RunFolderError: there is something at `path`, or no folder can be made there.
        """
        if path is not None:
            made = _make(path)
            if not made and not path.is_dir():
                raise RunFolderError(f"{path} is there already, and is no folder. Choose another place with --out.")
            if _content(path):
                raise _taken(path)
            return cls(path, fresh=True, made=made)
        stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(clock()))
        stem = f"{_name(env_id, 'env')}-{_name(obs, 'obs')}-{stamp}"
        count = 1
        while True:
            chosen = root / (stem if count == 1 else f"{stem}-{count}")
            # A folder that is there, even an empty one, belongs to somebody who came first.
            if _make(chosen):
                return cls(chosen, fresh=True, made=True)
            count += 1

    @classmethod
    def open(cls, path: Path, *, root: Path = Path("runs")) -> RunFolder:
        """Return the folder of a run that was made before.

        Raises:
            RunFolderError: it is missing, no folder, or not a run's; the message names those that are near.
        """
        try:
            if is_run(path):
                return cls(path)
            there, is_folder, inside = path.exists(), path.is_dir(), is_run(path.parent)
        except OSError as error:
            raise RunFolderError(f"{path} cannot be read: {reason(error)}.") from error
        hint = f" Did you mean '{path.parent}'?" if there and inside else _suggest(path, root)
        if not there:
            raise RunFolderError(f"there is no run folder at {path}.{hint}")
        if not is_folder:
            raise RunFolderError(f"{path} is a file, and a run is a folder.{hint}")
        raise RunFolderError(f"{path} is not the folder of a run: it holds no config.toml.{hint}")

    def write_config(self, text: str) -> None:
        """Write `config.toml`. Raises `RunError`."""
        write_text_atomic(self.config, text)

    def plugins(self) -> list[dict[str, Any]]:
        """Return the plugins that `environment.json` names with what they brought, but malformed ones."""
        try:
            described = json.loads(self.environment.read_text(encoding="utf-8"))["plugins"]
            return [plugin for plugin in described if _is_plugin(plugin)]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return []

    def differences(self, description: Mapping[str, Any]) -> list[str]:
        """Return what was otherwise when `environment.json` was written: "torch 2.14.0 is now 2.15.0", ...

        Only what can change a run's numbers counts; what either does not say is left out.
        """
        try:
            before = _made_with(json.loads(self.environment.read_text(encoding="utf-8")))
        except (OSError, ValueError, RecursionError):
            return []
        now = _made_with(description)
        return [f"{name} {was} is now {now[name]}" for name, was in before.items() if now.get(name, was) != was]

    def write_environment(self, description: Mapping[str, Any]) -> None:
        """Write `environment.json`. Raises `RunError`."""
        write_text_atomic(self.environment, json.dumps(description, indent=2, ensure_ascii=False) + "\n")

    def write_status(self, state: Literal["running", "done", "interrupted", "failed"], step: int) -> None:
        """Write `status.json`. Where that fails (a full disk), nothing is raised: it must not hide what else failed."""
        with contextlib.suppress(OSError):
            replace_file(self.status, f"{json.dumps({'state': state, 'step': step})}\n".encode())

    def clear_metrics(self) -> None:
        """Remove the metrics of a run that starts from its beginning again."""
        for path in (self.metrics_csv, self.metrics_jsonl):
            path.unlink(missing_ok=True)

    def discard_if_empty(self) -> None:
        """Remove the folder again, if `create` made it and nothing was written to it."""
        if self._made and not _content(self.path):
            with contextlib.suppress(OSError):
                (self.path / folder_lock.NAME).unlink(missing_ok=True)
                self.path.rmdir()

    @contextlib.contextmanager
    def lock(self) -> Iterator[RunFolder]:
        """Keep the folder for this run inside the block.

        The system drops the lock with the process that holds it, however that ends; processes that it forked hold
        nothing.

        Raises:
            RunFolderError: another run holds it, wrote to it since it was created, or it cannot be written to.
        """
        with folder_lock.hold(self.path):
            if self._fresh and _content(self.path):
                raise _taken(self.path)
            self._fresh = False
            yield self


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


def run_state(path: Path) -> RunStatus:
    """Return how the run in the folder `path` stands; "killed" where it should be running and is not."""
    try:
        with open_regular(path / "status.json") as file:
            table = json.loads(file.read(10_000))
        state, step = table["state"], table["step"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return RunStatus("unknown")
    if state not in ("running", "done", "interrupted", "failed") or type(step) is not int or step < 0:
        return RunStatus("unknown")
    if state == "running" and not folder_lock.is_held(path):
        return RunStatus("killed", step)
    return RunStatus(state, step)


def write_text_atomic(path: Path, text: str) -> None:
    """Make `text` (as UTF-8) the content of `path`; a kill at any moment leaves the old content or the new.

    Raises:
        RunError: it cannot be written; the old content is kept.
    """
    try:
        replace_file(path, text.encode())
    except OSError as error:
        raise RunError(
            f"{path} could not be written: {reason(error)}. Make room on the disk, or let the folder be written to."
        ) from error


def describe_environment(*, plugins: Iterable[Mapping[str, Any]], threads: int, device: str) -> dict[str, Any]:
    """Return what a run was made with, as JSON can hold it: no user's, host's or folder's name is in it.

    Args:
        plugins: each with `name`, `distribution`, `version` and `state`; anything else they say is left out.
        threads: what torch computes with.
        device: what the networks are on.
    """
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": _cpu_model(),
        "cpu_count": os.cpu_count(),
        "memory_bytes": _memory(),
        "device": device,
        "threads": threads,
        "versions": {name: version for name in _DISTRIBUTIONS if (version := _version(name)) is not None},
        "plugins": [
            {
                **{key: str(plugin[key]) for key in ("name", "distribution", "version", "state") if key in plugin},
                "components": [str(component) for component in plugin.get("components", ())],
            }
            for plugin in plugins
        ],
    }


# Names and what is there ----------------------------------------------------------------------------------------------


def _made_with(description: Any) -> dict[str, str]:
    """Return what a run's numbers depend on, by name; what is missing or no text is left out."""
    table = description if isinstance(description, dict) else {}
    versions, plugins = table.get("versions"), table.get("plugins")
    found = {name: table.get(name) for name in ("python", "platform", "cpu", "device")}
    found |= versions if isinstance(versions, dict) else {}
    found |= {p["distribution"]: p["version"] for p in (plugins if isinstance(plugins, list) else []) if _is_plugin(p)}
    return {name: text[:100] for name, text in found.items() if isinstance(text, str) and text.isprintable()}


def _is_plugin(plugin: Any) -> bool:
    return (
        isinstance(plugin, dict)
        and isinstance(plugin.get("distribution"), str)
        and isinstance(plugin.get("version"), str)
        and isinstance(plugin.get("components"), list)
        and all(isinstance(component, str) for component in plugin["components"])
    )


def _name(text: str, otherwise: str) -> str:
    """Return `text` as a part of a file name: "ALE/Pong-v5" -> "ALE-Pong-v5"."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")[:80] or otherwise


def _make(path: Path) -> bool:
    """Make the folder; return False where something is there already."""
    try:
        path.mkdir(parents=True)
    except OSError as error:
        if isinstance(error, FileExistsError) and os.path.lexists(path):
            return False
        raise RunFolderError(
            f"no folder can be made at {path}: {reason(error)}. Choose another place with --out."
        ) from error
    return True


def _content(path: Path) -> list[str]:
    """Return the names in a folder but for what a run leaves there that is killed before its configuration stands."""
    nothing = (folder_lock.NAME, beside(path / "config.toml").name)
    try:
        return [entry.name for entry in path.iterdir() if entry.name not in nothing]
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read: {reason(error)}. Choose another place with --out.") from error


def _taken(path: Path) -> RunFolderError:
    if is_run(path):
        return RunFolderError(
            f"{path} holds a run already. Go on with it by `cartpole-dqn resume {path}`, or choose another --out."
        )
    return RunFolderError(f"{path} is not empty. Choose a folder that is new or empty with --out.")


def _suggest(path: Path, root: Path) -> str:
    """Return a sentence with the run that is meant, or the latest ones."""
    found: dict[str, float] = {}
    for place in (path.parent, root):
        with contextlib.suppress(OSError):
            found.update((str(run), run.stat().st_mtime) for run in place.iterdir() if is_run(run))
    latest = sorted(found, key=lambda name: found[name], reverse=True)
    for name in latest:
        if Path(name).name == path.name:
            return f" Did you mean '{name}'?"
    return did_you_mean(str(path), latest[:8])


# The machine ----------------------------------------------------------------------------------------------------------


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu_model() -> str:
    with contextlib.suppress(OSError):
        match = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(errors="replace"), re.MULTILINE)
        if match:
            return match[1].strip()
    return platform.processor() or platform.machine()


def _memory() -> int | None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None
