"""`in_child`: does something in a fork of this process. `start`: begins something in a fork, to `kill` it later."""

from __future__ import annotations

import contextlib
import os
import signal
import traceback
from collections.abc import Callable

_READY = 250
"""The descriptor on which a child says that it is ready."""


def in_child(work: Callable[[], None]) -> int:
    """Run `work` in a fork; return the number of the signal that ended it, or 0."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the child failed"
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def start(work: Callable[[], None]) -> int:
    """Start `work` in a fork and return its process, once it has called `ready`."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            os.dup2(write, _READY)
            work()
        os._exit(0)
    os.close(write)
    assert os.read(read, 1) == b"r"
    os.close(read)
    return child


def ready() -> None:
    os.write(_READY, b"r")


def kill(process: int) -> None:
    """Kill a process, which may be a child's child."""
    os.kill(process, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(process, 0)
