"""`TrialProcess`: `cartpole-dqn` in a process of its own, which ends when the process that started it does.

The processes are `multiprocessing`'s. On Linux they are forks of its fork server, which has imported torch and the rest
once (`trial_preload`): the first one takes the seconds for that, the others do not. Elsewhere each is started anew
("spawn"), since system libraries of macOS do not survive a fork and Windows has none.

A pipe connects the two. The starter asks through it to stop, and the trial tells its exit code. When the starter's end
closes, however the starter ended, the trial stops too. Since the exit code comes through the pipe, trials survive a
fork server that was killed; the next start makes another server.
"""

from __future__ import annotations

import _thread
import atexit
import contextlib
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
from typing import Any, NamedTuple

_FORKS = sys.platform == "linux"
_PRELOAD = "cartpole_dqn.studies.trial_preload"
_LEAVING = 10.0
"""Seconds that a process may take to be gone after it told its exit code or was killed."""
_DYING = 1.0
"""Seconds that a fork server may take to be gone after it failed."""
_KILLED = -int(getattr(signal, "SIGKILL", signal.SIGTERM))
_UNKNOWN = 255
"""`multiprocessing`'s exit code of a process whose server is gone."""


class TrialProcess:
    """A `cartpole-dqn` that runs, the leader of a session of its own. Use it from one thread.

    The terminal's Ctrl-C does not reach it.

    Args:
        arguments: of `cartpole-dqn`.
        log: file to which its stderr is appended; created if missing.
        folder: its current folder; None for this process's own.
        environment: its environment variables; None for this process's own.
        path: its `sys.path`; None for this process's own.
        stop_seconds: time to stop cleanly once this process is gone; 0 kills it at once.

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
        self.pipe, its = context.Pipe()
        """Ready to be read when the process ends, for `multiprocessing.connection.wait`."""
        given = _Given(
            list(arguments),
            str(log.absolute()),
            str((folder or Path.cwd()).absolute()),
            dict(os.environ if environment is None else environment),
            list(sys.path if path is None else path),
            stop_seconds,
            _FORKS,
        )
        # A daemon, so that this process does not wait for it when it ends.
        self._process: BaseProcess = context.Process(target=_be, args=(given, its), daemon=True)
        self._code: int | None = None
        with its, _without_main():
            self._start()

    @property
    def pid(self) -> int:
        """The process's number."""
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""
        return self.wait(0)

    def wait(self, timeout: float | None = None) -> int | None:
        """Return the exit code, negative if a signal ended it; None if it still runs after `timeout` seconds."""
        if self._code is None and self.pipe.poll(timeout):
            self._code = self._exit_code()
        return self._code

    def terminate(self) -> None:
        """Ask it to stop cleanly, with a checkpoint."""
        if self._code is None:
            with contextlib.suppress(OSError):
                self.pipe.send("stop")

    def kill(self) -> None:
        """End it at once, and what its environments started."""
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
            # A server that cannot fork ends. Another may do better, once this one is gone.
            time.sleep(_DYING)
            try:
                self._process.start()
            except (EOFError, ConnectionError) as error:
                raise ChildProcessError(0, "the process that forks trials ended, perhaps for lack of memory") from error

    def _exit_code(self) -> int:
        try:
            told: int | None = self.pipe.recv()
        except (EOFError, OSError):
            told = None
        self._process.join(_LEAVING)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(_LEAVING)
        self.pipe.close()
        code = self._process.exitcode
        if told is not None:
            return told
        return _KILLED if code is None or code == _UNKNOWN else code


class _Given(NamedTuple):
    """What a process is to be."""

    arguments: list[str]
    log: str
    folder: str
    environment: dict[str, str]
    path: list[str]
    stop_seconds: float
    forked: bool


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Hide the main module, which `multiprocessing` would import in the child: it may be a script without a guard."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _be(given: _Given, pipe: Connection) -> None:
    """Be `cartpole-dqn` in the new process."""
    if sys.platform != "win32":
        os.setsid()
        signal.pthread_sigmask(signal.SIG_SETMASK, ())  # The thread that started it may have blocked some.
    _redirect(given.log)
    os.chdir(given.folder)
    os.environ.clear()
    os.environ.update(given.environment)
    sys.path[:] = given.path
    sys.argv = ["cartpole-dqn", *given.arguments]
    # Environments may have processes of their own, which start as in a run by hand.
    multiprocessing.current_process().daemon = False
    multiprocessing.set_start_method(None, force=True)
    signal.signal(signal.SIGTERM, _leave if sys.platform == "win32" else signal.SIG_DFL)
    threading.Thread(target=_follow, args=(pipe, given.stop_seconds), name="follow-starter", daemon=True).start()
    code = _run()
    if given.forked:
        atexit._run_exitfuncs()  # A fork leaves without them.
    with contextlib.suppress(OSError):
        pipe.send(code)
    sys.exit(code)


def _run() -> int:
    """Run the command line and return its exit code."""
    code: object = 0
    try:
        runpy.run_module("cartpole_dqn", run_name="__main__")
    except SystemExit as left:
        code = left.code
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stderr.flush()
    return code if isinstance(code, int) else int(code is not None)


def _redirect(log: str) -> None:
    """Read nothing, write stdout nowhere and stderr to the log."""
    said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor, target in ((nothing, 0), (nothing, 1), (said, 2)):
        os.dup2(descriptor, target)
    for descriptor in {said, nothing} - {0, 1, 2}:
        os.close(descriptor)


def _follow(pipe: Connection, stop_seconds: float) -> None:
    """Stop the run when the starter asks for it, or is gone."""
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
    """Answer SIGTERM before the run does, where the system has no answer of its own."""
    sys.exit(128 + signal.SIGTERM)
