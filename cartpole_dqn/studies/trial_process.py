"""`python -m cartpole_dqn.studies.trial_process SECONDS run ...`: the command line, ended when its starter is gone.

Its stdin is a pipe from whoever started it. When that closes, however the other process ended, the run is asked to end
in order, and the process is left after SECONDS at the latest. What reads stdin itself, in an environment say, finds it
empty.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time


def main() -> None:
    """Follow the pipe, and be `cartpole-dqn` with the other arguments."""
    bound = float(sys.argv.pop(1))
    pipe = os.dup(0)
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123 (a descriptor is wanted, not a path)
        os.dup2(nothing.fileno(), 0)
    threading.Thread(target=_follow, args=(pipe, bound), name="follow-starter", daemon=True).start()
    runpy.run_module("cartpole_dqn", run_name="__main__")


def _follow(pipe: int, bound: float) -> None:
    while os.read(pipe, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(bound)
    os._exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    main()
