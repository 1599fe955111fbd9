"""`python -m cartpole_dqn_ray.launch ARGUMENTS`: `cartpole-dqn ARGUMENTS`, which ends when whoever started it does.

Standard input is a pipe that its starter holds open and never writes to. It closes when the starter ends, even by
`kill -9`; the run is then killed too, so that nobody writes to a folder in which another node goes on with the run.
"""

from __future__ import annotations

import os
import runpy
import signal
import threading
from pathlib import Path


def main() -> None:
    """Run the command line on this process's arguments."""
    pipe = os.dup(0)
    # An environment that reads standard input must not take the pipe for it.
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    threading.Thread(target=_end_with_starter, args=(pipe,), name="end-with-starter", daemon=True).start()
    # Ray blocks SIGINT in its workers, and a mask is inherited.
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    runpy.run_module("cartpole_dqn", run_name="__main__", alter_sys=True)


def _end_with_starter(pipe: int) -> None:
    while os.read(pipe, 1):
        pass
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))


if __name__ == "__main__":
    main()
