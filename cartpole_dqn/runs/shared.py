"""A shared agent: a run's folder, or a zip of one, that may come from a stranger.

It holds `config.toml`, `best/` and `shared.json`, and may hold `init/` and `environment.json`. Other files, such as the
model card, are for people and never read. torch is not imported here.

* `write_claim`, `read_claim`: `shared.json`, the `Score` that it claims.
* `require_no_code`: refuses a configuration that names code to import.
* `pack_folder`: a folder -> a zip. `unpack_folder`: a zip -> a run's folder in a temporary one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import tempfile
import weakref
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cartpole_dqn.contracts.options import check_options, option, options_class, to_table
from cartpole_dqn.errors import CheckpointError, UserError, error_line
from cartpole_dqn.files import beside, create_file, open_regular, reason, replace_file
from cartpole_dqn.runs import lock as folder_lock
from cartpole_dqn.runs.folder import RunFolder, write_text_atomic
from cartpole_dqn.text import figures

LAYOUT = 1
"""Version of `shared.json` and of the files beside it. Others are refused."""

_FORMAT = "cartpole-dqn shared agent"
_LARGEST_CLAIM = 1 << 20
_READ = re.compile(
    r"config\.toml|shared\.json|environment\.json|(best|init)/(state\.json|policy-[0-9]{1,9}\.safetensors)", re.ASCII
)
"""The files of a zip that are unpacked."""
_REFERENCES = ("id", "name", "wrapper")
"""Keys of a configuration whose value may be `module:Name`."""
_EXPANSION = 20
"""How many times its own size a zip may unpack to."""
_SMALL = 1 << 20
"""Bytes that any zip may unpack to."""


# What it says of itself -----------------------------------------------------------------------------------------------


@options_class
class Score:
    """A mean return over greedy episodes on held-out seeds."""

    mean: float = option(effect="mean return")
    std: float = option(ge=0, effect="standard deviation of the returns")
    low: float = option(effect="lower end of the mean's 95 % interval")
    high: float = option(effect="upper end of the mean's 95 % interval")
    episodes: int = option(ge=1, effect="number of episodes")
    seed: int = option(ge=0, effect="selects the held-out seeds, as evaluate --seed")


def write_claim(folder: RunFolder, score: Score) -> None:
    """Write `shared.json`, which makes a folder a shared agent. Raises `RunError`."""
    table = {"format": _FORMAT, "layout": LAYOUT, "score": to_table(score)}
    write_text_atomic(folder.shared, json.dumps(table, indent=2) + "\n")


def read_claim(folder: RunFolder) -> Score | None:
    """Return the score that a shared agent claims; None for any other run. `evaluate` says whether it holds.

    Raises:
        CheckpointError: `shared.json` is damaged, or of another version.
        ConfigError: it holds no score.
    """
    path = folder.shared
    if not os.path.lexists(path):
        return None
    try:
        with open_regular(path) as file:
            table = json.loads(file.read(_LARGEST_CLAIM))
        if not isinstance(table, dict) or table.get("format") != _FORMAT:
            raise ValueError("its format is another")
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {reason(error)}.") from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not what `cartpole-dqn share` writes: {error_line(error)[:200]}.") from None
    if table.get("layout") != LAYOUT:
        raise CheckpointError(
            f"{path} has layout {table.get('layout')!r:.20}, but this version of cartpole-dqn reads layout {LAYOUT}. "
            f"Use the version that wrote it."
        )
    claimed = table.get("score")
    score = check_options(Score, claimed if isinstance(claimed, dict) else {}, where=f"{path}: score")
    if not score.low <= score.mean <= score.high:
        raise CheckpointError(f"{path} contradicts itself: its mean is outside its own interval.")
    return score


def require_no_code(settings: Mapping[str, Any], who: str) -> None:
    """Raise a `UserError` if a configuration names code to import: `wrapper = "module:Class"`.

    A stranger's configuration may select registered parts, which the user has installed, and nothing else.
    """
    for place, value in _references(settings, ""):
        raise UserError(
            f"{who} names code to import, {place} = {value[:200]!r}, which a shared agent must not. Register it in a "
            f"plugin (`cartpole-dqn plugins new`), and name it as that does."
        )


def _references(value: Any, place: str) -> Iterator[tuple[str, str]]:
    entries = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        inner_place = f"{place}[{key}]" if isinstance(key, int) else f"{place}.{key}".removeprefix(".")
        if key in _REFERENCES and isinstance(inner, str) and ":" in inner:
            yield inner_place, inner
        yield from _references(inner, inner_place)


# Zips -----------------------------------------------------------------------------------------------------------------


class UnpackedRun(RunFolder):
    """A run from a zip, in a temporary folder that lasts as long as this object."""

    def __init__(self, archive: Path) -> None:
        home = tempfile.mkdtemp(prefix="cartpole-dqn-")
        self._archive = archive
        self._removed = weakref.finalize(self, shutil.rmtree, home, ignore_errors=True)
        super().__init__(Path(home) / archive.stem)

    def product(self, name: str) -> Path:
        """Return a file beside the zip: `agent-record.gif`."""
        return self._archive.with_name(f"{self._archive.stem}-{name}")


def pack_folder(folder: Path, archive: Path) -> None:
    """Write a zip of the files in `folder`, inside a folder of its name. Raises `OSError`.

    Times are left out, so that the same files make the same bytes.
    """
    temporary = beside(archive)
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as target:
            for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != folder_lock.NAME):
                info = zipfile.ZipInfo(f"{folder.name}/{path.relative_to(folder).as_posix()}")
                info.external_attr = (stat.S_IFREG | 0o644) << 16
                target.writestr(info, path.read_bytes(), zipfile.ZIP_DEFLATED)
        replace_file(archive, temporary.read_bytes())
    finally:
        temporary.unlink(missing_ok=True)


def unpack_folder(archive: Path) -> UnpackedRun:
    """Unpack the shared agent in a zip.

    Only the files of a shared agent are unpacked, to names that do not come from the zip.

    Raises:
        CheckpointError: it is damaged or hostile: a name that leads elsewhere, a link, a name twice, or a content far
            larger than the zip.
    """
    folder = UnpackedRun(archive)
    try:
        with zipfile.ZipFile(archive) as source:
            for name, info in _members(source, archive).items():
                path = folder.path / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with source.open(info) as content, os.fdopen(create_file(path), "wb") as target:
                    shutil.copyfileobj(content, target)
    except (CheckpointError, KeyboardInterrupt):
        raise
    except OSError as error:
        raise CheckpointError(f"{archive} cannot be unpacked: {reason(error)}.") from None
    except Exception as error:  # zipfile raises many kinds for malformed ones
        raise CheckpointError(f"{archive} is not a sound zip: {error_line(error)[:200]}.") from None
    return folder


def _members(source: zipfile.ZipFile, archive: Path) -> dict[str, zipfile.ZipInfo]:
    """Return the members to unpack by their name within the shared agent. Raises `CheckpointError`."""
    members: dict[str, zipfile.ZipInfo] = {}
    for info in source.infolist():
        name, kind = info.orig_filename, stat.S_IFMT(info.external_attr >> 16)
        steps = name.rstrip("/").split("/")
        if "\\" in name or ":" in name or not name.isprintable() or not {"", ".", ".."}.isdisjoint(steps):
            raise CheckpointError(f"{archive} holds {name[:100]!r}, which is no plain name inside a folder.")
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise CheckpointError(f"{archive} holds {name[:100]!r}, which is a link or a device and not a file.")
        if name in members:
            raise CheckpointError(f"{archive} holds {name[:100]!r} twice.")
        members[name] = info
    packed, unpacked = archive.stat().st_size, sum(info.file_size for info in members.values())
    if unpacked > max(_SMALL, _EXPANSION * packed):
        raise CheckpointError(
            f"{archive} has {figures.size(packed)} and would unpack to {figures.size(unpacked)}, which no shared agent "
            f"does."
        )
    tops = [name.removesuffix("shared.json") for name in members if re.fullmatch(r"([^/]+/)?shared\.json", name)]
    if len(tops) != 1:
        raise CheckpointError(
            f"{archive} is not a shared agent: expected one shared.json at its top or in a folder there, got "
            f"{len(tops)}. `cartpole-dqn share` makes such a zip from a run."
        )
    inner = {name.removeprefix(tops[0]): info for name, info in members.items() if name.startswith(tops[0])}
    return {name: info for name, info in inner.items() if _READ.fullmatch(name)}
