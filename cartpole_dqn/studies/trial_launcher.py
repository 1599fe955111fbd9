"""`cartpole-dqn` in processes of their own, which end with the process that started them.

* `TrialLauncher`: starts them; on Linux each is a fork of a process that has imported what runs need (`trial_server`),
  so that only the first one takes the seconds which that takes.
* `TrialProcess`: one of them.
"""

from __future__ import annotations

import abc
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

_FORKS = sys.platform == "linux"
"""Elsewhere libraries of the system do not bear it."""
_LOOK = 0.1
"""Seconds between two looks at whether a process is gone whose parent is."""


class TrialProcess(abc.ABC):
    """A `cartpole-dqn` under way, the leader of a session of its own."""

    @abc.abstractmethod
    def wait(self, timeout: float | None = None) -> int | None:
        """Return the exit code, negative where a signal ended it; None where it still runs after `timeout` seconds."""

    @abc.abstractmethod
    def terminate(self) -> None:
        """Ask it to end in order."""

    @abc.abstractmethod
    def kill(self) -> None:
        """End it at once, and what its environments started."""

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""
        return self.wait(0)


class TrialLauncher:
    """Starts `cartpole-dqn` in processes that end when this one does, however it ends. Use it from any thread.

    Args:
        stop_seconds: how long they may take to end in order then; 0 kills them at once.
        environment: their environment variables; None for this process's own.
        current: whether modules are imported from the current folder too.
    """

    def __init__(
        self, *, stop_seconds: float, environment: Mapping[str, str] | None = None, current: bool = True
    ) -> None:
        self._stop_seconds = stop_seconds
        self._environment = None if environment is None else dict(environment)
        self._python = [sys.executable, *(() if current else ("-P",)), "-m"]
        self._lock = threading.Lock()
        self._server: _Server | None = None

    def start(self, arguments: Sequence[str], *, log: Path, folder: Path | None = None) -> TrialProcess:
        """Start one.

        Args:
            arguments: of `cartpole-dqn`.
            log: a file that what it writes to stderr is added to; made where it is missing.
            folder: its current folder; None for this process's own.

        Raises:
            OSError: it cannot be started.
        """
        where = folder or Path.cwd()
        with log.open("ab") as said:
            if not _FORKS:
                return _Spawned(self._popen("trial_process", arguments, said, folder))
            with self._lock:
                if self._server is None or self._server.is_over:
                    self._server = _Server(self._popen("trial_server", (), said, None), self._stop_seconds)
                request = {"arguments": list(arguments), "log": str(log.absolute()), "folder": str(where.absolute())}
                return self._server.start(request)

    def close(self) -> None:
        """Leave the processes to end, as when this one does."""
        with self._lock:
            if self._server is not None:
                self._server.close()
            self._server = None

    def _popen(
        self, module: str, arguments: Sequence[str], said: IO[bytes], folder: Path | None
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*self._python, f"cartpole_dqn.studies.{module}", str(self._stop_seconds), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if module == "trial_server" else subprocess.DEVNULL,
            stderr=said,
            cwd=folder,
            env=self._environment,
            start_new_session=True,
        )


class _Spawned(TrialProcess):
    """A process with an interpreter of its own."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def wait(self, timeout: float | None = None) -> int | None:
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        if self._process.stdin is not None:
            self._process.stdin.close()
        return code

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        if self._process.poll() is None:
            _kill_group(self._process.pid)


class _Forked(TrialProcess):
    """A process of the server's, from whom all that is known of it comes."""

    def __init__(self, number: int, server: _Server) -> None:
        self.pid: int | None = None
        self._number = number
        self._server = server
        self._ended = threading.Event()
        self._code = 0

    def wait(self, timeout: float | None = None) -> int | None:
        return self._code if self._ended.wait(timeout) else None

    def terminate(self) -> None:
        self._server.ask({"signal": int(signal.SIGTERM), "run": self._number})

    def kill(self) -> None:
        self._server.ask({"signal": int(signal.SIGKILL), "run": self._number})

    def has_ended(self, code: int) -> None:
        """Hear how it ended."""
        self._code = code
        self._ended.set()


class _Server:
    """A `trial_server` and the processes that it forked."""

    def __init__(self, process: subprocess.Popen[bytes], stop_seconds: float) -> None:
        self._process = process
        self._stop_seconds = stop_seconds
        self._lock = threading.Lock()
        self._runs: list[_Forked] = []
        self.is_over = False
        threading.Thread(target=self._listen, name="listen-to-trial-server", daemon=True).start()

    def start(self, request: Mapping[str, object]) -> _Forked:
        """Ask for a process. It is told of a server that has ended meanwhile, as of one that ends later."""
        with self._lock:
            run = _Forked(len(self._runs), self)
            self._runs.append(run)
            if self.is_over:
                run.has_ended(self._process.wait() or 1)
            self._write(request)
        return run

    def ask(self, request: Mapping[str, object]) -> None:
        """Send a request; one that has ended hears nothing."""
        with self._lock:
            self._write(request)

    def _write(self, request: Mapping[str, object]) -> None:
        pipe = self._process.stdin
        assert pipe is not None
        with contextlib.suppress(BrokenPipeError):
            if not pipe.closed:
                pipe.write(json.dumps(request).encode() + b"\n")
                pipe.flush()

    def close(self) -> None:
        """Have it end."""
        assert self._process.stdin is not None
        with self._lock, contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if not line.endswith(b"\n"):  # It was killed while it wrote.
                break
            answer = json.loads(line)
            if "started" in answer:
                self._runs[answer["started"]].pid = answer["pid"]
            else:
                self._runs[answer["ended"]].has_ended(answer["code"])
        self._process.stdout.close()
        code = self._process.wait()
        with self._lock:
            self.is_over = True
            left = [run for run in self._runs if run.poll() is None]
        for run in left:
            if run.pid is None:
                run.has_ended(code or 1)
            else:
                # Nobody can say how it ends, only when: it was asked to end in order, for its pipe is closed.
                _await_gone(run.pid, self._stop_seconds)
                run.has_ended(-signal.SIGTERM)


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGTERM)


def _await_gone(pid: int, seconds: float) -> None:
    """Wait until there is no such process, and end it when the time is over."""
    end = time.monotonic() + seconds
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < end:
            os.kill(pid, 0)
            time.sleep(_LOOK)
        _kill_group(pid)
