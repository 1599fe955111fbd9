"""`RunFolder`: a run's folder, with its files, its lock and its state.

* `is_run`, `started_at`, `run_state`: what a folder is, without opening it.
* `write_text_atomic`: writes a text file completely or not at all.
* `describe_environment`: a run's software and hardware.

torch is not imported here, so that listing runs is fast.
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
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cartpole_dqn.errors import RunError, RunFolderError
from cartpole_dqn.files import beside, open_regular, reason, replace_file
from cartpole_dqn.runs import lock as folder_lock

_LARGEST_DESCRIPTION = 1 << 20

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
    """A run's state, and its environment steps when the state was written."""

    state: StateName
    step: int = 0


class RunFolder:
    """A run's folder. `path` is the folder itself; the other attributes are the files in it, which may be missing."""

    def __init__(self, path: Path, *, fresh: bool = False, created: bool = False) -> None:
        # Commands that are printed name the folder, and what begins with "-" would be an option there.
        self.path = path = path.absolute() if str(path).startswith("-") else path
        self.config = path / "config.toml"
        """The complete configuration; `run --config` repeats the run."""
        self.metrics_csv = path / "metrics.csv"
        """One line per episode."""
        self.metrics_jsonl = path / "metrics.jsonl"
        """One JSON object per event."""
        self.curve = path / "curve.png"
        """The learning curve."""
        self.checkpoint = path / "checkpoint"
        """The folder of the latest complete state, for resuming."""
        self.best = path / "best"
        """The folder of the best model."""
        self.progress = path / "progress"
        """The folder of a few models that were once the best, for `record --progress`."""
        self.initial = path / "init"
        """The folder of the initial weights, if they come from another run."""
        self.environment = path / "environment.json"
        """The run's software and hardware, see `describe_environment`."""
        self.traceback = path / "traceback.txt"
        """The whole tracebacks of what failed: the run, or observers."""
        self.status = path / "status.json"
        """The run's state; read it with `run_state`."""
        self.shared = path / "shared.json"
        """The score that a shared agent claims, see `shared.read_claim`. Other runs have no such file."""
        self._fresh = fresh
        self._created = created
        self._locked = False

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
            path: the folder itself, missing or empty. None chooses `<root>/<env>-<obs>-<YYYYmmdd-HHMMSS>`, with "-2"
                and so on if that exists.
            env_id: environment id, for the name.
            obs: kind of observations, for the name.
            root: where folders are made if `path` is None.
            clock: seconds since the epoch, for the name in local time.

        Raises:
            RunFolderError: `path` is a file or not empty, or no folder can be made there.
        """
        if path is not None:
            created = _make(path)
            if not created and not path.is_dir():
                raise RunFolderError(f"{path} exists and is not a folder. Choose another place with --out.")
            if _content(path):
                raise _not_empty(path)
            return cls(path, fresh=True, created=created)
        stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(clock()))
        stem = f"{_name(env_id, 'env')}-{_name(obs, 'obs')}-{stamp}"
        count = 1
        while True:
            candidate = root / (stem if count == 1 else f"{stem}-{count}")
            # Even an empty folder belongs to whoever made it first.
            if _make(candidate):
                return cls(candidate, fresh=True, created=True)
            count += 1

    def product(self, name: str) -> Path:
        """Return where a file that is made from the run, such as "record.gif", goes by default."""
        return self.path / name

    def write_config(self, text: str) -> None:
        """Write `config.toml`. Raises `RunError`."""
        write_text_atomic(self.config, text)

    def plugins(self) -> list[dict[str, Any]]:
        """Return the plugins in `environment.json` with their components. Malformed entries are skipped."""
        return _plugins(self.description())

    def description(self) -> dict[str, Any]:
        """Return the content of `environment.json`; empty if it is missing or damaged."""
        try:
            with open_regular(self.environment) as file:
                description = json.loads(file.read(_LARGEST_DESCRIPTION))
        except (OSError, ValueError, RecursionError):
            return {}
        return description if isinstance(description, dict) else {}

    def differences(self, description: Mapping[str, Any]) -> list[str]:
        """Return what changed since `environment.json` was written: "torch 2.14.0 is now 2.15.0", ...

        Only what can change a run's numbers is compared, and only if both descriptions have it.
        """
        before, now = _dependencies(self.description()), _dependencies(description)
        return [f"{name} {was} is now {now[name]}" for name, was in before.items() if now.get(name, was) != was]

    def write_environment(self, description: Mapping[str, Any]) -> None:
        """Write `environment.json`. Raises `RunError`."""
        write_text_atomic(self.environment, json.dumps(description, indent=2, ensure_ascii=False) + "\n")

    def write_status(self, state: Literal["running", "done", "interrupted", "failed"], step: int) -> None:
        """Write `status.json`, if the folder is in place. Errors are ignored, so that they do not hide earlier ones."""
        with contextlib.suppress(OSError):
            if not self.in_place:
                return
            replace_file(self.status, f"{json.dumps({'state': state, 'step': step})}\n".encode())

    def keep_traceback(self, error: BaseException) -> None:
        """Append the whole traceback of `error` to `traceback.txt`. Errors of writing are ignored."""
        with contextlib.suppress(OSError), self.traceback.open("a", encoding="utf-8") as file:
            file.write("".join(traceback.format_exception(error)) + "\n")

    def discard_if_empty(self) -> None:
        """Remove the folder if `create` made it and nothing was written to it."""
        if self._created and not _content(self.path):
            with contextlib.suppress(OSError):
                (self.path / folder_lock.NAME).unlink(missing_ok=True)
                self.path.rmdir()

    @contextlib.contextmanager
    def lock(self) -> Iterator[RunFolder]:
        """Reserve the folder inside the block. Raises `RunFolderError` if another run has it, or it is not writable."""
        with folder_lock.hold(self.path, fresh=self._fresh):
            if self._fresh and _content(self.path):
                raise _not_empty(self.path)
            self._fresh = False
            self._locked = True
            try:
                yield self
            finally:
                self._locked = False

    @property
    def in_place(self) -> bool:
        """Whether the folder is still where this run locked it. A folder that is not locked is taken to be."""
        if not self._locked:
            return True
        owner = folder_lock.owner(self.path)
        return owner == os.getpid() if owner else os.path.lexists(self.path / folder_lock.NAME) or is_run(self.path)

    @contextlib.contextmanager
    def written_in_place(self) -> Iterator[None]:
        """Write to the folder inside the block. If that fails because it was moved meanwhile, the error says so."""
        self.require_in_place()
        try:
            yield
        except RunError:
            self.require_in_place()
            raise

    def require_in_place(self) -> None:
        """Raise `RunError` if the folder was moved or deleted since it was locked: what is written would be split."""
        if not self.in_place:
            raise RunError(
                f"{self.path} is no longer the run's folder: it was moved or deleted meanwhile. If it was moved, go on "
                f"there with `cartpole-dqn resume FOLDER`, which starts from its last checkpoint."
            )


def is_run(path: Path) -> bool:
    """Return whether `path` is the folder of a run."""
    return started_at(path) > 0


def started_at(path: Path) -> float:
    """Return the time of the last start or resume of the run in `path`, in seconds since the epoch; 0 for no run."""
    try:
        status = (path / "config.toml").stat()
    except (OSError, ValueError):
        return 0.0
    return max(status.st_mtime, 1e-9) if stat.S_ISREG(status.st_mode) else 0.0


def run_state(path: Path) -> RunStatus:
    """Return the state of the run in the folder `path`: "killed" if it should be running and is not."""
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
    """Replace the content of `path` by `text` (UTF-8). A kill at any moment leaves the old content or the new.

    Raises:
        RunError: it cannot be written; the old content is kept.
    """
    try:
        replace_file(path, text.encode())
    except OSError as error:
        raise RunError(
            f"{path} could not be written: {reason(error)}. Make room on the disk, or make the folder writable."
        ) from error


def describe_environment(*, plugins: Iterable[Mapping[str, Any]], threads: int, device: str) -> dict[str, Any]:
    """Return a run's software and hardware for JSON, without names of users, hosts or folders.

    Args:
        plugins: each with `name`, `distribution`, `version`, `state` and `components`; other keys are left out.
        threads: torch's number of threads.
        device: the networks' device.
    """
    import psutil

    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": _cpu_model(),
        "cpu_count": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
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


def _plugins(description: Mapping[str, Any]) -> list[dict[str, Any]]:
    plugins = description.get("plugins")
    return [plugin for plugin in plugins if _is_plugin(plugin)] if isinstance(plugins, list) else []


def _dependencies(description: Mapping[str, Any]) -> dict[str, str]:
    """Return by name what a run's numbers depend on. Missing or unprintable values are left out."""
    versions = description.get("versions")
    texts = {name: description.get(name) for name in ("python", "platform", "cpu", "device")}
    texts |= versions if isinstance(versions, dict) else {}
    texts |= {plugin["distribution"]: plugin["version"] for plugin in _plugins(description)}
    return {name: text[:100] for name, text in texts.items() if isinstance(text, str) and text.isprintable()}


def _is_plugin(plugin: Any) -> bool:
    return (
        isinstance(plugin, dict)
        and isinstance(plugin.get("distribution"), str)
        and isinstance(plugin.get("version"), str)
        and isinstance(plugin.get("components"), list)
        and all(isinstance(component, str) for component in plugin["components"])
    )


def _name(text: str, otherwise: str) -> str:
    """Return `text` as part of a file name: "ALE/Pong-v5" -> "ALE-Pong-v5"."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")[:80] or otherwise


def _make(path: Path) -> bool:
    """Make the folder; return False if `path` exists."""
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
    """Return the names in a folder, except files of a run that was killed before it wrote its configuration."""
    ignored = (folder_lock.NAME, beside(path / "config.toml").name)
    try:
        return [entry.name for entry in path.iterdir() if entry.name not in ignored]
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read: {reason(error)}. Choose another place with --out.") from error


def _not_empty(path: Path) -> RunFolderError:
    if os.path.lexists(path / "shared.json"):
        return RunFolderError(f"{path} holds a shared agent already. Choose another --out.")
    if is_run(path):
        return RunFolderError(
            f"{path} holds a run already. Continue it with `cartpole-dqn resume {path}`, or choose another --out."
        )
    return RunFolderError(f"{path} is not empty. Choose a new or empty folder with --out.")


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
