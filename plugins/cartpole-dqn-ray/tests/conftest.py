"""Tests marked `ray` start clusters of several raylets on this machine: they run by `pytest -m ray` alone."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "ray: starts Ray clusters on this machine; run by `pytest -m ray`")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "ray" in (config.getoption("markexpr") or "").replace("(", " ").replace(")", " ").split():
        return
    left = [item for item in items if item.get_closest_marker("ray") is not None]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]
