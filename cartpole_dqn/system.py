"""The machine: how much memory is left, with a refusal in words where it does not suffice, and signals.

* `available_bytes`: what a process may still take: the machine's free memory and its control groups' limits.
* `require_memory`: raise a `UserError` with both figures and what to do.
* `stopping_on_signals`, `unwinding_on_signals`: end in order when a signal asks for it.
* `keep_freed_memory`: spare the system the pages that every update gives back and takes again.
"""

from __future__ import annotations

import contextlib
import ctypes
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from cartpole_dqn.errors import UserError
from cartpole_dqn.text.figures import size

__version__ = "0.1.0"

STOP_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""The signals that ask a program to end."""

_AGAIN = 5.0
"""Seconds after which an exit that did not come through is raised again; what is left to do in order takes less."""
_MMAP_FROM = (-3, 32 * 2**20)
"""M_MMAP_THRESHOLD: blocks from this many bytes on get pages of their own; 32 MiB is the most that glibc takes."""
_TRIM_FROM = (-1, 512 * 2**20)
"""M_TRIM_THRESHOLD: free bytes at the heap's end that may stay."""
_MEMORY_FILES = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))
"""Limit and use, by the names of control groups v2 and v1."""


def available_bytes(root: Path = Path("/")) -> int:
    """Return the bytes of memory that may still be taken.

    This is the least of what the machine has and of what each control group around this process leaves: containers
    limit memory by such groups, which psutil does not look at. Pages of files that the system would give up count as
    free in both.
    """
    import psutil

    found = [_left_in_group(folder) for folder in _groups(root)]
    return min([int(psutil.virtual_memory().available), *(left for left in found if left is not None)])


def require_memory(needed: int, *, who: str, mend: str, available: int | None = None) -> None:
    """Raise a `UserError` where `needed` bytes are more than are `available`.

    Args:
        needed: projected bytes.
        who: what would take them, as the message's subject: "replay uniform with 50000 slots".
        mend: what the user can do, a sentence.
        available: bytes left; by default as `available_bytes` says.
    """
    if available is None:
        available = available_bytes()
    if needed > available:
        raise UserError(f"{who} would take {size(needed)} of memory, but {size(available)} are left. {mend}")


def keep_freed_memory() -> bool:
    """Have the C library keep up to 512 MiB of freed memory for the next tensors; return whether it will.

    An update frees the megabytes of its activations and soon asks for them again. glibc by default returns such blocks
    to the system at once, and every page that it then takes anew costs a fault: with the tutorial's network at a batch
    of 128 more time than the arithmetic. Only glibc knows these settings; elsewhere nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return all(mallopt(*setting) == 1 for setting in (_MMAP_FROM, _TRIM_FROM))


@contextlib.contextmanager
def stopping_on_signals(
    ask: Callable[[str], None], numbers: Sequence[signal.Signals] = tuple(STOP_SIGNALS)
) -> Iterator[None]:
    """Inside the block a signal's name goes to `ask`, which should return at once; a second Ctrl-C interrupts."""
    asked = False

    def handle(number: int, _: object) -> None:
        nonlocal asked
        if number == signal.SIGINT and asked:
            raise KeyboardInterrupt
        asked = True
        ask(signal.Signals(number).name)

    with _handling(numbers, handle):
        yield


@contextlib.contextmanager
def unwinding_on_signals() -> Iterator[None]:
    """Inside the block SIGTERM and SIGHUP unwind the stack as Ctrl-C does, and end the process with 128 + signal.

    An exit that is raised in a finaliser, or in a callback of a library, is dropped there: it is raised again until
    the block is left.
    """
    asked = 0

    def leave(number: int, _: object) -> None:
        nonlocal asked
        if not asked and hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, _AGAIN, _AGAIN)
        asked = asked or number
        sys.exit(128 + asked)

    alarm = [signal.SIGALRM] if hasattr(signal, "setitimer") else []
    with _handling([number for number in STOP_SIGNALS if number != signal.SIGINT] + alarm, leave):
        try:
            yield
        finally:
            if asked and alarm:
                signal.setitimer(signal.ITIMER_REAL, 0)


@contextlib.contextmanager
def _handling(numbers: Sequence[signal.Signals], handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Inside the block `handler` hears of the signals. Only the main thread may say so: elsewhere nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _groups(root: Path) -> list[Path]:
    """Return the folders of the control groups that this process is in, with those around them."""
    mount = root / "sys/fs/cgroup"
    folders = []
    for line in _read(root / "proc/self/cgroup").splitlines():
        controllers, _, path = line.partition(":")[2].partition(":")
        if controllers == "" or "memory" in controllers.split(","):
            top = mount / "memory" if controllers else mount
            inner = top / path.lstrip("/")
            # A container may see its own group at the mount's top, whatever path the host gave it: look there too.
            folders += [inner, *(folder for folder in inner.parents if folder.is_relative_to(top))]
    return folders


def _left_in_group(folder: Path) -> int | None:
    for limit_name, use_name in _MEMORY_FILES:
        limit, use = _read(folder / limit_name).strip(), _read(folder / use_name).strip()
        if limit.isdigit() and use.isdigit():
            return max(0, int(limit) - int(use) + _reclaimable(folder))
    return None


def _reclaimable(folder: Path) -> int:
    figures = dict(line.split() for line in _read(folder / "memory.stat").splitlines() if len(line.split()) == 2)
    # Under v1 a group's own figures leave its children out; those with "total_" include them.
    return int(figures.get("total_inactive_file", figures.get("inactive_file", 0)))


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
