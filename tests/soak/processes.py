"""Runs of `cartpole-dqn` in processes of their own, each started in a fraction of a second.

* `launch`: the command line in a new process, the leader of a new group; returns a `Launched`.
* `workers_of`, `is_alive`: the children of a process, and whether one still runs.

Each process is forked off a server that has imported torch and everything else, and has computed nothing: killing it is
killing a real run, without two seconds of imports before.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

_CODE = """
import os, sys
os.setsid()
for number, path in ((1, {out!r}), (2, {err!r})):
    os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), number)
os.chdir({folder!r})
os.environ.update({environment!r})
sys.path[:0] = {path!r}
sys.argv = ["cartpole-dqn", *{arguments!r}]
import multiprocessing
multiprocessing.set_start_method(None, force=True)  # the system's own way again, not this server's
from cartpole_dqn.cli import main
main()
"""
_PRELOAD = [
    "cartpole_dqn.api",
    "cartpole_dqn.cli.app",
    "gymnasium.envs.classic_control",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "pygame",
    "torch.optim.adam",
]


@dataclass(frozen=True)
class Launched:
    """A command under way; its output goes to files."""

    process: Any
    out: Path
    err: Path

    @property
    def pid(self) -> int:
        """The process, and its group."""
        return int(self.process.pid)

    def send(self, name: str, *, to_group: bool = False) -> None:
        """Send the signal `name`."""
        (os.killpg if to_group else os.kill)(self.pid, getattr(signal, name))

    def wait(self, seconds: float) -> int:
        """Return the exit code, negative for a signal; raise `TimeoutError` where it does not end."""
        self.process.join(seconds)
        code = self.process.exitcode
        if code is None:
            raise TimeoutError(f"process {self.pid} is still there after {seconds:g} s: {self.err.read_text()[-2000:]}")
        return int(code)


def launch(
    arguments: Sequence[str],
    *,
    folder: Path,
    name: str = "run",
    environment: Mapping[str, str] | None = None,
    path: Sequence[str] = (),
) -> Launched:
    """Run `cartpole-dqn ARGUMENTS` in `folder`.

    Args:
        arguments: of the command line.
        folder: where it runs; its output goes to `NAME.out` and `NAME.err` there.
        name: of these files.
        environment: variables to set.
        path: folders to import from first.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    out, err = folder / f"{name}.out", folder / f"{name}.err"
    code = _CODE.format(
        out=str(out),
        err=str(err),
        folder=str(folder),
        environment={"COLUMNS": "200", **(environment or {})},
        path=list(path),
        arguments=list(arguments),
    )
    process = context.Process(target=exec, args=(code, {"__name__": "launched"}))
    process.start()
    return Launched(process, out, err)


def workers_of(pid: int) -> list[int]:
    """Return the processes that `pid` started."""
    return [child.pid for child in psutil.Process(pid).children()]


def is_alive(pid: int) -> bool:
    """Return whether the process runs: one that has ended and waits to be noticed does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
