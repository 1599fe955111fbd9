"""`python -m cartpole_dqn.studies.trial_process SECONDS run ...`: the command line, ended when its starter is gone.

* `become`: let this process be `cartpole-dqn` for as long as a pipe stays open.

The pipe is held open by whoever started the run, and nothing is written to it. When it closes, however the other
process ended, the run is asked to end in order, and the process is left after SECONDS at the latest; with 0 it is
killed at once.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time
from collections.abc import Sequence


def become(arguments: Sequence[str], pipe: int, stop_seconds: float) -> None:
    """Run the command line and leave the process.

    Args:
        arguments: of `cartpole-dqn`.
        pipe: a descriptor to read from.
        stop_seconds: how long the run may take to end in order once the pipe is closed.
    """
    threading.Thread(target=_follow, args=(pipe, stop_seconds), name="follow-starter", daemon=True).start()
    # A starter may have blocked signals or answered them in ways of its own, which is inherited.
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sys.argv = ["cartpole-dqn", *arguments]
    runpy.run_module("cartpole_dqn", run_name="__main__")


def _follow(pipe: int, stop_seconds: float) -> None:
    while os.read(pipe, 1):
        pass
    if stop_seconds <= 0:
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(stop_seconds)
    os._exit(128 + signal.SIGTERM)


def _main() -> None:
    stop_seconds, *arguments = sys.argv[1:]
    pipe = os.dup(0)
    # An environment that reads standard input must not take the pipe for it.
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123 (a descriptor is wanted, not a path)
        os.dup2(nothing.fileno(), 0)
    become(arguments, pipe, float(stop_seconds))


if __name__ == "__main__":
    _main()
