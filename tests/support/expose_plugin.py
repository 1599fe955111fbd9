"""Stands in for `pip install -e PROJECT` where there is no network: `python expose_plugin.py PROJECT SITE`.

It puts into the folder SITE, which must be on the path, what an editable install leaves behind: metadata and entry
points, both made from the project's `pyproject.toml`, and a way to the project's packages.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from distributions import write


def expose(project: Path, site: Path) -> None:
    """Make the project's packages and entry points visible from `site`."""
    table = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    write(site, table["name"], table["entry-points"], table["version"], table.get("dependencies", []))
    for package in project.glob("*/__init__.py"):
        link = site / package.parent.name
        if not link.exists():
            link.symlink_to(package.parent, target_is_directory=True)


if __name__ == "__main__":
    expose(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
