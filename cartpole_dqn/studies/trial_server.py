"""`python -m cartpole_dqn.studies.trial_server SECONDS`: forks runs off a process that has imported what they need.

A run spends its first seconds on importing torch and all the rest; a fork of a process that did has nothing left to
import, shares that memory, and is as new as a process that did it itself: nothing was computed, no random number drawn,
no window opened and no thread started.

Requests come by stdin and answers go by stdout, a line of JSON each:

    {"arguments": ["run", ...], "log": "...", "folder": "..."}    start it; what it writes to stderr is added to the log
    {"signal": 15, "run": 0}                                      send it to the first run; 9 to its whole session
    {"started": 0, "pid": 4711}                                   the first run's process
    {"ended": 0, "code": 0}                                       negative where a signal ended it

It ends when stdin closes. With it a pipe closes that every run follows, see `trial_process`.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cartpole_dqn.studies.trial_process import become

_PRELOAD = (
    "cartpole_dqn.api",
    "cartpole_dqn.cli.app",
    "cartpole_dqn.agents.dqn",
    "cartpole_dqn.components.exploration",
    "cartpole_dqn.components.networks",
    "cartpole_dqn.components.optimisers",
    "cartpole_dqn.components.replay.uniform",
    "cartpole_dqn.components.target_updates",
    "cartpole_dqn.envs.lanes",
    "cartpole_dqn.observers.display.display",
    "cartpole_dqn.observers.metrics",
    "gymnasium.envs.classic_control",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "pygame.gfxdraw",
)
"""What every run imports, or nearly every one. What fails here is said by the run that needs it."""


@dataclass(frozen=True)
class _Run:
    """What a forked process is to be."""

    arguments: list[str]
    pipe: int


def main() -> None:
    """Serve until stdin closes; in a forked process, be the run."""
    stop_seconds = float(sys.argv[1])
    os.environ.setdefault("SDL_NO_SIGNAL_HANDLERS", "1")
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    for name in _PRELOAD:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # Else each run's first collection would copy the memory that is shared.
    run = _serve()
    if run is not None:
        become(run.arguments, run.pipe, stop_seconds)


def _serve() -> _Run | None:
    """Return None when it is over, and a forked process what it is to be."""
    followed, held = os.pipe()
    woken, wake = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    runs: dict[int, int] = {}
    requests, count = b"", 0
    with contextlib.suppress(BrokenPipeError):
        while True:
            ready, _, _ = select.select([0, woken], [], [])
            if woken in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(woken, 4096)
                _tell_ended(runs)
            if 0 not in ready:
                continue
            read = os.read(0, 65_536)
            if not read:
                break
            *lines, requests = (requests + read).split(b"\n")
            for request in map(json.loads, lines):
                if "signal" in request:
                    _send(request["signal"], runs.get(request["run"]))
                    continue
                try:
                    pid = os.fork()
                except OSError as error:  # No memory, or too many processes: that harms this run alone.
                    _say(request, f"its process could not be started: {error.strerror}.")
                    _tell(ended=count, code=1)
                    count += 1
                    continue
                if pid == 0:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for descriptor in (held, woken, wake):
                        os.close(descriptor)
                    _settle(request)
                    return _Run(request["arguments"], followed)
                runs[count] = pid
                _tell(started=count, pid=pid)
                count += 1
    os.close(held)  # Now, and not at the end of all that this process leaves behind.
    return None


def _tell_ended(runs: dict[int, int]) -> None:
    """Tell of every process that ended: one signal may stand for several."""
    while runs:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        number = next(number for number, one in runs.items() if one == pid)
        del runs[number]
        _tell(ended=number, code=os.waitstatus_to_exitcode(status))


def _tell(**answer: int) -> None:
    os.write(1, json.dumps(answer).encode() + b"\n")


def _say(request: dict[str, Any], text: str) -> None:
    """Add to a run's log what the command line would have said."""
    with contextlib.suppress(OSError), Path(request["log"]).open("a", encoding="utf-8") as log:
        log.write(f"cartpole-dqn: {text}\n")


def _send(number: int, pid: int | None) -> None:
    """Send a signal to a process that has not been waited for, so that its number is nobody else's."""
    if pid is None:
        return
    if number == signal.SIGKILL:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, number)
    os.kill(pid, number)  # SIGKILL too: it may not have got its session yet


def _settle(request: dict[str, Any]) -> None:
    """Give a forked process a session, standard streams and a current folder of its own."""
    os.setsid()
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for descriptor, target in ((nothing, 0), (nothing, 1), (log, 2)):
        os.dup2(descriptor, target)
    os.close(log)
    os.close(nothing)
    os.chdir(request["folder"])


if __name__ == "__main__":
    main()
