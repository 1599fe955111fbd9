"""Collects the tests of those plugins that are installed, `pip install ./plugins/NAME`, and those of all if all are."""

from __future__ import annotations

import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

HERE = Path(__file__).parent
collect_ignore: list[str] = []
for project in sorted(HERE.glob("*/pyproject.toml")):
    name = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["name"]
    try:
        version(name)
    except PackageNotFoundError:
        collect_ignore.append(project.parent.name)
if collect_ignore:
    collect_ignore.append("test_directory.py")
