"""`TrialProcess`: `cartpole-dqn` in another process, which stops when the process that started it ends.

On Linux, the processes are forks of `multiprocessing`'s fork server, which imports torch once (`trial_preload`). Only
the first start takes seconds. Elsewhere they are spawned: macOS libraries do not survive a fork, and Windows has none.

A pipe carries the request to stop and the exit code. The trial also stops when the starter's end of the pipe closes.
Trials survive a fork server that was killed, and the next start makes another server.
"""

from __future__ import annotations

import _thread
import atexit
import contextlib
import functools
import math
import multiprocessing
import os
import runpy
import signal
import sys
import threading
import time
import traceback
import types
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from cartpole_dqn.contracts.sweep_engine import TrialEnd

_FORKS = sys.platform == "linux"
_PRELOAD = "cartpole_dqn.studies.trial_preload"
_LEAVING = 10.0
"""Seconds to wait for a process after it sent its exit code or was killed."""
_DYING = 1.0
"""Seconds to wait for a fork server after it failed."""
_KILLED = -int(getattr(signal, "SIGKILL", signal.SIGTERM))
_LOG_END = 16_384
"""Bytes at the end of a log that are searched for the error."""
_UNKNOWN = 255
"""`multiprocessing`'s exit code of a process whose server is gone."""


class TrialProcess:
    """A `cartpole-dqn` command in another process. The terminal's Ctrl-C does not reach it. Use it from one thread.

    Args:
        arguments: arguments of `cartpole-dqn`.
        log: file to which its stderr is appended.
        folder: its current folder. Default: this process's.
        environment: its environment variables. Default: this process's.
        path: its `sys.path`. Default: this process's.
        stop_seconds: if this process ends first, the seconds that the command has to stop cleanly; 0 kills it at once.

    Raises:
        OSError: the log cannot be written, or the process cannot be started.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        log: Path,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
        path: Sequence[str] | None = None,
        stop_seconds: float = 60.0,
    ) -> None:
        with log.open("ab"):
            pass
        context: Any = multiprocessing.get_context("spawn")
        if _FORKS:
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload([_PRELOAD])
        self.pipe: Connection
        self.pipe, child_pipe = context.Pipe()
        """Readable when the process ends, for `multiprocessing.connection.wait`."""
        work = functools.partial(
            _work,
            child_pipe,
            list(arguments),
            log=str(log.absolute()),
            folder=str((folder or Path.cwd()).absolute()),
            environment=dict(os.environ if environment is None else environment),
            path=list(sys.path if path is None else path),
            stop_seconds=stop_seconds,
        )
        # A daemon, so that this process does not wait for it at exit.
        self._process: BaseProcess = context.Process(target=work, daemon=True)
        self._code: int | None = None
        self._log = log
        self._stop_seconds, self._kill_at = math.inf, math.inf
        self._late = False
        with child_pipe, _without_main():
            self._start()

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        return self.wait(0)

    def wait(self, timeout: float | None = None) -> int | None:
        """Return the exit code, negative if a signal ended it; None if it still runs after `timeout` seconds."""
        if self._code is None and self.pipe.poll(timeout):
            self._code = self._exit_code()
        if self._code is None and time.monotonic() > self._kill_at and not self._late:
            self._late = True
            self.kill()
        return self._code

    def end(self, name: str, timeout: float = 0.0) -> TrialEnd | None:
        """Return how the trial `name` ended; None if it still runs after `timeout` seconds."""
        code = self.wait(timeout)
        if code is None:
            return None
        if self._late and code != 0:
            cause = f"it did not end within {self._stop_seconds:g} seconds and was killed"
            return TrialEnd(name, "interrupted", f"{cause}: it will resume from its last checkpoint.")
        log_end = b""
        with contextlib.suppress(OSError):
            log_end = self._log.read_bytes()[-_LOG_END:]
        return TrialEnd.of_process(name, code, log_end.decode(errors="replace"))

    def terminate(self, seconds: float = math.inf) -> None:
        """Ask it to save and stop. `wait` and `end` kill it if they find it running after `seconds`."""
        self._stop_seconds, self._kill_at = seconds, time.monotonic() + seconds
        if self._code is None:
            with contextlib.suppress(OSError):
                self.pipe.send("stop")

    def kill(self) -> None:
        """Kill it and the processes of its environments."""
        if self.poll() is not None:
            return
        if sys.platform != "win32":
            with contextlib.suppress(ProcessLookupError):  # It may not have its session yet.
                os.killpg(self.pid, signal.SIGKILL)
        self._process.kill()

    def _start(self) -> None:
        try:
            self._process.start()
        except (EOFError, ConnectionError):
            # A server that cannot fork ends. Try once more with a new one.
            time.sleep(_DYING)
            try:
                self._process.start()
            except (EOFError, ConnectionError) as error:
                raise ChildProcessError(0, "the process that forks trials ended, perhaps for lack of memory") from error

    def _exit_code(self) -> int:
        try:
            sent_code: int | None = self.pipe.recv()
        except (EOFError, OSError):
            sent_code = None
        self._process.join(_LEAVING)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(_LEAVING)
        self.pipe.close()
        code = self._process.exitcode
        if sent_code is not None:
            return sent_code
        return _KILLED if code is None or code == _UNKNOWN else code


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Hide the main module from `multiprocessing`, which would import it in the child. It may lack a guard."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _work(
    pipe: Connection,
    arguments: list[str],
    *,
    log: str,
    folder: str,
    environment: dict[str, str],
    path: list[str],
    stop_seconds: float,
) -> None:
    """Run `cartpole-dqn` in the new process."""
    if sys.platform != "win32":
        os.setsid()
        signal.pthread_sigmask(signal.SIG_SETMASK, ())  # The starting thread may have blocked some.
    _redirect(log)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:] = path
    sys.argv = ["cartpole-dqn", *arguments]
    # Processes of environments start as in a run by hand.
    multiprocessing.current_process().daemon = False
    multiprocessing.set_start_method(None, force=True)
    signal.signal(signal.SIGTERM, _leave if sys.platform == "win32" else signal.SIG_DFL)
    threading.Thread(target=_follow, args=(pipe, stop_seconds), name="follow-starter", daemon=True).start()
    code = _run()
    atexit._run_exitfuncs()  # A fork exits without them.
    with contextlib.suppress(OSError):
        pipe.send(code)
    sys.exit(code)


def _run() -> int:
    """Run the command line and return its exit code."""
    code: object = 0
    try:
        runpy.run_module("cartpole_dqn", run_name="__main__")
    except SystemExit as exiting:
        code = exiting.code
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stderr.flush()
    return code if isinstance(code, int) else int(code is not None)


def _redirect(log: str) -> None:
    """Redirect stdin and stdout to the null device, and stderr to the log."""
    log_file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor, target in ((nothing, 0), (nothing, 1), (log_file, 2)):
        os.dup2(descriptor, target)
    for descriptor in {log_file, nothing} - {0, 1, 2}:
        os.close(descriptor)


def _follow(pipe: Connection, stop_seconds: float) -> None:
    """Stop the run when the starter asks for it or ends."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            pipe.recv()
            _stop()
    if stop_seconds <= 0:
        os.kill(os.getpid(), -_KILLED)
    _stop()
    time.sleep(stop_seconds)
    os._exit(128 + signal.SIGTERM)


def _stop() -> None:
    if sys.platform == "win32":
        _thread.interrupt_main(signal.SIGTERM)  # There os.kill would end the process at once.
    else:
        os.kill(os.getpid(), signal.SIGTERM)


def _leave(*_: object) -> None:
    """Handle SIGTERM until the run does, on systems without a default action."""
    sys.exit(128 + signal.SIGTERM)
