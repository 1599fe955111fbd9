"""`write`: the metadata of an installed distribution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path


def write(
    folder: Path,
    name: str,
    entry_points: str | Mapping[str, Mapping[str, str]],
    version: str = "1.0",
    requires: Sequence[str] = (),
    *,
    metadata: bool = True,
) -> None:
    """Write a `.dist-info` into `folder`; entry points are text, or group -> name -> what it names."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    if not isinstance(entry_points, str):
        lines = [
            f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in its.items()) for group, its in entry_points.items()
        ]
        entry_points = "".join(lines)
    (info / "entry_points.txt").write_text(entry_points)
    if metadata:
        needs = "".join(f"Requires-Dist: {line}\n" for line in requires)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
