"""The files that a host of repositories reads say the same as pyproject.toml and README.md."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_ci_tests_every_python_that_the_package_declares() -> None:
    declared = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    versions = re.search(r"python: \[(.*)\]", read(".github/workflows/ci.yml"))
    assert versions is not None
    assert re.findall(r"[\d.]+", versions[1]) == declared
    assert PROJECT["requires-python"] == f">={declared[0]}"


def test_workflows_call_what_contributors_call() -> None:
    for name in ("ci.yml", "release.yml"):
        assert re.search(r"run: \.ci/run$", read(f".github/workflows/{name}"), re.MULTILINE)
    assert re.search(r'pip install -e "\.\[test\]"', read(".github/workflows/ci.yml"))
    for tool in ("ruff check", "ruff format", "mypy"):
        assert f"entry: {tool}" in read(".pre-commit-config.yaml")
        assert tool in read(".ci/run")


def test_reports_ask_for_the_doctor() -> None:
    for name in (".github/ISSUE_TEMPLATE/bug.yml", ".github/pull_request_template.md", "SECURITY.md"):
        assert "cartpole-dqn doctor --json" in read(name)
