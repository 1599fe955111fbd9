"""The version, processors, memory, signals and streams.

* `usable_cores`: the number of cores that this process may use.
* `available_bytes`: memory that this process may still use. `require_memory`: raises `UserError` if it is too little.
* `stopping_on_signals`, `unwinding_on_signals`: stop cleanly on a signal. `leaving_on_signals`: call a function first.
* `Steady`: a text stream that outlives its reader.
* `keep_freed_memory`: speeds up training by keeping freed memory in the process.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from cartpole_dqn.errors import UserError
from cartpole_dqn.text.figures import size

__version__ = "0.1.0"

STOP_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""The signals that ask a program to stop."""

_AGAIN = 5.0
"""Seconds after which an exit is raised again if it was dropped. A clean exit takes less."""
_MMAP_FROM = (-3, 32 * 2**20)
"""M_MMAP_THRESHOLD: larger blocks get pages of their own. 32 MiB is the maximum in glibc."""
_TRIM_FROM = (-1, 512 * 2**20)
"""M_TRIM_THRESHOLD: free bytes that may stay at the end of the heap."""
_MEMORY_FILES = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))
"""Limit and usage, in control groups v2 and v1."""


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def available_bytes(root: Path = Path("/")) -> int:
    """Return the bytes of memory that this process may still use.

    This is the minimum over the machine and all control groups of this process. Containers limit memory with such
    groups, which psutil ignores. Cached file pages count as free.
    """
    import psutil

    group_limits = [_left_in_group(folder) for folder in _groups(root)]
    return min([int(psutil.virtual_memory().available), *(limit for limit in group_limits if limit is not None)])


def require_memory(needed: int, *, who: str, mend: str, available: int | None = None) -> None:
    """Raise a `UserError` if `needed` bytes are more than are `available`.

    Args:
        needed: bytes.
        who: the subject of the message: "replay uniform with 50000 slots".
        mend: a sentence that says what the user can do.
        available: bytes; `available_bytes()` by default.
    """
    if available is None:
        available = available_bytes()
    if needed > available:
        raise UserError(f"{who} would take {size(needed)} of memory, but {size(available)} are left. {mend}")


class Steady:
    """A text stream that drops what can no longer be written, because its reader has gone or its disk is full.

    So a lost terminal, or `| head`, does not end the program. `error` then is the reason. All else is the stream's.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def write(self, text: str) -> int:
        """Write, or drop the text."""
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Flush, or drop what is left."""
        self._try(self._stream.flush)

    def _try(self, do: Callable[[], object]) -> None:
        if self.error is None:
            try:
                do()
            except OSError as error:
                self.error = error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def keep_freed_memory() -> bool:
    """Make glibc keep up to 512 MiB of freed memory; return whether it does. Other C libraries are left alone.

    An update frees megabytes of activations and soon allocates them again. By default glibc returns them to the system
    at once, and each new page costs a fault. With the tutorial's network at a batch of 128, this takes longer than the
    arithmetic.
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
    """Inside the block, a signal calls `ask` with its name; `ask` must return at once. A second Ctrl-C interrupts."""

    def handle(number: int, _: object) -> None:
        if signal.getsignal(signal.SIGINT) is handle:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        ask(signal.Signals(number).name)

    with _handling(numbers, handle):
        yield


@contextlib.contextmanager
def unwinding_on_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block as Ctrl-C does, and then raise `SystemExit` with the code 128 + signal.

    In the block they raise `KeyboardInterrupt`, which nobody takes for an exit of an environment or a plugin. Python
    drops an exception in a finaliser or a library's callback, so it is raised again until the block is left.
    """
    first_signal = 0

    def leave(number: int, _: object) -> None:
        nonlocal first_signal
        if not first_signal and hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, _AGAIN, _AGAIN)
        first_signal = first_signal or number
        raise KeyboardInterrupt

    alarm = [signal.SIGALRM] if hasattr(signal, "setitimer") else []
    with _handling([number for number in STOP_SIGNALS if number != signal.SIGINT] + alarm, leave):
        try:
            yield
        except KeyboardInterrupt:
            if not first_signal:
                raise
        finally:
            if first_signal and alarm:
                signal.setitimer(signal.ITIMER_REAL, 0)
    if first_signal:
        sys.exit(128 + first_signal)


@contextlib.contextmanager
def leaving_on_signals(leave: Callable[[], None], back: Callable[[], None]) -> Iterator[None]:
    """Inside the block, a signal that ends or suspends the process first calls `leave`, and `back` when it goes on.

    Signals that have a handler are left to it.
    """
    process = os.getpid()

    def handle(number: int, _: object) -> None:
        is_own = os.getpid() == process  # Forks have this handler too.
        if is_own:
            leave()
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
        signal.signal(number, handle)
        if is_own:
            back()

    names = ("SIGTSTP", "SIGQUIT", "SIGTERM", "SIGHUP")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    with _handling([number for number in numbers if signal.getsignal(number) == signal.SIG_DFL], handle):
        yield


@contextlib.contextmanager
def _handling(numbers: Sequence[signal.Signals], handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Inside the block, `handler` handles the signals, but for those that are ignored, as `nohup` asks for.

    Outside the main thread this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handled = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    previous_handlers = {number: signal.signal(number, handler) for number in handled}
    try:
        yield
    finally:
        for number, previous in previous_handlers.items():
            signal.signal(number, previous)


def _groups(root: Path) -> list[Path]:
    """Return the folders of this process's control groups and of their parents."""
    mount = root / "sys/fs/cgroup"
    folders = []
    for line in _read(root / "proc/self/cgroup").splitlines():
        controllers, _, path = line.partition(":")[2].partition(":")
        if controllers == "" or "memory" in controllers.split(","):
            top = mount / "memory" if controllers else mount
            inner = top / path.lstrip("/")
            # A container may see its own group at the top of the mount, so look there too.
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
    # In v1 only the figures with "total_" include the children of a group.
    return int(figures.get("total_inactive_file", figures.get("inactive_file", 0)))


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
