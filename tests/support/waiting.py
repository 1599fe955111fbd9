"""Waiting for other processes: `until` a condition holds, a run `is_under_way`, or a process `is_gone`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until the condition holds. Fail after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def is_under_way(run: Path, size: int = 2000) -> bool:
    """Return whether a run has written more than `size` bytes of metrics."""
    return (run / "metrics.jsonl").exists() and (run / "metrics.jsonl").stat().st_size > size


def is_gone(pid: int) -> bool:
    """Return whether no process has this id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False
