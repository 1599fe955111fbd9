"""Stands in for `pip install -e PROJECT` where there is no network: `python expose_plugin.py PROJECT SITE`.

It puts into the folder SITE, which must be on the path, what an editable install leaves behind: metadata and entry
points, both made from the project's `pyproject.toml`, and a way to the project's packages.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path


def expose(project: Path, site: Path) -> None:
    """Make the project's packages and entry points visible from `site`."""
    table = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    name, version = table["name"], table["version"]
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    requires = "".join(f"Requires-Dist: {line}\n" for line in table.get("dependencies", []))
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}")
    lines = []
    for group, entries in table["entry-points"].items():
        lines += [f"[{group}]", *(f"{key} = {value}" for key, value in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    for package in project.glob("*/__init__.py"):
        link = site / package.parent.name
        if not link.exists():
            link.symlink_to(package.parent, target_is_directory=True)


if __name__ == "__main__":
    expose(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
