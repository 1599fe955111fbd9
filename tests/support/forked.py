"""Python programs, forked instead of started.

* `run`, `Popen`, `spawn`: as in `subprocess` and `pexpect`.
* `launch`: the command line, as the leader of a new group, its output in files.
* `workers_of`, `is_alive`: the children of a process, and whether one still runs.

Importing torch takes most of a short command's time. On Linux a server process imports it once, with the other large
libraries and this package, and calls nothing. Each program then runs in a fork of the server, which takes its own
arguments, folder, environment, streams and terminal, and becomes a child of the caller: signals, process groups and
return codes are those of any child. The server has one thread, and ends with the process that started it.

Elsewhere they start a new interpreter. A test needs `subprocess` itself where it is about what is imported, or
about what the interpreter's options and variables do before the first import.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

IMPORTED = (
    "numpy", "torch", "torch.optim", "gymnasium", "pygame", "pydantic", "rich.live", "typer", "cartpole_dqn.api",
    "cartpole_dqn.training.runner", "cartpole_dqn.training.assembly", "cartpole_dqn.plugin.builtins",
)  # fmt: skip
FORKS = sys.platform == "linux"
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER


def run(command: Sequence[Any], **given: Any) -> subprocess.CompletedProcess[Any]:
    """Run `[sys.executable, "-m", name, *arguments]`, or `-c`, or a script, to its end, as `subprocess.run` does."""
    if given.pop("capture_output", False):
        given["stdout"] = given["stderr"] = subprocess.PIPE
    timeout, check, text = given.pop("timeout", None), given.pop("check", False), given.pop("input", None)
    if text is not None:
        given["stdin"] = subprocess.PIPE
    with Popen(command, **given) as process:
        try:
            out, err = process.communicate(text, timeout=timeout)
        except BaseException:
            process.kill()
            raise
    done = subprocess.CompletedProcess(process.args, process.returncode, out, err)
    if check:
        done.check_returncode()
    return done


class Popen(subprocess.Popen[Any]):
    """A running Python program."""

    if FORKS:

        def _execute_child(self, args: Any, executable: Any, *more: Any) -> None:  # type: ignore[override]
            preexec, _, _, cwd, env, _, _, _, *pipes = more[:14]
            assert preexec is None, "a fork runs no preexec_fn; an interrupt is never ignored in it"
            sys.audit("subprocess.Popen", args[0], args, cwd, env)
            given = (pipes[0], pipes[3], pipes[5])
            streams = [own if stream == -1 else stream for own, stream in enumerate(given)]
            session = bool(more[19])
            self.pid = _server().fork(args, cwd, env, streams, session=session, terminal=False)
            self._child_created = True
            self._close_pipe_fds(*pipes)


def spawn(command: Sequence[Any], *, env: dict[str, str] | None = None, cwd: Any = None, **given: Any) -> Any:
    """Start a Python program on a terminal of its own, as `pexpect.spawn` does."""
    import pexpect
    import ptyprocess

    if not FORKS:
        return pexpect.spawn(command[0], list(map(str, command[1:])), env=env, cwd=cwd, **given)

    class Spawned(pexpect.spawn):  # type: ignore[misc]
        def _spawnpty(self, args: Any, *, dimensions: Any = None, **_: Any) -> Any:
            sys.audit("os.forkpty")
            ours, theirs = os.openpty()
            pid = _server().fork([str(word) for word in command], cwd, env, [theirs] * 3, session=True, terminal=True)
            os.close(theirs)
            process = ptyprocess.PtyProcess(pid, ours)
            process.setwinsize(*(dimensions or (24, 80)))
            return process

    return Spawned(command[0], list(map(str, command[1:])), **given)


class Launched(Popen):
    """A command under way; its output goes to the files `out` and `err`."""

    def __init__(self, command: Sequence[Any], out: Path, err: Path, **given: Any) -> None:
        self.out, self.err = out, err
        with out.open("wb") as stdout, err.open("wb") as stderr:
            super().__init__(command, stdout=stdout, stderr=stderr, start_new_session=True, **given)

    def send(self, name: str, *, to_group: bool = False) -> None:
        """Send the signal `name`."""
        (os.killpg if to_group else os.kill)(self.pid, getattr(signal, name))


def launch(arguments: Sequence[str], *, folder: Path, name: str = "run", path: Sequence[str] = ()) -> Launched:
    """Run `cartpole-dqn ARGUMENTS` in `folder`, with `NAME.out` and `NAME.err` there; `path` is imported from first."""
    env = {**os.environ, "COLUMNS": "200"}
    env["PYTHONPATH"] = os.pathsep.join([*path, *filter(None, [env.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "cartpole_dqn", *arguments]
    return Launched(command, folder / f"{name}.out", folder / f"{name}.err", cwd=folder, env=env)


def workers_of(pid: int) -> list[int]:
    """Return the processes that `pid` started."""
    return [child.pid for child in psutil.Process(pid).children()]


def is_alive(pid: int) -> bool:
    """Return whether the process runs: one that has ended and waits to be noticed does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


# In the process that asks ------------------------------------------------------------------------------------------


@functools.cache
def _server() -> _Server:
    return _Server()


class _Server:
    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self._process = subprocess.Popen([sys.executable, __file__, str(theirs.fileno())], pass_fds=[theirs.fileno()])
        theirs.close()
        atexit.register(self.close)

    def fork(
        self, command: Sequence[str], cwd: Any, env: Any, streams: Sequence[int], *, session: bool, terminal: bool
    ) -> int:
        """Return the process id of a new child of this process."""
        words = [os.fsdecode(word) for word in command]
        assert words[0] == sys.executable, f"expected this interpreter, not {words[0]}"
        assert words[1] in ("-m", "-c") or words[1][0] != "-", f"{words[1]}: a fork takes no option of the interpreter"
        asked = {
            "words": words[1:],
            "cwd": os.fspath(cwd if cwd is not None else Path.cwd()),
            "env": dict(os.environ if env is None else env),
            "session": session,
            "terminal": terminal,
        }
        prctl = ctypes.CDLL(None).prctl
        prctl(_SUBREAPER, 1)  # who loses its parent now becomes a child of this process
        try:
            socket.send_fds(self._ours, [json.dumps(asked).encode()], list(streams))
            pid = self._ours.recv(100)
        finally:
            prctl(_SUBREAPER, 0)
        assert pid, "the server of forks has ended; what it said is above"
        return int(pid)

    def close(self) -> None:
        self._ours.close()
        self._process.wait()


# In the server ---------------------------------------------------------------------------------------------------


def _serve(ours: socket.socket) -> dict[str, Any]:
    """Fork as often as is asked for. Returns what was asked in each fork, and never in the server."""
    tell, told = os.pipe()
    while True:
        message, descriptors, _, _ = socket.recv_fds(ours, 1 << 20, 3)
        if not message:
            sys.exit()
        between = os.fork()  # ends at once, and leaves its child to the process that asked
        if between == 0:
            pid = os.fork()
            if pid:
                os.write(told, str(pid).encode())
                os._exit(0)
            ours.close()
            return {**json.loads(message), "streams": descriptors}
        os.waitpid(between, 0)
        ours.send(os.read(tell, 100))
        for descriptor in descriptors:
            os.close(descriptor)


def _become(asked: dict[str, Any]) -> None:
    """Take over the streams, folder, environment and path of a program that was started."""
    import fcntl
    import io
    import termios

    if asked["session"]:
        os.setsid()
    for own, given in enumerate(asked["streams"]):
        os.dup2(given, own)
    for given in asked["streams"]:
        os.close(given)
    if asked["terminal"]:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for ignored_by_nohup in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(ignored_by_nohup, signal.SIG_DFL)
    for name, own, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        errors = "backslashreplace" if name == "stderr" else "strict"
        raw = open(own, mode + "b", closefd=False)  # noqa: SIM115
        line = name == "stderr" or raw.isatty()
        stream = io.TextIOWrapper(raw, encoding="utf-8", errors=errors, line_buffering=line)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _run(words: list[str]) -> None:
    import runpy

    own = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    sys.path[:] = [*own, *(folder for folder in sys.path[1:] if folder not in own)]
    importlib.invalidate_caches()
    what, *arguments = words
    if what == "-m":
        sys.argv = arguments
        sys.path.insert(0, str(Path.cwd()))
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    elif what == "-c":
        sys.argv = ["-c", *arguments[1:]]
        sys.path.insert(0, "")
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(arguments[0], "<string>", "exec"), main.__dict__)
    else:
        sys.argv = [what, *arguments]
        sys.path.insert(0, str(Path(what).parent))
        runpy.run_path(what, run_name="__main__")


def _run_to_its_end(words: list[str]) -> None:
    """Leave as the interpreter does, but for freeing each object of torch's modules, which takes a second."""
    try:
        _run(words)
        code = 0
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
        if not isinstance(left.code, int | None):
            print(left.code, file=sys.stderr)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code & 0xFF)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    listening = socket.socket(fileno=int(sys.argv[1]))
    for module in IMPORTED:
        importlib.import_module(module)
    asked_for = _serve(listening)
    _become(asked_for)
    _run_to_its_end(asked_for["words"])
